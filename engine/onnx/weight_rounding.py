"""A weight matrix as int8, each rounding made up for by the rows that are not rounded yet.

Rounding row k of W changes x·W by x_k times the error; the other rows are moved so that the change is least
over the x that were measured (GPTQ, Frantar et al. 2023, arXiv 2210.17323, algorithm 1; here K is the number
of rows, the inputs, and rows with the largest inputs go first, as in its `act-order`).
"""

from __future__ import annotations

import numpy as np
import torch

from engine.onnx.integers import FULL

BLOCK = 128
"""Rows rounded before the rest of the matrix hears of their errors."""
DAMPING = 0.01  # share of the mean of the diagonal that is added to it
SMALLEST = 1e-12


def column_scales(weight_K_N: np.ndarray, largest: int = FULL) -> np.ndarray:
    """What 1 of each column's integers stands for, [N] float32: its largest value becomes `largest`."""
    return np.maximum(np.abs(weight_K_N).max(0) / largest, SMALLEST).astype(np.float32)


def nearest(weight_K_N: np.ndarray, scale_N: np.ndarray, largest: int = FULL) -> np.ndarray:
    """Every number by itself, [K, N] int8, at most `largest` in size."""
    return np.clip(np.rint(weight_K_N / scale_N), -largest, largest).astype(np.int8)


class Remedy:
    """In which order rows are rounded and what each error moves, for all weights with the same inputs."""

    def __init__(self, moments_K_K: np.ndarray) -> None:
        """`moments` are Σ xᵀx over the inputs that were measured."""
        diagonal_K = np.diagonal(moments_K_K)
        level = float(diagonal_K.mean())
        self.known = bool(np.isfinite(level)) and level > 0
        if not self.known:
            return
        self.order = np.argsort(-diagonal_K, kind="stable")
        # U with UᵀU = H⁻¹: H read backwards is L Lᵀ, and L⁻¹ read backwards is U
        back = self.order[::-1]
        moments = torch.from_numpy(moments_K_K[np.ix_(back, back)].astype(np.float64))
        moments.diagonal().add_(DAMPING * level)
        one = torch.eye(len(back), dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(moments), one, upper=False)
        self.upper = inverse.numpy()[::-1, ::-1].astype(np.float32)


def compensated(
    weight_K_N: np.ndarray, scale_N: np.ndarray, remedy: Remedy, largest: int = FULL
) -> np.ndarray:
    """Rounded with errors made up for, [K, N] int8; the nearest integers where the moments say nothing."""
    if not remedy.known:
        return nearest(weight_K_N, scale_N, largest)
    order, upper = remedy.order, remedy.upper
    left = weight_K_N[order].astype(np.float32)
    integers = np.zeros(left.shape, dtype=np.int8)
    for start in range(0, len(left), BLOCK):
        end = min(start + BLOCK, len(left))
        errors = np.zeros((end - start, left.shape[1]), dtype=np.float32)
        for row in range(start, end):
            integers[row] = nearest(left[row], scale_N, largest)
            errors[row - start] = (left[row] - integers[row] * scale_N) / upper[row, row]
            left[row + 1 : end] -= np.outer(upper[row, row + 1 : end], errors[row - start])
        left[end:] -= upper[start:end, end:].T @ errors
    result = np.empty_like(integers)
    result[order] = integers
    return result
