"""Which texts go through the graph together: the cheapest cut of the texts, sorted by length, into batches.

A batch is padded to its longest text and its longest past.  What it costs was fitted to the times of 56
batches of SmolLM2-135M in int8 on two cores (mean error 5 %), in units of one token on its way through the
layers: a run costs RUN of them by itself, each cell of the attention CELL, each token of a past, which is
copied into place, PAST.
"""

from __future__ import annotations

from collections.abc import Sequence

RUN, CELL, PAST = 64.0, 1 / 600, 0.15


def cost(texts: int, length: int, past: int) -> float:
    """Of a batch of texts padded to `length` behind pasts padded to `past`, in tokens."""
    return RUN + texts * (length + CELL * length * (past + length) + PAST * past)


def batches(lengths: Sequence[int], pasts: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of all texts in batches, longest first; several texts have at most `budget` tokens, padded.

    The best cut of the first n texts is the best of those that end in a batch from some text on.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], -pasts[index]))
    least, begins = [0.0], [0]  # of the first n texts
    for end in range(1, len(order) + 1):
        best, longest_past = (float("inf"), 0), 0
        for begin in range(end - 1, -1, -1):
            length = lengths[order[begin]]
            longest_past = max(longest_past, pasts[order[begin]])
            if begin < end - 1 and (end - begin) * length > budget:
                break
            best = min(best, (least[begin] + cost(end - begin, length, longest_past), begin))
        least.append(best[0])
        begins.append(best[1])
    cut: list[list[int]] = []
    end = len(order)
    while end:
        cut.append(order[begins[end] : end])
        end = begins[end]
    return cut[::-1]


def windows(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Indices in runs of at most `limit` in sum, and of one that is larger alone; largest first."""
    filled: list[list[int]] = []
    total = 0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        if not filled or total + sizes[index] > limit:
            filled.append([])
            total = 0
        filled[-1].append(index)
        total += sizes[index]
    return filled
