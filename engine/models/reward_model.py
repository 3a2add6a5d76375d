"""A reward model as something to measure with, whichever way it was trained.

A linear one is an `AutoModelForSequenceClassification`, with `head.safetensors` beside it when there is an
ensemble of heads.  A frozen one is a base `AutoModel` whose head in `head.safetensors` reads several layers.
Whatever only reads scores goes through here and need not know which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from engine.errors import ModelFilesError, NonFiniteError
from engine.models.features import (
    FEATURE_TOKENS,
    batches_of_pairs,
    check_layers,
    depth,
    features_of,
    row_features,
    step_features,
    width,
)
from engine.models.packing import Row
from engine.models.parts import output_head, place
from engine.models.policy import load_weights
from engine.models.reward_classifier import criteria_of, load_reward_classifier
from engine.models.trunk import Trunk
from engine.objectives.steps import Aggregate, aggregated
from engine.scoring.head import DESCRIPTION, FeaturePart, RewardHead
from engine.steps import steps_in
from engine.text import Tokeniser


@dataclass
class RewardModel:
    """A reward model to read scores from.  C criteria, E members of the ensemble, N responses of the rows."""

    model: PreTrainedModel
    trunk: Trunk
    tokeniser: Tokeniser
    criteria: tuple[str, ...]  # the first is the one that counts where one is wanted
    kind: Literal["linear", "frozen"]
    layers: tuple[int, ...]
    parts: tuple[FeaturePart, ...]
    weight: Tensor  # [C, F] float32
    bias: Tensor  # [C] float32
    member_weight: Tensor | None = None  # [E, C, F]
    member_bias: Tensor | None = None  # [E, C]
    centre: Tensor | None = None  # [F]; with `squash_scale` features pass through tanh((x − centre) / scale)
    squash_scale: Tensor | None = None  # [F]
    steps: str | None = None  # of a process reward model what ends a step
    aggregate: Aggregate = "min"  # how the scores of its steps become one

    @torch.no_grad()
    def features(self, rows: Sequence[Row]) -> Tensor:
        """Hidden states that the head is for, of the responses of all rows in order: [N, F] float32."""
        return row_features(self.trunk, rows, self.layers, self.parts)

    @torch.no_grad()
    def read(self, features_N_F: Tensor) -> tuple[Tensor, Tensor | None]:
        """The head on features: scores [N, C] and, with an ensemble, the members' [E, N, C]."""
        if self.centre is not None and self.squash_scale is not None:
            features_N_F = torch.tanh((features_N_F - self.centre) / self.squash_scale)
        scores_N_C = torch.nn.functional.linear(features_N_F, self.weight, self.bias)
        if self.member_weight is None or self.member_bias is None:
            return scores_N_C, None
        members = torch.einsum("nf,ecf->enc", features_N_F, self.member_weight) + self.member_bias[:, None]
        return scores_N_C, members

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Scores of the responses of all rows, in order: [N, C] float32, on the trunk's device."""
        return self.read(self.features(rows))[0]

    def members(self, rows: Sequence[Row]) -> Tensor | None:
        """Scores by every member of the ensemble, [E, N, C]; None without an ensemble."""
        return self.read(self.features(rows))[1]

    def measured(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], budget: int = FEATURE_TOKENS
    ) -> Iterator[tuple[list[int], Tensor, Tensor | None]]:
        """Score many (prompt, response) token pairs under a budget of padded tokens, batch by batch.

        Yields places in `pairs`, scores [n, C] and the members' scores [E, n, C], on the CPU.  Raises
        NonFiniteError for a score that is not finite.
        """
        for rows, places in batches_of_pairs(pairs, budget):
            scores_N_C, members = self._whole(rows)
            if not torch.isfinite(scores_N_C).all():
                raise NonFiniteError("The reward model gave a score that is not finite; train it again.")
            yield places, scores_N_C.cpu(), None if members is None else members.cpu()

    def _whole(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor | None]:
        """Scores of whole responses: of a process reward model those of the steps as one, by `aggregate`."""
        if self.steps is None:
            return self.read(self.features(rows))
        ends = [
            steps_in(self.tokeniser.pieces(list(response)), self.steps).at
            for row in rows
            for response in row.responses
        ]
        features = step_features(self.trunk, rows, self.layers, self.parts, ends)
        scores_n_C = [self.read(features_S_F)[0] for features_S_F in features]
        columns = [
            torch.stack([aggregated(score_S, self.aggregate) for score_S in scores_S_C.T])
            for scores_S_C in scores_n_C
        ]
        return torch.stack(columns), None

    def scores_of(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], budget: int = FEATURE_TOKENS
    ) -> Tensor:
        """Scores of (prompt, response) token pairs in their order, [N, C] float32 on the CPU."""
        scores_N_C = torch.zeros(len(pairs), len(self.criteria))
        for places, scores_n_C, _ in self.measured(pairs, budget):
            scores_N_C[places] = scores_n_C
        return scores_N_C

    def features_of(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], budget: int = FEATURE_TOKENS
    ) -> Tensor:
        """Features of (prompt, response) token pairs in their order, [N, F] float32 on the CPU."""
        features_N_F = torch.zeros(len(pairs), self.weight.shape[1])
        for places, features_n_F in features_of(self.trunk, pairs, self.layers, self.parts, budget):
            features_N_F[places] = features_n_F
        return features_N_F

    def value_start(self) -> tuple[Tensor, float]:
        """Where a critic on this trunk starts: weight [D] on the last hidden state, and bias.

        For a linear model that is its head for the first criterion.  Of a frozen one it is the slope, at
        ordinary states, of what the head reads from the last layer at the last token; zero if it does not
        read there.  It has no level of its own: shift it to the mean return.
        """
        last, D = depth(self.trunk.module), width(self.trunk.module)
        if "last" not in self.parts or last not in self.layers:
            return torch.zeros(D), 0.0
        at = (self.parts.index("last") * len(self.layers) + self.layers.index(last)) * D
        weight_D = self.weight[0, at : at + D].detach().cpu().clone()
        if self.squash_scale is not None:  # tanh has slope 1 at 0
            weight_D /= self.squash_scale[at : at + D].cpu()
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
            centre=None if self.centre is None else self.centre.cpu().numpy(),
            scale=None if self.squash_scale is None else self.squash_scale.cpu().numpy(),
            steps=self.steps,
        )


