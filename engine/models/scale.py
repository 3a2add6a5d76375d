"""A reward model as something to measure with, whichever way it was trained.

A linear one is an `AutoModelForSequenceClassification`, with `head.safetensors` beside it when there is an
ensemble of heads.  A frozen one is a base `AutoModel` whose head in `head.safetensors` reads several layers.
Whatever only reads scores goes through here and need not know which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from engine.algorithms.parts import Trunk
from engine.errors import ModelFilesError, NonFiniteError
from engine.models.features import (
    FEATURE_TOKENS,
    batches_of_pairs,
    check_layers,
    depth,
    row_features,
    width,
)
from engine.models.packing import Row
from engine.models.parts import output_head, place
from engine.models.policy import load_weights
from engine.models.reward import criteria_of, load_reward_model
from engine.scoring.head import DESCRIPTION, Part, RewardHead
from engine.text import Tokeniser


@dataclass
class Scale:
    """A reward model to read scores from.  C criteria, E members of the ensemble, N responses of the rows."""

    model: PreTrainedModel
    trunk: Trunk
    tokeniser: Tokeniser
    criteria: tuple[str, ...]  # the first is the one that counts where one is wanted
    kind: Literal["linear", "frozen"]
    layers: tuple[int, ...]
    parts: tuple[Part, ...]
    weight: Tensor  # [C, F] float32
    bias: Tensor  # [C] float32
    member_weight: Tensor | None = None  # [E, C, F]
    member_bias: Tensor | None = None  # [E, C]

    @torch.no_grad()
    def features(self, rows: Sequence[Row]) -> Tensor:
        """What the head reads of the responses of all rows, in order: [N, F] float32."""
        return row_features(self.trunk, rows, self.layers, self.parts)

    @torch.no_grad()
    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Scores of the responses of all rows, in order: [N, C] float32, on the trunk's device."""
        return torch.nn.functional.linear(self.features(rows), self.weight, self.bias)

    @torch.no_grad()
    def members(self, rows: Sequence[Row]) -> Tensor | None:
        """Scores by every member of the ensemble, [E, N, C]; None without an ensemble."""
        return self._members(self.features(rows))

    def _members(self, features_N_F: Tensor) -> Tensor | None:
        if self.member_weight is None or self.member_bias is None:
            return None
        return torch.einsum("nf,ecf->enc", features_N_F, self.member_weight) + self.member_bias[:, None]

    def measured(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], budget: int = FEATURE_TOKENS
    ) -> Iterator[tuple[list[int], Tensor, Tensor | None]]:
        """Score many (prompt, response) token pairs under a budget of padded tokens, batch by batch.

        Yields places in `pairs`, scores [n, C] and the members' scores [E, n, C], on the CPU.  Raises
        NonFiniteError for a score that is not finite.
        """
        for rows, places in batches_of_pairs(pairs, budget):
            features_N_F = self.features(rows)
            with torch.no_grad():
                scores_N_C = torch.nn.functional.linear(features_N_F, self.weight, self.bias).cpu()
                members = self._members(features_N_F)
            if not torch.isfinite(scores_N_C).all():
                raise NonFiniteError("The reward model gave a score that is not finite; train it again.")
            yield places, scores_N_C, None if members is None else members.cpu()

    def scores_of(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], budget: int = FEATURE_TOKENS
    ) -> Tensor:
        """Scores of (prompt, response) token pairs in their order, [N, C] float32 on the CPU."""
        scores_N_C = torch.zeros(len(pairs), len(self.criteria))
        for places, found, _ in self.measured(pairs, budget):
            scores_N_C[places] = found
        return scores_N_C

    def value_start(self) -> tuple[Tensor, float]:
        """Where a critic on this trunk starts: weight [D] on the last hidden state, and bias.

        For a linear model that is its head for the first criterion.  Of a frozen one it is what the head
        reads at the last token from the last layer (zero if it does not read there), which has no level of
        its own: shift it to the mean return.
        """
        last, D = depth(self.trunk.module), width(self.trunk.module)
        if "last" not in self.parts or last not in self.layers:
            return torch.zeros(D), 0.0
        at = (self.parts.index("last") * len(self.layers) + self.layers.index(last)) * D
        weight_D = self.weight[0, at : at + D].detach().cpu().clone()
        return weight_D, float(self.bias[0]) if self.kind == "linear" else 0.0

    def head(self) -> RewardHead:
        """The head outside torch, as export and the scorer want it."""
        weight, bias = self.member_weight, self.member_bias
        return RewardHead(
            weight=self.weight.cpu().numpy(),
            bias=self.bias.cpu().numpy(),
            criteria=self.criteria,
            layers=self.layers,
            parts=self.parts,
            kind=self.kind,
            ensemble_weight=None if weight is None else weight.cpu().numpy(),
            ensemble_bias=None if bias is None else bias.cpu().numpy(),
        )


