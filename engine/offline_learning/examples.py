"""Stored responses as offline learning reads them: one example a prompt, its responses packed behind it."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from engine.errors import UsageError
from engine.left_out import LeftOutTexts, check_template, encode_or_leave_out
from engine.models.packing import Row
from engine.models.trunk import grouped
from engine.protocol.configs import StoredResponsesConfig
from engine.text import Chat, Tokeniser
from engine.training.split import heldout_prompts

Record = dict[str, Any]


@dataclass(frozen=True)
class TrainingExample:
    """One prompt with K distinct responses, the end of their turn included, and M pairs of them.

    A response that the budget cut, when it was sampled or here, has no end: it must not teach to stop there.

    Usually there is one row.  Where a prompt had to be cut on the left, by another amount for each response,
    there are several.
    """

    prompt_id: str
    rows: tuple[Row, ...]  # responses of all rows in order are responses 0 … K−1
    winner: Tensor  # [M] int64
    loser: Tensor  # [M] int64
    pair_weight: Tensor | None = None  # [M] float; None: 1 each
    tied: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.long))  # pairs judged equal
    desirable: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))  # [K], of KTO

    @property
    def count(self) -> int:
        """K"""
        return sum(len(row.responses) for row in self.rows)

    @property
    def tokens(self) -> int:
        """Response tokens."""
        return sum(len(response) for row in self.rows for response in row.responses)

    @property
    def length(self) -> int:
        """Tokens of its longest row: what a micro-batch is padded to."""
        return max(row.length for row in self.rows)


@dataclass(frozen=True)
class TrainingExamples:
    """Examples split by prompt, and what was left out."""

    train: list[TrainingExample]
    heldout: list[TrainingExample]
    was_cut: int  # responses that are learned in part, or without the beginning of their prompt
    left_out: LeftOutTexts  # prompts that cannot be encoded
    limit: int  # tokens of the longest prompt + response
    truncated: int = 0  # responses without an end, or left out for that


class ExampleReader:
    """Turns records of a prompt into an example."""

    def __init__(self, tokeniser: Tokeniser, config: StoredResponsesConfig) -> None:
        self._tokeniser, self._config = tokeniser, config
        check_template(tokeniser, config.template)
        self.limit = tokeniser.at_most(config.max_tokens)
        self.was_cut = self.truncated = 0
        self.left_out = LeftOutTexts()

    def example(
        self,
        prompt_id: str,
        records: list[Record],
        pairs: Iterable[tuple[str, str]],
        *,
        weights: Mapping[tuple[str, str], float] | None = None,
        ties: Iterable[tuple[str, str]] = (),
        desirable: Mapping[str, bool] | None = None,
    ) -> TrainingExample | None:
        """An example of the records' distinct responses; pairs are response ids, winner first.

        weights: what each pair counts; None is 1 each.
        desirable: responses that are learned as good or bad each for itself, by response id.
        """
        messages: Chat = json.loads(records[0]["messages"])
        prompt = encode_or_leave_out(self._tokeniser, messages, self._config.template, self.left_out)
        if prompt is None:
            return None
        pieces: list[tuple[list[int], list[int]]] = []
        response_ids: list[str] = []
        for response_id, record in {record["response_id"]: record for record in records}.items():
            response = self._tokeniser.encode_response(record["text"])
            tokens = self._tokeniser.join_for_score(prompt, response, self.limit, self._config.template)
            # Where budget or limit has cut a response it has not ended: nobody shall learn to end there.
            endless = record.get("finish_reason") == "length" or tokens.response_cut
            self.truncated += endless
            body = tokens.response[:-1] if endless else tokens.response
            if not body or (endless and self._config.truncated == "leave out"):
                continue
            self.was_cut += tokens.was_cut
            pieces.append((tokens.prompt, body))
            response_ids.append(response_id)
        if not pieces:
            return None
        rows, order = grouped(pieces)
        place = {response_ids[old]: new for new, old in enumerate(order)}

        def inside(pairs: Iterable[tuple[str, str]]) -> Tensor:
            places = [(place[one], place[other]) for one, other in pairs if one in place and other in place]
            return torch.tensor(places, dtype=torch.long).reshape(-1, 2)

        whole_pairs = [(one, other) for one, other in pairs if one in place and other in place]
        indices = inside(whole_pairs)
        labels = [] if desirable is None else [desirable[response_ids[old]] for old in order]
        return TrainingExample(
            prompt_id,
            tuple(rows),
            indices[:, 0],
            indices[:, 1],
            pair_weight=None if weights is None else torch.tensor([weights[pair] for pair in whole_pairs]),
            tied=inside(ties),
            desirable=torch.tensor(labels, dtype=torch.bool),
        )

    def split(self, examples: list[TrainingExample], what: str) -> TrainingExamples:
        """Train and held-out examples, by prompt, in the order of a seeded hash.

        Of the same seed and share it is the split that reward training makes.  Raises UsageError when nothing
        is left to learn from.
        """
        if not examples and len(self.left_out):
            raise self.left_out.nothing_left("judge or import some more")
        if not examples:
            raise UsageError(f"There are no {what} to learn from; judge or import some more.")
        ids = [example.prompt_id for example in examples]
        out = heldout_prompts(ids, holdout=self._config.holdout, seed=self._config.seed)
        if len(out) == len(ids):
            raise UsageError("Every prompt is held out; lower holdout, or add prompts.")
        train = [example for example in examples if example.prompt_id not in out]
        heldout = [example for example in examples if example.prompt_id in out]
        return TrainingExamples(train, heldout, self.was_cut, self.left_out, self.limit, self.truncated)


def by_prompt(path: Path) -> list[tuple[str, list[Record]]]:
    """Records of a table with prompt_id, messages, response_id and text, by prompt."""
    by_id: dict[str, list[Record]] = defaultdict(list)
    for record in pq.read_table(path).to_pylist():
        by_id[record["prompt_id"]].append(record)
    return sorted(by_id.items())


def judgements(records: list[Record]) -> list[list[Record]]:
    """The ranked responses of each judgement, best first."""
    by_id: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["rank"] is not None:
            by_id[record["judgement_id"]].append(record)
    return [
        sorted(ranked, key=lambda record: (record["rank"], record["response_id"]))
        for _, ranked in sorted(by_id.items())
    ]


def implied_pairs(records: list[Record]) -> list[tuple[str, str]]:
    """Every pair (winner, loser) of response ids that the judgements imply; ties give none."""
    return [
        (better["response_id"], worse["response_id"])
        for ranked in judgements(records)
        for better, worse in itertools.combinations(ranked, 2)
        if better["rank"] < worse["rank"]
    ]


def implied_ties(records: list[Record]) -> list[tuple[str, str]]:
    """Every pair of response ids that a judgement calls equal; what it has not compared is not tied."""
    return [
        (one["response_id"], other["response_id"])
        for ranked in judgements(records)
        for one, other in itertools.combinations(ranked, 2)
        if one["rank"] == other["rank"] and not one.get("unordered", one.get("kind") == "best_of")
    ]


def consensus(records: list[Record]) -> dict[tuple[str, str], float]:
    """Pairs (winner, loser) of response ids, each once, by the side that more judgements take, and how far
    they agree: (for − against) / all that compared the two, ties among them.  Even ones are left out.
    """
    balance: dict[tuple[str, str], int] = defaultdict(int)
    compared: dict[tuple[str, str], int] = defaultdict(int)
    for better, worse in implied_pairs(records):
        first, second = sorted((better, worse))
        balance[first, second] += 1 if better == first else -1
        compared[first, second] += 1
    for pair in implied_ties(records):
        first, second = sorted(pair)
        compared[first, second] += 1
    return {
        (pair if votes > 0 else pair[::-1]): abs(votes) / compared[pair]
        for pair, votes in balance.items()
        if votes
    }


def micro_batches(examples: list[TrainingExample], size: int) -> Iterator[list[TrainingExample]]:
    """Examples `size` at a time, long ones together, so that little is padded."""
    ordered = sorted(examples, key=lambda example: (-example.length, example.prompt_id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