def load_reward_model(
    folder: Path, dtype: str | torch.dtype = "bfloat16", device: str | torch.device = "cpu"
) -> RewardModel:
    """The reward model in `folder`, linear or frozen.

    Raises UsageError when it holds another kind of model, ModelFilesError when head and trunk do not fit,
    NonFiniteError when a weight of the head is not finite.
    """
    folder, device = Path(folder), torch.device(device)
    head = RewardHead.load(folder) if (folder / DESCRIPTION).is_file() else None
    if head is not None and head.kind == "frozen":
        return _frozen(folder, head, dtype, device)
    model = load_reward_classifier(folder, dtype, device)
    tokeniser = Tokeniser.from_folder(folder)
    trunk = Trunk.of(model, tokeniser.pad_id, device)
    linear = output_head(model)
    criteria = criteria_of(model)
    if head is not None and head.weight.shape != linear.weight.shape:
        raise ModelFilesError(f"The head in {folder} does not fit the model there; train it again.")
    bias = torch.zeros(len(criteria), device=device) if linear.bias is None else linear.bias.detach().float()
    return RewardModel(
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


def _frozen(folder: Path, head: RewardHead, dtype: str | torch.dtype, device: torch.device) -> RewardModel:
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
    return with_head(model, trunk, tokeniser, head)


def with_head(model: PreTrainedModel, trunk: Trunk, tokeniser: Tokeniser, head: RewardHead) -> RewardModel:
    """The frozen reward model of a trunk and a head that was fitted to its features."""
    device = trunk.device
    return RewardModel(
        model=model,
        trunk=trunk,
        tokeniser=tokeniser,
        criteria=head.criteria,
        kind="frozen",
        layers=head.layers,
        parts=head.parts,
        weight=torch.from_numpy(head.weight).float().to(device),
        bias=torch.from_numpy(head.bias).float().to(device),
        centre=_tensor(head.centre, device),
        squash_scale=_tensor(head.scale, device),
        steps=head.steps,
        **_ensemble(head, device),
    )


def _ensemble(head: RewardHead | None, device: torch.device) -> dict[str, Any]:
    if head is None:
        return {}
    return {
        "member_weight": _tensor(head.ensemble_weight, device),
        "member_bias": _tensor(head.ensemble_bias, device),
    }


def _tensor(array: np.ndarray | None, device: torch.device) -> Tensor | None:
    return None if array is None else torch.from_numpy(array).float().to(device)
