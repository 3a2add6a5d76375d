"""A judge's calibration counted in plain Python, from rows of judgements alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

Ranks = Mapping[str, int]
Pair = tuple[str, str]


def verdicts(rankings: Sequence[tuple[str, Ranks]]) -> dict[Pair, dict[str, int]]:
    """By pair (lesser id first) and annotator: 1 the first is better, -1 the second, 0 a tie."""
    found: dict[Pair, dict[str, int]] = defaultdict(dict)
    for annotator, ranks in rankings:
        for x, y in combinations(sorted(ranks), 2):
            found[x, y][annotator] = (ranks[y] > ranks[x]) - (ranks[y] < ranks[x])
    return found


def majority(values: Sequence[int]) -> int | None:
    """The commonest verdict; None where there is none, or two."""
    counts = Counter(values).most_common()
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def figures(rankings: Sequence[tuple[str, Ranks]], judge: str, length: Mapping[str, int]) -> dict[str, float]:
    """Every figure that rests on rankings, as the store gives them."""
    pairs = [(pair, by) for pair, by in verdicts(rankings).items() if judge in by and len(by) > 1]
    shared = []
    person = []
    for pair, by in pairs:
        people = [verdict for name, verdict in by.items() if name != judge]
        shared.append((pair, by[judge], majority(people)))
        for place, verdict in enumerate(people):
            others = majority(people[:place] + people[place + 1 :])
            if others is not None:
                person.append(1 - abs(verdict - others) / 2)
    told = [(judged, people) for _, judged, people in shared if people is not None]
    agreement = mean([1 - abs(judged - people) / 2 for judged, people in told])
    judge_ties, people_ties = mean([j == 0 for j, _ in told]), mean([p == 0 for _, p in told])
    chance = (1 + judge_ties * people_ties) / 2

    def longer(place: int) -> float:
        signs = [
            (row[place], (length[row[0][0]] > length[row[0][1]]) - (length[row[0][0]] < length[row[0][1]]))
            for row in shared
            if row[place]
        ]
        return mean([verdict == sign for verdict, sign in signs if sign])  # type: ignore[comparison-overlap]

    return {
        "agreement": agreement,
        "decided": mean([j == p for j, p in told if j and p]),
        "judge_ties": judge_ties,
        "people_ties": people_ties,
        "judge_longer": longer(1),
        "people_longer": longer(2),
        "person": mean(person),
        "kappa": (agreement - chance) / (1 - chance),
    }


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
