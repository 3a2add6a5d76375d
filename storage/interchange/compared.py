"""What the rows of a file compare, read without importing them: what a reward model is measured on.

Verdicts count as they do in the store: one who judged a pair more than once counts with the sign of the sum,
a pair is what most annotators say of it, a rating ranks.  Several responses of which some are good and the
rest are not are one comparison; every other order is taken apart into pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from storage.errors import ImportFileError
from storage.ids import Chat, canonical_messages, prompt_id
from storage.interchange.asking import require_sure
from storage.interchange.clean import clean_text
from storage.interchange.containers.parts import Part
from storage.interchange.mapping.cells import RowError
from storage.interchange.mapping.example import Example, Judged
from storage.interchange.planning import Plan
from storage.policies import unknown

OVERALL = "overall"
TELL_EVERY = 500  # rows
TIED, SPLIT = "pairs that are judged alike", "pairs on which as many annotators say one thing as the other"
SAME = "comparisons of a text with itself"
ALONE = "judgements of one response alone"
SILENT = "rows without a verdict on “{}”"
OTHER_SPLIT = "rows of another split"


@dataclass(frozen=True, slots=True)
class Compared:
    """Responses to one prompt of which some are better than the others."""

    prompt_id: str
    messages: Chat
    subset: str
    kind: Literal["pair", "best_of"]
    place: str
    external_id: str | None
    good: tuple[str, ...]
    bad: tuple[str, ...]
    policies: tuple[str, ...]  # of the good ones, then of the bad ones
    votes: int = 1
    votes_other: int = 0
    votes_tie: int = 0


@dataclass
class FileComparisons:
    """All of a file."""

    criterion: str
    items: list[Compared] = field(default_factory=list)
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)  # where each reason was met first

    def leave(self, reason: str, place: str, number: int = 1) -> None:
        """Count rows left out for a reason, and remember where the first of them stood."""
        self.left_out[reason] += number
        self.places.setdefault(reason, place)


@dataclass
class _Prompt:
    """One prompt in one subset."""

    messages: Chat
    place: str
    external_id: str | None
    texts: dict[str, int] = field(default_factory=dict)
    policies: list[str] = field(default_factory=list)
    # of two responses, by annotator: above 0 the first is better
    verdicts: dict[tuple[int, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    where: dict[tuple[int, int], tuple[str, str | None]] = field(default_factory=dict)
    best_of: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[str, str | None]] = field(
        default_factory=dict
    )
    # judgements over several rows, by annotator and what joins them; a rank stands as its negative
    joined: dict[tuple[str, str], dict[int, list[float]]] = field(default_factory=dict)

    seen: set[tuple[Any, ...]] = field(default_factory=set)  # one who says the same twice says it once

    def number(self, text: str, policy: str) -> int:
        """The place of a text among the prompt's; the first policy that wrote it counts."""
        if text not in self.texts:
            self.texts[text] = len(self.texts)
            self.policies.append(policy)
        return self.texts[text]

    def say(self, annotator: str, a: int, b: int, better: float, where: tuple[str, str | None]) -> None:
        """`better`: above 0 for a, below for b, 0 for a tie."""
        pair, sign = ((a, b), 1) if a < b else ((b, a), -1)
        self.verdicts[pair][annotator] += sign * ((better > 0) - (better < 0))
        self.where.setdefault(pair, where)


def comparisons(
    plan: Plan,
    *,
    criterion: str | None = None,
    split: str | None = None,
    on_progress: Callable[[int, float], None] | None = None,
) -> FileComparisons:
    """Everything that a file compares by a criterion: `overall`, or what its first rows are judged by most.

    Raises ImportFileError where it is not clear what the columns are, where nothing is compared, or where
    there is no such criterion or split.
    """
    require_sure(plan)
    about = _criterion(plan, criterion)
    compared, prompts = FileComparisons(about), dict[tuple[str, str], _Prompt]()
    taker, splits = plan.taker(), set[str]()
    for part, number, row in plan.rows():
        compared.rows += 1
        place = _place(plan, part, number)
        try:
            if isinstance(row, RowError):
                raise row
            example = taker.take(row)
        except RowError as error:
            compared.leave(clean_text(str(error)), place)
            continue
        own = example.split or part.split
        splits.add(own or "")
        if split is not None and own != split:
            compared.leave(OTHER_SPLIT, place)
        else:
            _take(compared, prompts, example, place, example.subset or part.subset or "")
        if on_progress is not None and compared.rows % TELL_EVERY == 0:
            on_progress(compared.rows, plan.source.share(part))
    if split is not None and split not in splits:
        there = ", ".join(sorted(splits - {""})) or "none that it names"
        raise ImportFileError(f"{plan.source.name} has no split “{split}”; there is {there}.")
    for (_, subset), prompt in prompts.items():
        _settle(compared, prompt, subset)
    if not compared.items:
        raise ImportFileError(f"{plan.source.name}: {_nothing(compared)}.")
    return compared


def _criterion(plan: Plan, wanted: str | None) -> str:
    """By the rows of the sample."""
    seen = Counter(j.criterion for example in plan.preview[0] for j in example.judgements)
    if wanted is not None:
        if seen and wanted not in seen:
            raise ImportFileError(f"{plan.source.name}: {unknown('criterion', wanted, list(seen))}")
        return wanted
    return OVERALL if OVERALL in seen or not seen else seen.most_common(1)[0][0]


