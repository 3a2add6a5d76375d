"""The head of a reward model outside torch: a few numbers that turn a trunk's features into scores.

A reward model is a trunk (a transformer without its head) and a head.  The trunk gives every token the hidden
states of a few layers, concatenated: `features` [T, L·D].  The head of a fine-tuned model reads the state of
the response's last token at the last layer; that of a frozen trunk reads the states of several layers at the
last token and their mean over the response.  Either is linear, so a head is one vector a criterion, and an
ensemble of heads is some more of them, whose mean is again a head.

The head lies beside the trunk as `head.safetensors` with `reward.json`, which says how to read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from engine.errors import ModelFilesError, NonFiniteError
from engine.files import write_atomic, writing_file

WEIGHTS, DESCRIPTION = "head.safetensors", "reward.json"
FeaturePart = Literal["last", "mean"]
DESCRIPTION_BYTES = 1_000_000


@dataclass(frozen=True)
class RewardHead:
    """A linear head over a trunk's features.  C criteria, E members of the ensemble, F = len(parts)·L·D."""

    weight: np.ndarray  # [C, F] float32: for each part, the layers in order
    bias: np.ndarray  # [C] float32
    criteria: tuple[str, ...]  # names of the C rows; the first is the one that counts where one is wanted
    layers: tuple[int, ...]  # of transformers' hidden_states: 0 the embeddings, the last after the final norm
    parts: tuple[FeaturePart, ...] = ("last",)
    kind: Literal["linear", "frozen"] = "linear"
    ensemble_weight: np.ndarray | None = None  # [E, C, F]; their mean is `weight`
    ensemble_bias: np.ndarray | None = None  # [E, C]
    centre: np.ndarray | None = None  # [F] float32; with `scale`, features are squashed by them
    scale: np.ndarray | None = None  # [F] float32, > 0
    steps: str | None = (
        None  # of a process reward model what ends a step; its score is read at each step's end
    )

    def squashed(self, features_N_F: np.ndarray) -> np.ndarray:
        """tanh((x − centre) / scale), or the features as they are where the head has no centre and scale.

        A few dimensions of a transformer's states are hundreds of times larger than the rest now and then;
        squashed, none of them outweighs the others.
        """
        if self.centre is None or self.scale is None:
            return np.asarray(features_N_F, dtype=np.float32)
        return np.tanh((np.asarray(features_N_F, dtype=np.float32) - self.centre) / self.scale)

    def response_features(self, features_T_F: np.ndarray, start: int) -> np.ndarray:
        """What the head reads at each response token, [T − start, F]: parts of the text up to that token.

        features_T_F: the trunk's features of prompt and response, [T, L·D]; the response begins at `start`.
        """
        at = np.asarray(features_T_F[start:], dtype=np.float32)
        if "mean" not in self.parts:
            return at
        so_far = np.cumsum(at, axis=0, dtype=np.float64) / np.arange(1, len(at) + 1)[:, None]
        return np.concatenate([at, so_far.astype(np.float32)], axis=1)

    def scores(self, features_N_F: np.ndarray) -> np.ndarray:
        """Scores [N, C] float32 of responses whose features, all parts, are given."""
        return np.asarray(self.squashed(features_N_F) @ self.weight.T + self.bias, dtype=np.float32)

    def spread(self, features_N_F: np.ndarray) -> np.ndarray | None:
        """Standard deviation of the ensemble's scores, [N, C]; None without an ensemble.

        Members differ in where they put zero, which no comparison can tell: take differences of responses to
        one prompt (`members`) where that matters.
        """
        scores_E_N_C = self.members(features_N_F)
        return None if scores_E_N_C is None else scores_E_N_C.std(axis=0)

    def members(self, features_N_F: np.ndarray) -> np.ndarray | None:
        """Scores of every member of the ensemble, [E, N, C]; None without an ensemble."""
        if self.ensemble_weight is None or self.ensemble_bias is None:
            return None
        squashed_N_F = self.squashed(features_N_F)
        scores = np.einsum("nf,ecf->enc", squashed_N_F, self.ensemble_weight) + self.ensemble_bias[:, None]
        return np.asarray(scores, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write `head.safetensors` and `reward.json` into the folder, readable for their owner alone."""
        tensors = {"weight": self.weight, "bias": self.bias}
        if self.ensemble_weight is not None and self.ensemble_bias is not None:
            tensors |= {"ensemble_weight": self.ensemble_weight, "ensemble_bias": self.ensemble_bias}
        if self.centre is not None and self.scale is not None:
            tensors |= {"centre": self.centre, "scale": self.scale}
        with writing_file(folder / WEIGHTS) as temporary:
            save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, temporary)
        description: dict[str, Any] = {
            "kind": self.kind,
            "criteria": self.criteria,
            "layers": self.layers,
            "parts": self.parts,
        }
        if self.steps is not None:
            description["steps"] = self.steps
        write_atomic(folder / DESCRIPTION, (json.dumps(description) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> RewardHead:
        """Read the head that lies in `folder`.

        Raises ModelFilesError when a file is missing or does not fit the other, NonFiniteError when a weight
        is not a number.
        """
        try:
            description: dict[str, Any] = json.loads(_text(folder / DESCRIPTION))
            tensors = load_file(folder / WEIGHTS)
            head = cls(
                weight=tensors["weight"],
                bias=tensors["bias"],
                criteria=tuple(description["criteria"]),
                layers=tuple(description["layers"]),
                parts=tuple(description["parts"]),
                kind=description["kind"],
                ensemble_weight=tensors.get("ensemble_weight"),
                ensemble_bias=tensors.get("ensemble_bias"),
                centre=tensors.get("centre"),
                scale=tensors.get("scale"),
                steps=description.get("steps"),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise ModelFilesError(
                f"The head in {folder} cannot be read ({error}); train or export the reward model again."
            ) from error
        problem = _problem(head)
        if problem:
            raise ModelFilesError(f"The head in {folder} {problem}; train or export the reward model again.")
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise NonFiniteError(f"The head in {folder} has weights that are not numbers; train it again.")
        return head


def _problem(head: RewardHead) -> str:
    """What in a head that came from a file does not fit together; "" when nothing."""
    C, F = head.weight.shape if head.weight.ndim == 2 else (0, 0)
    shapes = {
        "bias": (head.bias, (C,)),
        "centre": (head.centre, (F,)),
        "scale": (head.scale, (F,)),
    }
    if not C or not F or len(head.criteria) != C:
        return f"has shape {head.weight.shape} for {len(head.criteria)} criteria"
    if not all(isinstance(name, str) and name for name in head.criteria) or len(set(head.criteria)) != C:
        return "names its criteria in a way that cannot be told apart"
    if not head.layers or not all(type(layer) is int and layer >= 0 for layer in head.layers):
        return "does not say which layers it reads"
    if not head.parts or len(set(head.parts)) != len(head.parts) or set(head.parts) - {"last", "mean"}:
        return "does not say which parts of a response it reads"
    if F % (len(head.parts) * len(head.layers)):
        return f"has {F} weights for {len(head.parts)} parts of {len(head.layers)} layers"
    if head.kind not in ("linear", "frozen"):
        return "is of no known kind"
    if head.steps is not None and not (isinstance(head.steps, str) and head.steps):
        return "does not say what ends a step"
    for name, (tensor, shape) in shapes.items():
        if tensor is not None and tensor.shape != shape:
            return f"has a {name} of shape {tensor.shape} instead of {shape}"
    members = (head.ensemble_weight, head.ensemble_bias)
    if (members[0] is None) != (members[1] is None) or (head.centre is None) != (head.scale is None):
        return "is half there"
    if members[0] is not None and members[1] is not None:
        E = members[0].shape[0]
        if members[0].shape != (E, C, F) or members[1].shape != (E, C):
            return f"has an ensemble of shapes {members[0].shape} and {members[1].shape}"
    if head.scale is not None and not (head.scale > 0).all():
        return "divides by zero"
    return ""


def _text(path: Path) -> str:
    """A small file's text; a large one is no description of a head."""
    if path.stat().st_size > DESCRIPTION_BYTES:
        raise ValueError(f"{path.name} is larger than {DESCRIPTION_BYTES} bytes")
    return path.read_text(encoding="utf-8")
