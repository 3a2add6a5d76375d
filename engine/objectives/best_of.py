"""What best-of-n would give, from N samples a prompt: every subset of n counts, none is drawn.

`N` samples of one prompt.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kl_bound(n: int) -> float:
    """ln n − (n − 1)/n: what the KL of best-of-n to its policy cannot exceed, in nats (arXiv 2401.01879).

    >>> round(kl_bound(16), 3)
    1.835
    """
    return math.log(n) - (n - 1) / n


def subset_sizes(samples: int) -> list[int]:
    """1, 2, 4, … and `samples` itself.

    >>> subset_sizes(12)
    [1, 2, 4, 8, 12]
    """
    sizes = [1 << power for power in range(samples.bit_length()) if 1 << power <= samples]
    return sizes if sizes[-1] == samples else [*sizes, samples]


def best_of(proxy_N: Tensor, value_N: Tensor, n: int) -> float:
    """Mean over all subsets of n samples of the value of the sample whose proxy score is highest.

    The unbiased estimator of Nakano et al. (WebGPT, arXiv 2112.09332): the sample of i-th lowest proxy score
    wins C(i − 1, n − 1) of the C(N, n) subsets.  Samples of equal proxy score share what they win.
    Raises ValueError for n beyond N.

    >>> best_of(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0]), 3)
    3.0
    >>> round(best_of(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0]), 1), 6)
    2.0
    """
    N = len(proxy_N)
    if not 1 <= n <= N:
        raise ValueError(f"best of {n} cannot be told from {N} samples")
    order = torch.argsort(proxy_N, stable=True)
    proxy, value = proxy_N[order].double(), value_N[order].double()
    # C(i-1, n-1) / C(N, n) by logarithms: the numbers themselves overflow from N of about 1000
    wins = torch.tensor([_log_choose(i, n - 1) for i in range(N)], dtype=torch.float64)
    weight = (wins - _log_choose(N, n)).exp()
    _, tied = torch.unique_consecutive(proxy, return_inverse=True)
    groups = int(tied[-1]) + 1
    mean = torch.zeros(groups, dtype=torch.float64).index_add_(0, tied, value)
    mean = mean / torch.bincount(tied, minlength=groups)
    return float((weight * mean[tied]).sum())


def _log_choose(n: int, k: int) -> float:
    if k > n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
