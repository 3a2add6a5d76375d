"""What a head on a frozen trunk is fitted to: comparisons by criterion, split by prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from engine.algorithms.split import heldout_prompts
from engine.errors import UsageError
from engine.frozen.comparisons import Comparisons, comparisons_of
from engine.jobs.tables import read_rows
from engine.protocol.configs import RewardConfig
from engine.protocol.rundir import RunDir

COLUMNS = ("judgement_id", "prompt_id", "messages", "response_id", "text", "rank")


@dataclass(frozen=True)
class Judged:
    """Judged responses in a fixed order (rows of the features), and what was said of them."""

    response_ids: list[str]
    prompt_ids: list[str]  # of each response
    texts: list[str]
    comparisons: dict[str, Comparisons]  # by criterion, of all prompts
    rankings: list[tuple[str, str, np.ndarray, np.ndarray]]  # criterion, prompt, rows, ranks of a judgement
    prompts: list[str]  # the prompt of each number in the comparisons
    train_prompts: set[str]
    heldout_prompts: set[str]
    dropped: list[str]  # criteria that were wanted and have no preference on a training prompt

    def within(self, prompts: set[str]) -> dict[str, Comparisons]:
        """Comparisons on some prompts, by criterion; criteria without any are left out."""
        found = {}
        for criterion, comparisons in self.comparisons.items():
            keep_M = np.array([self.prompts[number] in prompts for number in comparisons.prompt], dtype=bool)
            if keep_M.any():
                found[criterion] = comparisons.chosen(keep_M)
        return found

    def training(self) -> dict[str, Comparisons]:
        """What is learned from."""
        return self.within(self.train_prompts)

    def in_training(self) -> np.ndarray:
        """Which responses belong to training prompts, [N] bool."""
        return np.array([prompt in self.train_prompts for prompt in self.prompt_ids], dtype=bool)

    def split_rows(self) -> list[dict[str, str]]:
        """Rows of the table of splits."""
        rows = [{"prompt_id": prompt, "split": "train"} for prompt in sorted(self.train_prompts)]
        return rows + [{"prompt_id": prompt, "split": "heldout"} for prompt in sorted(self.heldout_prompts)]


def read_judged(config: RewardConfig, run: RunDir) -> Judged:
    """Read the `rankings` table and split its prompts.  Raises UsageError without anything to learn from."""
    path = run.table("rankings")
    names = pq.read_schema(path).names
    optional = [name for name in ("criterion", "split") if name in names]
    records = read_rows(path, [*COLUMNS, *optional])
    texts = {record["response_id"]: record for record in records}
    response_ids = sorted(texts)
    index = {response: row for row, response in enumerate(response_ids)}
    prompts = sorted({record["prompt_id"] for record in records})
    found = _criteria(config, records)
    comparisons = {name: _compared(records, name, index, prompts) for name in found}
    useful = {prompts[number] for c in comparisons.values() for number in c.prompt[(c.win + c.loss) > 0]}
    if not useful:
        raise UsageError(
            f"There is no preference to learn from: {len(prompts)} judged prompts, and no response ranked "
            "above another; judge some more prompts, or import rankings."
        )
    said = {record["prompt_id"]: record.get("split") for record in records}
    out = heldout_prompts(useful, holdout=config.holdout, seed=config.seed, said=said)
    if not useful - out:
        raise UsageError("Every judged prompt is held out; judge more prompts or lower holdout.")
    train = useful - out
    kept = {
        name: c for name, c in comparisons.items() if _teaches(c, [prompt in train for prompt in prompts])
    }
    return Judged(
        response_ids=response_ids,
        prompt_ids=[texts[response]["prompt_id"] for response in response_ids],
        texts=[texts[response]["text"] for response in response_ids],
        comparisons=kept,
        rankings=_rankings(records, set(kept), index),
        prompts=prompts,
        train_prompts=train,
        heldout_prompts=out,
        dropped=[name for name in config.criteria() or found if name not in kept],
    )


def _teaches(comparisons: Comparisons, in_training: list[bool]) -> bool:
    """Whether there is a strict preference on a training prompt; prompts by number."""
    mine_M = np.array(in_training)[comparisons.prompt]
    return bool((comparisons.win + comparisons.loss)[mine_M].sum() > 0)


def _criterion(record: dict[str, Any]) -> str:
    return str(record.get("criterion") or "overall")


def _criteria(config: RewardConfig, records: list[dict[str, Any]]) -> list[str]:
    """The criteria to learn: those named, or all that were judged, overall first."""
    judged = sorted({_criterion(record) for record in records}, key=lambda name: (name != "overall", name))
    wanted = config.criteria()
    return judged if wanted is None else [name for name in wanted if name in judged]


def _compared(
    records: list[dict[str, Any]], criterion: str, index: dict[str, int], prompts: list[str]
) -> Comparisons:
    """Comparisons on one criterion, prompts by their place in `prompts`."""
    return comparisons_of(
        (
            (record["prompt_id"], record["judgement_id"], record["response_id"], record["rank"])
            for record in records
            if _criterion(record) == criterion
        ),
        index,
        prompts={prompt: place for place, prompt in enumerate(prompts)},
    )


def _rankings(
    records: list[dict[str, Any]], criteria: set[str], index: dict[str, int]
) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    judgements: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for record in records:
        if record["rank"] is not None and _criterion(record) in criteria:
            key = (_criterion(record), record["prompt_id"], record["judgement_id"])
            judgements.setdefault(key, []).append((index[record["response_id"]], record["rank"]))
    found = []
    for (criterion, prompt, _), items in sorted(judgements.items()):
        rows, ranks = (np.array(side) for side in zip(*items, strict=True))
        found.append((criterion, prompt, rows, ranks))
    return found
