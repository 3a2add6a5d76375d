"""Texts that are about the same thing: communities of a graph of their similarities.

Texts are bags of words weighted by tf-idf, two of them joined by the cosine of their vectors; the communities
are Louvain's (Blondel et al., arXiv 0803.0476, by networkx), which need no number of clusters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 0.1
"""A smaller cosine joins nothing: a word or two of long texts."""
WORDS_TOLD = 4
WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Cluster:
    """Some texts that are alike."""

    members: tuple[int, ...]
    """Places of the texts, ascending."""
    words: tuple[str, ...]
    """That tell them from the others, the most telling first."""


def clusters(texts: Sequence[str], among: Sequence[str] = (), *, seed: int = 0) -> list[Cluster]:
    """Clusters of two texts at least, the largest first; a text that is like no other is in none.

    among: further texts, which are in no cluster but say what words are common.  The clusters do not depend
    on the order of the texts.
    """
    import networkx

    order = sorted(range(len(texts)), key=texts.__getitem__)  # the library's result depends on the order
    vectors = _vectors([texts[place] for place in order], among)
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(texts)))
    for i, one in enumerate(vectors):
        for j in range(i):
            cosine = math.fsum(weight * vectors[j].get(word, 0.0) for word, weight in one.items())
            if cosine >= LEAST:
                graph.add_edge(i, j, weight=cosine)
    found = [sorted(some) for some in networkx.community.louvain_communities(graph, seed=seed)]
    found = sorted((some for some in found if len(some) > 1), key=lambda some: (-len(some), some))
    return [Cluster(tuple(sorted(order[place] for place in some)), _telling(vectors, some)) for some in found]


def _vectors(texts: Sequence[str], among: Sequence[str]) -> list[dict[str, float]]:
    """tf-idf of each text's words, of length 1: (1 + ln tf) · ln(n / df) with n and df over all texts.

    Of a few texts alone “the” and “is” would look rare, and join what has nothing else in common.
    """
    counts = [Counter(WORD.findall(text.lower())) for text in texts]
    others = [set(WORD.findall(text.lower())) for text in set(among).difference(texts)]
    held = Counter(word for words in (*counts, *others) for word in words)
    number, vectors = len(counts) + len(others), []
    for count in counts:
        weights = {w: (1 + math.log(c)) * math.log(number / held[w]) for w, c in sorted(count.items())}
        size = math.sqrt(math.fsum(weight**2 for weight in weights.values()))
        vectors.append({word: weight / size for word, weight in weights.items() if weight} if size else {})
    return vectors


def _telling(vectors: Sequence[dict[str, float]], members: Sequence[int]) -> tuple[str, ...]:
    """The words that weigh most in the members' mean, of those that two of them have."""
    total: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for place in members:
        total.update(vectors[place])
        shared.update(vectors[place].keys())
    told = sorted(
        (word for word in total if shared[word] > 1), key=lambda word: (-total[word], -len(word), word)
    )
    return tuple(told[:WORDS_TOLD])
