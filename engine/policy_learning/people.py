"""Samples that people rank before the policy learns from them.

The samples of a step are written as responses of the store and the run pauses.  When it is resumed, the
workbench has put the judgements of its responses into `rankings`; with enough of them the step goes on, else
it pauses again and says what is missing.  What was sampled is read back, so nothing depends on sampling the
same a second time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from engine.policy_learning.models import Models
from engine.policy_learning.prompts import Prompt
from engine.policy_learning.rollout import Rollout, as_rollout, collect
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Event, Message, Output, Stopped
from engine.protocol.rundir import RunDir
from engine.rollout import Sampled
from engine.tables import RESPONSES, write_output
from engine.wording import counted


class WaitingForPeopleError(Exception):
    """The step cannot go on before its samples are ranked; its sentence says what is missing."""

    def pause(self, save: Callable[[], None]) -> Iterator[Event]:
        """Say so, with a checkpoint from which the run goes on."""
        save()
        yield Message(level="info", text=str(self))
        yield Stopped(paused=True)


def offered(
    models: Models, prompts: list[Prompt], step: int, config: PolicyLearningConfig, run: RunDir
) -> Generator[Event, None, Rollout]:
    """1. The samples of step `step` (from 1): those written before, or new ones, written for people to rank.

    A response of the store is known by run, prompt and sample index, so that the index counts over all steps.
    """
    path, first = run.output_path("responses", step), step * config.samples
    by = "" if step == 1 else policy_name(config, step - 1)
    if path.exists():
        rows = pq.read_table(path).to_pylist()
        # announced again: the process may have been ended between writing and saying so
        yield Output(kind="responses", path=run.relative(path), rows=len(rows), step=step, policy=by)
        return as_rollout(models, prompts, list(_sampled(rows, prompts, first)))
    key = ("rollout", config.seed, step - 1)
    rollout = yield from collect(models, prompts, config, *key, stage="sampling")
    rows = [
        {
            "prompt_id": rollout.prompt_of(n).prompt_id,
            "sample_index": first + response.sample_index,
            "text": rollout.texts[n],
            "token_ids": response.token_ids,
            "token_logprobs": response.logprobs,
            "finish_reason": "stop" if response.stopped else "length",
        }
        for n, response in enumerate(rollout.sampled)
    ]
    output = write_output(run, path, "responses", RESPONSES, rows, step)
    yield Output(kind="responses", path=output.path, rows=output.rows, step=step, policy=by)
    return rollout


def policy_name(config: PolicyLearningConfig, step: int) -> str:
    """The name of the policy after so many steps."""
    return f"{config.name} {step}"


def _sampled(rows: list[dict[str, Any]], prompts: list[Prompt], first: int) -> Iterator[Sampled]:
    place = {prompt.prompt_id: index for index, prompt in enumerate(prompts)}
    for row in rows:
        yield Sampled(
            prompt_index=place[row["prompt_id"]],
            sample_index=row["sample_index"] - first,
            token_ids=row["token_ids"],
            logprobs=row["token_logprobs"],
            stopped=row["finish_reason"] == "stop",
        )


def ranked(rollout: Rollout, config: PolicyLearningConfig, run: RunDir) -> Tensor:
    """How much of its comparisons each sample wins less what it loses, from −1 to 1, [N]; a mean over its
    judgements, 0 where there are none.  Raises WaitingForPeopleError.
    """
    verdicts: dict[str, list[dict[str, int]]] = defaultdict(list)  # by prompt: ranks by text
    by_judgement: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    own = {(rollout.prompt_of(n).prompt_id, text) for n, text in enumerate(rollout.texts)}
    for row in pq.read_table(run.table("rankings")).to_pylist():
        if row["rank"] is not None and (row["prompt_id"], row["text"]) in own:
            by_judgement[row["prompt_id"], row["judgement_id"]][row["text"]] = row["rank"]
    for (prompt_id, _), ranks in by_judgement.items():
        verdicts[prompt_id].append(ranks)
    texts: dict[str, set[str]] = defaultdict(set)
    for prompt_id, text in own:
        texts[prompt_id].add(text)
    prompts = [
        prompt_id for prompt_id, said in texts.items() if len(said) > 1
    ]  # else there is nothing to rank
    wanted = config.people_rank() * len(prompts)
    missing = sum(prompt_id not in verdicts for prompt_id in prompts)
    if len(prompts) - missing < wanted:
        raise WaitingForPeopleError(
            f"Rank the responses to {missing} of {counted(len(prompts), 'prompt')} (F3), then "
            "resume this run; it goes on from there."
        )
    by_response = [
        [_balance(text, ranks) for ranks in verdicts[rollout.prompt_of(n).prompt_id] if text in ranks]
        for n, text in enumerate(rollout.texts)
    ]
    return torch.tensor([sum(values) / len(values) if values else 0.0 for values in by_response])


def _balance(text: str, ranks: dict[str, int]) -> float:
    """(worse − better) / others: of a ranking, where a response stands in it."""
    others = [rank for other, rank in ranks.items() if other != text]
    return sum((rank > ranks[text]) - (rank < ranks[text]) for rank in others) / max(1, len(others))
