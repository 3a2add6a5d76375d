"""Rankings as the reward model learns them: one element a prompt, with every annotator's pairs."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from engine.algorithms.checkpoint import stable_hash
from engine.algorithms.parts import grouped
from engine.errors import UsageError
from engine.models.packing import Row
from engine.objectives.ranking import Pairs, pairs_of
from engine.text import Chat, Tokeniser

COLUMNS = ("judgement_id", "annotator", "prompt_id", "messages", "response_id", "text", "rank")


@dataclass(frozen=True)
class Element:
    """One prompt, its K responses, and what everybody said about them.

    Usually there is one row.  When prompt and response are too long together the prompt is cut on the left,
    by another amount for each response; responses whose cut prompts differ lie in different rows.
    """

    prompt_id: str
    rows: tuple[Row, ...]  # responses of all rows in order are responses 0 … K−1
    pairs: Pairs  # of all judgements; indices are responses
    ties: int  # pairs judged equal, which teach nothing
    rankings: tuple[tuple[Tensor, Tensor], ...]  # of each judgement: response indices and ranks
    was_cut: int  # responses whose prompt (or text) was cut
    split: str | None  # as the table says, if it says

    @property
    def lengths(self) -> list[int]:
        """Tokens of each response, end-of-sequence included."""
        return [len(response) for row in self.rows for response in row.responses]


@dataclass(frozen=True)
class RankingData:
    """Elements split by prompt, and what was left out of them."""

    train: list[Element]
    heldout: list[Element]
    ties: int
    without_pairs: int  # prompts whose judgements hold nothing but ties

    @property
    def was_cut(self) -> int:
        return sum(element.was_cut for element in self.train + self.heldout)


def read_rankings(
    path: Path, tokeniser: Tokeniser, *, max_tokens: int, holdout: float, seed: int
) -> RankingData:
    """Read the `rankings` table.  Raises UsageError when it holds nothing to learn from."""
    table = pq.read_table(path)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise UsageError(
            f"The rankings in {path.name} have no column “{missing[0]}”; take the snapshot again."
        )
    by_prompt: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in table.to_pylist():
        by_prompt[record["prompt_id"]].append(record)
    elements = [
        _element(prompt_id, rows, tokeniser, max_tokens) for prompt_id, rows in sorted(by_prompt.items())
    ]
    useful = [element for element in elements if element.pairs.winner.numel()]
    if not useful:
        raise UsageError(
            f"There is no preference to learn from: {len(elements)} judged prompts, and no response ranked "
            "above another; judge some more prompts, or import rankings."
        )
    train, heldout = _split(useful, holdout, seed)
    if not train:
        raise UsageError("Every judged prompt is held out; judge more prompts or lower holdout.")
    ties = sum(element.ties for element in elements)
    return RankingData(train, heldout, ties=ties, without_pairs=len(elements) - len(useful))


def _element(prompt_id: str, records: list[dict[str, Any]], tokeniser: Tokeniser, max_tokens: int) -> Element:
    messages: Chat = json.loads(records[0]["messages"])
    texts = {record["response_id"]: record["text"] for record in records}
    pieces, cut = [], 0
    for text in texts.values():
        tokens = tokeniser.encode_for_score(messages, text, max_tokens, template=None)
        if not tokens.prompt:
            raise UsageError(
                f"max_tokens is {max_tokens}, too few for a prompt and a response of {prompt_id}; raise it."
            )
        cut += tokens.was_cut
        pieces.append((tokens.prompt, tokens.response))
    rows, order = grouped(pieces)
    ids = list(texts)
    index = {ids[place]: position for position, place in enumerate(order)}
    rankings = _rankings(records, index)
    pairs = [(indices, pairs_of(ranks)) for indices, ranks in rankings]
    strict = sum(p.winner.numel() for _, p in pairs)
    return Element(
        prompt_id=prompt_id,
        rows=tuple(rows),
        pairs=Pairs(
            torch.cat([indices[p.winner] for indices, p in pairs]),
            torch.cat([indices[p.loser] for indices, p in pairs]),
            torch.cat([p.distance for _, p in pairs]),
        ),
        ties=sum(len(ranks) * (len(ranks) - 1) // 2 for _, ranks in rankings) - strict,
        rankings=tuple(rankings),
        was_cut=cut,
        split=records[0].get("split"),
    )


def _rankings(records: list[dict[str, Any]], index: dict[str, int]) -> list[tuple[Tensor, Tensor]]:
    """Response indices and ranks of each judgement; responses without a rank drop out."""
    judgements: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for record in records:
        if record["rank"] is not None:
            judgements[record["judgement_id"]].append((index[record["response_id"]], record["rank"]))
    found = []
    for _, items in sorted(judgements.items()):
        items.sort()
        found.append((torch.tensor([i for i, _ in items]), torch.tensor([rank for _, rank in items])))
    return found or [(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))]


def _split(elements: list[Element], holdout: float, seed: int) -> tuple[list[Element], list[Element]]:
    """Train and held-out elements: as the table says, else a share of them in the order of a seeded hash."""
    if any(element.split for element in elements):
        heldout = [element for element in elements if element.split == "heldout"]
        return [element for element in elements if element.split != "heldout"], heldout
    order = sorted(elements, key=lambda element: stable_hash("holdout", seed, element.prompt_id))
    count = round(holdout * len(order))
    if holdout > 0 and len(order) > 1:
        count = min(max(count, 1), len(order) - 1)
    out = {element.prompt_id for element in order[:count]}
    train = [element for element in elements if element.prompt_id not in out]
    return train, [element for element in elements if element.prompt_id in out]
