"""A weight matrix as int8, each rounding made up for by the rows that are not rounded yet.

Rounding row k of W changes x·W by x_k times the error; the other rows are moved so that the change is least
over the x that were measured (GPTQ, Frantar et al. 2023, arXiv 2210.17323, algorithm 1; here K is the number
of rows, the inputs, and rows with the largest inputs go first, as in its `act-order`).
"""

from __future__ import annotations

import numpy as np

BLOCK = 128
"""Rows rounded before the rest of the matrix hears of their errors."""
DAMPING = 0.01  # share of the mean of the diagonal that is added to it
SMALLEST = 1e-12


def column_scales(weight_K_N: np.ndarray) -> np.ndarray:
    """What 1 of each column's integers stands for, [N] float32: the largest value becomes 127."""
    return np.maximum(np.abs(weight_K_N).max(0) / 127, SMALLEST).astype(np.float32)


def nearest(weight_K_N: np.ndarray, scale_N: np.ndarray) -> np.ndarray:
    """Every number by itself, [K, N] int8."""
    return np.clip(np.rint(weight_K_N / scale_N), -127, 127).astype(np.int8)


def compensated(weight_K_N: np.ndarray, scale_N: np.ndarray, moments_K_K: np.ndarray) -> np.ndarray:
    """Rounded with errors made up for, [K, N] int8.

    moments: Σ xᵀx over the inputs that were measured; where it says nothing the nearest integers are taken.
    """
    diagonal_K = np.diagonal(moments_K_K)
    level = float(diagonal_K.mean())
    if not np.isfinite(level) or level <= 0:
        return nearest(weight_K_N, scale_N)
    order = np.argsort(-diagonal_K, kind="stable")
    moments = moments_K_K[np.ix_(order, order)].astype(np.float64)
    moments[np.diag_indices_from(moments)] += DAMPING * level
    upper = np.linalg.cholesky(np.linalg.inv(moments)).T.astype(np.float32)  # U with UᵀU = H⁻¹
    left = weight_K_N[order].astype(np.float32)
    integers = np.zeros(left.shape, dtype=np.int8)
    for start in range(0, len(left), BLOCK):
        end = min(start + BLOCK, len(left))
        errors = np.zeros((end - start, left.shape[1]), dtype=np.float32)
        for row in range(start, end):
            integers[row] = nearest(left[row], scale_N)
            errors[row - start] = (left[row] - integers[row] * scale_N) / upper[row, row]
            left[row + 1 : end] -= np.outer(upper[row, row + 1 : end], errors[row - start])
        left[end:] -= upper[start:end, end:].T @ errors
    result = np.empty_like(integers)
    result[order] = integers
    return result
