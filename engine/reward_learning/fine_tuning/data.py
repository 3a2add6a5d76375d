"""Rankings as the reward model learns them: one element a prompt, with every annotator's judgements."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from engine.errors import UsageError
from engine.frozen.comparisons import majority
from engine.left_out import LeftOutTexts, encode_or_leave_out
from engine.models.packing import Row
from engine.models.trunk import grouped
from engine.objectives.ranking import Pairs, Ties, pairs_of, ties_of
from engine.text import Tokeniser
from engine.training.split import heldout_prompts
from engine.wording import counted

COLUMNS = ("judgement_id", "annotator", "prompt_id", "messages", "response_id", "text", "rank")
OVERALL = "overall"
MAJORITY = "majority"


@dataclass(frozen=True)
class Judgement:
    """What one annotator said about some responses of a prompt under one criterion."""

    annotator: str
    criterion: int  # place among the criteria learned
    indices: Tensor  # [n] int64, responses of the element
    ranks: Tensor  # [n] int64
    ratings: Tensor | None = None  # [n] float64, where it was a rating
    unordered: Tensor | None = None  # [n] bool: those that share their rank were not compared with each other
    strength: float | None = (
        None  # of a pair: how much better, 1 slightly … 3 much; the distance of its ranks
    )

    @property
    def pairs(self) -> Pairs:
        """Strict preferences, as indices of the element's responses."""
        pairs = pairs_of(self.ranks)
        distance = pairs.distance if self.strength is None else torch.full_like(pairs.distance, self.strength)
        return Pairs(self.indices[pairs.winner], self.indices[pairs.loser], distance)

    @property
    def ties(self) -> Ties:
        """Pairs judged equal."""
        apart = -1 - torch.arange(len(self.ranks))
        ties = ties_of(self.ranks if self.unordered is None else self.ranks.where(~self.unordered, apart))
        return Ties(self.indices[ties.first], self.indices[ties.second])


@dataclass(frozen=True)
class Element:
    """One prompt, its K responses, and what everybody said about them.

    Usually there is one row.  When prompt and response are too long together the prompt is cut on the left,
    by another amount for each response; responses whose cut prompts differ lie in different rows.
    """

    prompt_id: str
    rows: tuple[Row, ...]  # responses of all rows in order are responses 0 … K−1
    response_ids: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    cut: frozenset[str]  # responses of which, with their prompt, a part is not read
    split: str | None  # as the table says, if it says
    endless: frozenset[str] = frozenset()  # responses that a budget or the limit cut: their end is not theirs

    @property
    def lengths(self) -> list[int]:
        """Tokens of each response, end-of-sequence included."""
        return [len(response) for row in self.rows for response in row.responses]

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(row.length for row in self.rows)

    @property
    def pairs(self) -> int:
        """Strict preferences of all judgements."""
        return sum(judgement.pairs.winner.numel() for judgement in self.judgements)

    @property
    def ties(self) -> int:
        """Pairs judged equal, of all judgements."""
        return sum(judgement.ties.first.numel() for judgement in self.judgements)


@dataclass(frozen=True)
class RankingData:
    """Elements split by prompt, and what was left out of them."""

    train: list[Element]
    heldout: list[Element]
    criteria: tuple[str, ...]
    unused: tuple[Element, ...] = ()  # prompts whose judgements teach this objective nothing
    left_out: LeftOutTexts = field(default_factory=LeftOutTexts)  # prompts that cannot be encoded

    @property
    def train_prompts(self) -> list[str]:
        """Ids."""
        return [element.prompt_id for element in self.train]

    @property
    def heldout_prompts(self) -> list[str]:
        """Ids."""
        return [element.prompt_id for element in self.heldout]

    @property
    def was_cut(self) -> int:
        """Responses that are learned from, or measured on, in part."""
        return sum(len(element.cut) for element in self.train + self.heldout)

    @property
    def ties(self) -> int:
        """Tied pairs, of prompts that are not learned from too."""
        return sum(element.ties for element in [*self.train, *self.heldout, *self.unused])


def read_rankings(
    path: Path,
    tokeniser: Tokeniser,
    *,
    max_tokens: int,
    holdout: float,
    seed: int,
    criteria: Sequence[str] | None = None,
    objective: str = "bradley_terry",
    majority: bool = False,
) -> RankingData:
    """Read the `rankings` table.

    `criteria` None takes all that the table has; `majority` turns the judgements of several people into the
    pairs on which most of them agree.  Raises UsageError when there is nothing to learn from.
    """
    table = pq.read_table(path)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise UsageError(
            f"The rankings in {path.name} have no column “{missing[0]}”; take the snapshot again."
        )
    records = table.to_pylist()
    names = _criteria(records, criteria)
    by_prompt: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if record.get("criterion", OVERALL) in names:
            by_prompt[record["prompt_id"]].append(record)
    left_out = LeftOutTexts("judged prompts")
    elements = []
    for prompt_id, rows in sorted(by_prompt.items()):
        prompt = encode_or_leave_out(tokeniser, json.loads(rows[0]["messages"]), None, left_out)
        if prompt is not None:
            elements.append(_element(prompt_id, rows, prompt, tokeniser, max_tokens, names, majority))
    if by_prompt and not elements:
        raise left_out.nothing_left("judge some more")
    useful = [element for element in elements if _teaches(element, objective)]
    if not useful:
        raise UsageError(_nothing(len(elements), objective))
    split_of = {element.prompt_id: element.split for element in useful}
    out = heldout_prompts(split_of, holdout=holdout, seed=seed, said=split_of)
    train = [element for element in useful if element.prompt_id not in out]
    if not train:
        raise UsageError("Every judged prompt is held out; judge more prompts or lower holdout.")
    unused = tuple(element for element in elements if not _teaches(element, objective))
    return RankingData(train, [e for e in useful if e.prompt_id in out], names, unused, left_out)


