"""Judged steps as a process reward model learns them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import UsageError
from engine.left_out import REFUSED, LeftOutTexts, name_of
from engine.models.step_scores import SteppedTokens, stepped
from engine.protocol.configs import ProcessRewardConfig
from engine.protocol.rundir import RunDir
from engine.tables import read_rows
from engine.text import Tokeniser
from engine.training.split import heldout_prompts

COLUMNS = ("prompt_id", "messages", "response_id", "text", "annotator", "ends", "labels")


@dataclass(frozen=True)
class JudgedSteps:
    """One response with the steps that were judged, all annotators together."""

    prompt_id: str
    response_id: str
    text: SteppedTokens
    good: tuple[float, ...]  # of each step the share of annotators that find it good

    @property
    def first_wrong(self) -> int | None:
        """The first step that most find bad; None where there is none."""
        return next((n for n, share in enumerate(self.good) if share < 0.5), None)


@dataclass(frozen=True)
class StepData:
    """What is learned from and what is held out."""

    train: list[JudgedSteps]
    heldout: list[JudgedSteps]
    left_out: LeftOutTexts
    cut: int  # responses of which a part is read

    @property
    def all(self) -> list[JudgedSteps]:
        return [*self.train, *self.heldout]


def read_steps(config: ProcessRewardConfig, run: RunDir, tokeniser: Tokeniser) -> StepData:
    """The table `steps`, split by prompt.  Raises UsageError when there is nothing to learn from."""
    limit, left_out = tokeniser.at_most(config.limit), LeftOutTexts("responses")
    by_response: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(run.table("steps"), COLUMNS):
        by_response.setdefault(row["response_id"], []).append(row)
    usable, cut = [], 0
    for response_id, rows in by_response.items():
        first = rows[0]
        shares = shares_of([good_steps(row, config) for row in rows])
        ends = sorted(shares)
        if not ends:
            continue
        try:
            text = stepped(tokeniser, first["messages"], first["text"], limit, ends=ends)
        except UsageError as error:
            left_out.add(REFUSED, name_of(first["messages"]), str(error))
            continue
        cut += text.tokens.was_cut
        good = tuple(shares[end] for end in text.ends)
        usable.append(JudgedSteps(first["prompt_id"], response_id, text, good))
    if not usable:
        raise left_out.nothing_left("judge the steps of some responses")
    held = heldout_prompts({one.prompt_id for one in usable}, holdout=config.holdout, seed=config.seed)
    train = [one for one in usable if one.prompt_id not in held]
    return StepData(train, [one for one in usable if one.prompt_id in held], left_out, cut)


def good_steps(row: Mapping[str, Any], config: ProcessRewardConfig) -> dict[int, bool]:
    """Whether each judged step of one annotator counts as good, by its end in characters."""
    said: dict[int, bool] = {}
    wrong = False
    for end, label in zip(row["ends"], row["labels"], strict=True):
        if wrong and config.after_wrong == "bad":
            said[end] = False
        elif label == 0 and config.neutral == "left_out":
            continue
        else:
            said[end] = label > 0 or (label == 0 and config.neutral == "good")
        wrong = wrong or label < 0
    return said


def shares_of(said: Iterable[Mapping[int, bool]]) -> dict[int, float]:
    """Of each step, by its end, the share of annotators that find it good."""
    votes: dict[int, list[bool]] = {}
    for one in said:
        for end, good in one.items():
            votes.setdefault(end, []).append(good)
    return {end: sum(votes_there) / len(votes_there) for end, votes_there in votes.items()}


def as_table(judged: Sequence[JudgedSteps]) -> tuple[np.ndarray, np.ndarray]:
    """Share that is good, and number of the prompt, of all steps in order: [M] each."""
    prompts = {prompt: n for n, prompt in enumerate(dict.fromkeys(one.prompt_id for one in judged))}
    good_M = np.array([share for one in judged for share in one.good], dtype=np.float64)
    prompt_M = np.array([prompts[one.prompt_id] for one in judged for _ in one.good], dtype=np.int64)
    return good_M, prompt_M