def _take(
    compared: FileComparisons,
    prompts: dict[tuple[str, str], _Prompt],
    example: Example,
    place: str,
    subset: str,
) -> None:
    judged = [j for j in example.judgements if j.criterion == compared.criterion]
    if not judged:
        compared.leave(SILENT.format(compared.criterion), place)
        return
    key = prompt_id(canonical_messages(example.chat))
    prompt = prompts.setdefault((key, subset), _Prompt(example.chat, place, example.id))
    numbers = [prompt.number(answer.text, answer.policy) for answer in example.answers]
    where = place, example.id
    for each in judged:
        if each.group is not None:
            response, rank, rating = each.items[0]
            joined = prompt.joined.setdefault((each.annotator, each.group), {})
            value = -rank if rank is not None else rating
            if value is not None:
                joined.setdefault(numbers[response], []).append(value)
        else:
            _judgement(compared, prompt, each, numbers, where)


def _judgement(
    compared: FileComparisons,
    prompt: _Prompt,
    judged: Judged,
    numbers: list[int],
    where: tuple[str, str | None],
) -> None:
    """One whole verdict."""
    said = (
        judged.annotator,
        judged.kind,
        *sorted((numbers[n], rank, rating) for n, rank, rating in judged.items),
    )
    if said in prompt.seen:
        return
    prompt.seen.add(said)
    ranked = any(rank is not None for _, rank, _ in judged.items)
    values = [
        (numbers[place], -rank if rank is not None else rating)
        for place, rank, rating in judged.items
        if (rank if ranked else rating) is not None
    ]
    if judged.kind == "best_of" and len(values) > 2:
        top = max(value for _, value in values if value is not None)
        good = tuple(sorted({n for n, value in values if value == top}))
        bad = tuple(sorted({n for n, value in values if value != top}))
        if not bad or set(good) & set(bad):
            compared.leave(SAME, where[0])
            return
        prompt.best_of.setdefault((good, bad), where)
        return
    if len(values) < 2:
        compared.leave(ALONE, where[0])
    _say_pairs(compared, prompt, judged.annotator, values, where)


def _say_pairs(
    compared: FileComparisons,
    prompt: _Prompt,
    annotator: str,
    values: Iterable[tuple[int, float | None]],
    where: tuple[str, str | None],
) -> None:
    for (a, one), (b, other) in combinations(values, 2):
        if one is None or other is None:
            continue
        if a == b:
            compared.leave(SAME, where[0])
        else:
            prompt.say(annotator, a, b, one - other, where)


def _settle(compared: FileComparisons, prompt: _Prompt, subset: str) -> None:
    """The comparisons of a prompt, once all rows have spoken."""
    where = prompt.place, prompt.external_id
    for (annotator, _), said in prompt.joined.items():
        if len(said) < 2:
            compared.leave(ALONE, prompt.place)
        means = [(n, sum(values) / len(values)) for n, values in said.items()]
        _say_pairs(compared, prompt, annotator, means, where)
    texts = list(prompt.texts)
    key = prompt_id(canonical_messages(prompt.messages))

    def made(
        kind: Literal["pair", "best_of"],
        good: tuple[int, ...],
        bad: tuple[int, ...],
        at: tuple[str, str | None],
        votes: tuple[int, int, int] = (1, 0, 0),
    ) -> Compared:
        chosen, others = tuple(texts[n] for n in good), tuple(texts[n] for n in bad)
        policies = tuple(prompt.policies[n] for n in (*good, *bad))
        return Compared(key, prompt.messages, subset, kind, *at, chosen, others, policies, *votes)

    for (good, bad), at in prompt.best_of.items():
        compared.items.append(made("best_of", good, bad, at))
    for (a, b), verdicts in prompt.verdicts.items():
        at = prompt.where[a, b]
        signs = [(sum_ > 0) - (sum_ < 0) for sum_ in verdicts.values()]
        for_a, for_b, ties = signs.count(1), signs.count(-1), signs.count(0)
        if for_a == for_b or ties >= max(for_a, for_b):
            compared.leave(TIED if ties > max(for_a, for_b) else SPLIT, at[0])
        elif for_a > for_b:
            compared.items.append(made("pair", (a,), (b,), at, (for_a, for_b, ties)))
        else:
            compared.items.append(made("pair", (b,), (a,), at, (for_b, for_a, ties)))


def _place(plan: Plan, part: Part, number: int) -> str:
    where = f"{part.word} {number}"
    return where if len(plan.source.parts) == 1 else f"{part.path.name} {where}"


def _nothing(compared: FileComparisons) -> str:
    reason, _ = compared.left_out.most_common(1)[0] if compared.left_out else ("there are no rows in it", 0)
    return (
        f"it compares nothing by “{compared.criterion}” ({reason}); a benchmark says which of the "
        "responses to a prompt are better"
    )


def responses_of(items: Iterable[Compared]) -> Iterator[tuple[Chat, list[tuple[int, int, str]]]]:
    """Each prompt once, with its responses: number of the item, number in the item, text."""
    by_prompt: dict[str, tuple[Chat, list[tuple[int, int, str]]]] = {}
    for number, item in enumerate(items):
        known = by_prompt.setdefault(item.prompt_id, (item.messages, []))[1]
        known += [(number, place, text) for place, text in enumerate((*item.good, *item.bad))]
    yield from by_prompt.values()