def _criteria(records: Iterable[Mapping[str, Any]], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The criteria to learn.  Raises UsageError for one that nobody judged by."""
    there = {record.get("criterion", OVERALL) for record in records}
    if wanted is None:
        return tuple(sorted(there, key=lambda name: (name != OVERALL, name)))
    for name in wanted:
        if there and name not in there:
            known = ", ".join(sorted(there))
            raise UsageError(f"Nobody has judged by the criterion “{name}”; there are judgements of {known}.")
    return tuple(wanted)


def _teaches(element: Element, objective: str) -> bool:
    if objective == "rating":
        return any(judgement.ratings is not None for judgement in element.judgements)
    return bool(element.pairs or (element.ties and objective in ("davidson", "rao_kupper")))


def _nothing(prompts: int, objective: str) -> str:
    if objective == "rating":
        return (
            f"There is no rating among the judgements of {counted(prompts, 'prompt')}; rate some responses, "
            "or choose another objective."
        )
    return (
        f"There is no preference to learn from: {counted(prompts, 'judged prompt')}, and no response ranked "
        "above another; judge some more prompts, or import rankings."
    )


def _element(
    prompt_id: str,
    records: list[dict[str, Any]],
    prompt: list[int],
    tokeniser: Tokeniser,
    max_tokens: int,
    criteria: Sequence[str],
    majority: bool,
) -> Element:
    texts = {record["response_id"]: record["text"] for record in records}
    encoded = {
        response: tokeniser.join_for_score(prompt, tokeniser.encode_response(text), max_tokens)
        for response, text in texts.items()
    }
    out_of_budget = {one["response_id"] for one in records if one.get("finish_reason") == "length"}
    rows, order = grouped([(tokens.prompt, tokens.response) for tokens in encoded.values()])
    ids = list(texts)
    index = {ids[place]: position for position, place in enumerate(order)}
    judgements = _judgements(records, index, criteria)
    return Element(
        prompt_id=prompt_id,
        rows=tuple(rows),
        response_ids=tuple(ids[place] for place in order),
        judgements=majority_of(judgements) if majority else judgements,
        cut=frozenset(response for response, tokens in encoded.items() if tokens.was_cut),
        split=records[0].get("split"),
        endless=frozenset(one for one, tokens in encoded.items() if tokens.response_cut) | out_of_budget,
    )


def _judgements(
    records: list[dict[str, Any]], index: Mapping[str, int], criteria: Sequence[str]
) -> tuple[Judgement, ...]:
    """The judgements of a prompt; responses without a rank drop out."""
    by_id: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if record["rank"] is not None:
            by_id[record["judgement_id"]].append(record)
    judgements = []
    for _, items in sorted(by_id.items()):
        items.sort(key=lambda item: index[item["response_id"]])
        first, ratings = items[0], [item.get("rating") for item in items]
        rated = all(rating is not None for rating in ratings)
        judgements.append(
            Judgement(
                annotator=first["annotator"],
                criterion=criteria.index(first.get("criterion", OVERALL)),
                indices=torch.tensor([index[item["response_id"]] for item in items]),
                ranks=torch.tensor([item["rank"] for item in items]),
                ratings=torch.tensor(ratings, dtype=torch.float64) if rated else None,
                unordered=_unordered(items),
                strength=first.get("strength"),
            )
        )
    return tuple(judgements)


def _unordered(items: Sequence[Mapping[str, Any]]) -> Tensor | None:
    """Which responses were not compared with those of their rank; of older tables those of a best-of."""
    best_of = items[0].get("kind") == "best_of"
    flags = [bool(item.get("unordered", best_of)) for item in items]
    return torch.tensor(flags) if any(flags) else None


Pair = tuple[int, int, int]
"""A criterion and two responses, the smaller index first."""


def verdicts(judgements: Sequence[Judgement]) -> dict[Pair, dict[str, int]]:
    """What each annotator said of each pair: 1 the first response is better, −1 the second, 0 a tie.

    One who judged a pair more than once counts with the sign of the sum.
    """
    sums: dict[Pair, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for judgement in judgements:
        for sign, (one, other, *_) in ((1, judgement.pairs), (0, judgement.ties)):
            for i, j in zip(one.tolist(), other.tolist(), strict=True):
                pair = (judgement.criterion, min(i, j), max(i, j))
                sums[pair][judgement.annotator] += sign if i < j else -sign
    return {
        pair: {name: (total > 0) - (total < 0) for name, total in by.items()}
        for pair, by in sorted(sums.items())
    }


def majority_of(judgements: Sequence[Judgement]) -> tuple[Judgement, ...]:
    """One judgement for each pair on which more than half of its judges agree; ties and the rest drop out."""
    by_pair = verdicts(judgements)
    votes = [[list(by.values()).count(verdict) for by in by_pair.values()] for verdict in (1, -1, 0)]
    better_M, worse_M, _ = majority(*(np.array(count_M) for count_M in votes))
    return tuple(
        Judgement(
            MAJORITY, criterion, torch.tensor([first, second]), torch.tensor([1, 2] if better else [2, 1])
        )
        for (criterion, first, second), better, worse in zip(by_pair, better_M, worse_M, strict=True)
        if better or worse
    )