def load_scale(
    folder: Path, dtype: str | torch.dtype = "bfloat16", device: str | torch.device = "cpu"
) -> Scale:
    """The reward model in `folder`, linear or frozen.

    Raises UsageError when it holds another kind of model, ModelFilesError when head and trunk do not fit,
    NonFiniteError when a weight of the head is not finite.
    """
    folder, device = Path(folder), torch.device(device)
    head = RewardHead.load(folder) if (folder / DESCRIPTION).is_file() else None
    if head is not None and head.kind == "frozen":
        return _frozen(folder, head, dtype, device)
    model = load_reward_model(folder, dtype, device)
    tokeniser = Tokeniser.from_folder(folder)
    trunk = Trunk.of(model, tokeniser.pad_id, device)
    linear = output_head(model)
    criteria = criteria_of(model)
    if head is not None and head.weight.shape != linear.weight.shape:
        raise ModelFilesError(f"The head in {folder} does not fit the model there; train it again.")
    bias = torch.zeros(len(criteria), device=device) if linear.bias is None else linear.bias.detach().float()
    return Scale(
        model=model,
        trunk=trunk,
        tokeniser=tokeniser,
        criteria=criteria,
        kind="linear",
        layers=(depth(trunk.module),),
        parts=("last",),
        weight=linear.weight.detach().float(),
        bias=bias,
        **_ensemble(head, device),
    )


def _frozen(folder: Path, head: RewardHead, dtype: str | torch.dtype, device: torch.device) -> Scale:
    model, missing = load_weights(AutoModel, folder, dtype)
    if missing:
        raise ModelFilesError(f"{folder} lacks weights ({sorted(missing)[0]}); copy or save it again.")
    model = place(model, device).eval()
    tokeniser = Tokeniser.from_folder(folder)
    trunk = Trunk.of(model, tokeniser.pad_id, device)
    check_layers(trunk.module, head.layers)
    expected = len(head.parts) * len(head.layers) * width(trunk.module)
    if head.weight.shape[1] != expected:
        raise ModelFilesError(
            f"The head in {folder} reads {head.weight.shape[1]} features and its trunk gives {expected}; "
            "train the reward model again."
        )
    return Scale(
        model=model,
        trunk=trunk,
        tokeniser=tokeniser,
        criteria=head.criteria,
        kind="frozen",
        layers=head.layers,
        parts=head.parts,
        weight=torch.from_numpy(head.weight).float().to(device),
        bias=torch.from_numpy(head.bias).float().to(device),
        **_ensemble(head, device),
    )


def _ensemble(head: RewardHead | None, device: torch.device) -> dict[str, Tensor]:
    if head is None or head.ensemble_weight is None or head.ensemble_bias is None:
        return {}
    return {
        "member_weight": torch.from_numpy(head.ensemble_weight).float().to(device),
        "member_bias": torch.from_numpy(head.ensemble_bias).float().to(device),
    }
