"""A pairwise preference model outside torch: how likely one response is preferred to another.

A score says that who beats him who beats a third also beats the third; people need not.  Here the log-odds of
“a is preferred to b” have a part that no score can express (Zhang et al., "Beyond Bradley–Terry models: a
general preference model", arXiv 2410.02197, §4; Munos et al., arXiv 2312.00886, §3):

    logit P(a ≻ b | x) = w·(z_a − z_b) + f(a)ᵀ (U − Uᵀ) f(b),   f(a) = V z_a

with z the features of prompt and response on a frozen trunk.  U − Uᵀ is skew-symmetric, so that the two
orders of a pair give opposite log-odds, whatever the numbers are.

Shapes: `N` pairs, `K` responses, `C` criteria, `F` features, `d` directions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from engine.errors import ModelFilesError, NonFiniteError, UsageError
from engine.files import write_atomic, writing_file
from engine.scoring.head import FeaturePart

WEIGHTS, DESCRIPTION = "preference.safetensors", "preference.json"
TENSORS = ("weight", "directions", "upper", "centre", "scale")
DESCRIPTION_BYTES = 1_000_000


@dataclass(frozen=True)
class PreferenceHead:
    """A preference of pairs over a trunk's features, a criterion at a time."""

    weight: np.ndarray  # [C, F] float32, of the Bradley–Terry part
    directions: np.ndarray  # [C, d, F] float32: V
    upper: np.ndarray  # [C, d, d] float32: U, above its diagonal
    centre: np.ndarray  # [F] float32
    scale: np.ndarray  # [F] float32, > 0
    criteria: tuple[str, ...]
    layers: tuple[int, ...]
    parts: tuple[FeaturePart, ...]
    squash: bool = True

    def embedded(self, features_N_F: np.ndarray, criterion: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """w·z [N] and f [N, d] of responses, from which all that is said of their pairs follows."""
        z = (np.asarray(features_N_F, dtype=np.float32) - self.centre) / self.scale
        z = np.asarray(np.tanh(z) if self.squash else z, dtype=np.float64)
        return z @ self.weight[criterion].astype(np.float64), z @ self.directions[criterion].T

    def logits(self, features_K_F: np.ndarray, criterion: int = 0) -> np.ndarray:
        """Log-odds that the row's response is preferred to the column's, [K, K]; exactly antisymmetric."""
        score_K, f_K_d = self.embedded(features_K_F, criterion)
        half_K_K = f_K_d @ self.upper[criterion].astype(np.float64) @ f_K_d.T
        return np.asarray((score_K[:, None] - score_K) + (half_K_K - half_K_K.T))

    def margins(self, left_N_F: np.ndarray, right_N_F: np.ndarray, criterion: int = 0) -> np.ndarray:
        """Log-odds of left against right, [N]."""
        (score_l, f_l), (score_r, f_r) = (self.embedded(x, criterion) for x in (left_N_F, right_N_F))
        upper = self.upper[criterion].astype(np.float64)
        one, other = ((f_l @ upper) * f_r).sum(axis=1), ((f_r @ upper) * f_l).sum(axis=1)
        return np.asarray((score_l - score_r) + (one - other))

    def save(self, folder: Path) -> None:
        """Write the two files into the folder, readable for their owner alone."""
        with writing_file(folder / WEIGHTS) as temporary:
            save_file({name: np.ascontiguousarray(getattr(self, name)) for name in TENSORS}, temporary)
        description = {
            "criteria": self.criteria, "layers": self.layers, "parts": self.parts, "squash": self.squash
        }  # fmt: skip
        write_atomic(folder / DESCRIPTION, (json.dumps(description) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> PreferenceHead:
        """Read what lies in `folder`.

        Raises ModelFilesError when a file is missing or does not fit the other, NonFiniteError when a weight
        is not a number.
        """
        again = "train the reward model again, with pairwise"
        try:
            path = folder / DESCRIPTION
            if path.stat().st_size > DESCRIPTION_BYTES:
                raise ValueError(f"{path.name} is larger than {DESCRIPTION_BYTES} bytes")
            description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS)
            head = cls(
                **{name: tensors[name] for name in TENSORS},
                criteria=tuple(map(str, description["criteria"])),
                layers=tuple(map(int, description["layers"])),
                parts=tuple(description["parts"]),
                squash=bool(description["squash"]),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise ModelFilesError(
                f"The preference model in {folder} cannot be read ({error}); {again}."
            ) from error
        if not head._fits():
            raise ModelFilesError(
                f"The preference model in {folder} has files that do not fit each other; {again}."
            )
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise NonFiniteError(
                f"The preference model in {folder} has weights that are not numbers; {again}."
            )
        return head

    def _fits(self) -> bool:
        if self.weight.ndim != 2 or self.directions.ndim != 3 or not self.layers or not self.parts:
            return False
        C, F = self.weight.shape
        d = self.directions.shape[1]
        shapes = (
            (self.directions, (C, d, F)), (self.upper, (C, d, d)), (self.centre, (F,)), (self.scale, (F,))
        )  # fmt: skip
        return (
            len(self.criteria) == C > 0
            and all(tensor.shape == shape for tensor, shape in shapes)
            and set(self.parts) <= {"last", "mean"}
            and F % (len(self.parts) * len(self.layers)) == 0
            and bool((self.scale > 0).all())
        )


def load_preference(folder: Path, name: str) -> PreferenceHead:
    """The preference model beside the reward model `name`.  Raises UsageError where there is none."""
    if not (folder / DESCRIPTION).is_file():
        raise UsageError(
            f"The reward model {name} has no pairwise preference model beside it; train it with tuning "
            "frozen and pairwise."
        )
    return PreferenceHead.load(folder)
