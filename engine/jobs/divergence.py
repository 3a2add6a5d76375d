"""How far the responses of a run have moved from a reference policy: KL(π ‖ π_ref), in nats a response.

The estimate is the mean of Σ log π − log π_ref over the tokens of responses that π itself has said (k1, which
is unbiased), both by the same forward pass, so that a policy is 0 away from itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from engine.left_out import LeftOutTexts, encode_or_leave_out
from engine.models.catalogue import resolving
from engine.models.device import resolve_device
from engine.models.packing import Row
from engine.models.policy import load_policy
from engine.models.trunk import Trunk
from engine.protocol.configs import GenerateConfig
from engine.protocol.events import Event, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.guards import MicroBatchSize, retry_on_out_of_memory
from engine.training.policy import Policy

KL, ERROR = "sample/kl", "sample/kl_error"


def kl_to_reference(
    config: GenerateConfig, run: RunDir, prompts: list[dict[str, Any]]
) -> Generator[Event, None, dict[str, float]]:
    """Metrics `sample/kl`, the mean over prompts, and `sample/kl_error`, its standard error over them.

    prompts: rows with `prompt_id` and `messages`.  Of the responses that lie in the run directory, those of
    an earlier process too.
    """
    folder = yield from resolving(run.model("policy").folder)
    reference = yield from resolving(run.model("reference").folder)
    tokeniser = Tokeniser.from_folder(folder)
    rows = _rows(config, run, tokeniser, prompts)
    if not rows:
        return {}
    logprobs = yield from _measured(config, folder, tokeniser, [row for _, row in rows], "policy")
    others = yield from _measured(config, reference, tokeniser, [row for _, row in rows], "reference")
    by_prompt = [float((a - b).mean()) for a, b in zip(logprobs, others, strict=True)]
    error = stdev(by_prompt) / len(by_prompt) ** 0.5 if len(by_prompt) > 1 else None
    yield Metrics(step=1, values={KL: fmean(by_prompt), ERROR: error})
    return {"kl": fmean(by_prompt)}


def _rows(
    config: GenerateConfig, run: RunDir, tokeniser: Tokeniser, prompts: list[dict[str, Any]]
) -> list[tuple[str, Row]]:
    """Each prompt that was answered, with all its responses that hold a token."""
    said: dict[str, list[list[int]]] = defaultdict(list)
    for path in sorted(run.output_path("responses", 0).parent.glob("responses-*.parquet")):
        table = pq.read_table(path, columns=["prompt_id", "token_ids"])
        for prompt_id, tokens in zip(
            table["prompt_id"].to_pylist(), table["token_ids"].to_pylist(), strict=True
        ):
            if tokens:
                said[prompt_id].append(tokens)
    rows = []
    for prompt in prompts:
        if prompt["prompt_id"] in said:
            ids = encode_or_leave_out(tokeniser, prompt["messages"], config.template, LeftOutTexts())
            assert ids is not None  # it was answered
            rows.append((prompt["prompt_id"], Row(ids, said[prompt["prompt_id"]])))
    return rows


def _measured(
    config: GenerateConfig, folder: Path, tokeniser: Tokeniser, rows: Sequence[Row], what: str
) -> Generator[Event, None, list[Tensor]]:
    """Σ log π of each response of every row, [K] each, by the model in `folder`."""
    device = resolve_device(config.device)
    model = load_policy(folder, config.dtype, device).requires_grad_(False)
    policy = Policy(model, Trunk.of(model, tokeniser.pad_id, device), None, tokeniser, 1.0)

    def passes(sequences: int) -> Generator[Event, None, list[Tensor]]:
        sums: list[Tensor] = []
        few: list[Row] = []
        for place, row in enumerate(rows):
            few.append(row)
            if sum(len(one.responses) for one in few) >= sequences or place == len(rows) - 1:
                with torch.no_grad():
                    totals = policy.forward(few).logprobs.sum(dim=1).double().cpu()
                sums += totals.split([len(one.responses) for one in few])
                few = []
                yield Progress(
                    stage=f"measuring KL: the {what}", done=place + 1, total=len(rows), unit="prompts"
                )
        return sums

    return (yield from retry_on_out_of_memory(MicroBatchSize(config.batch_sequences, "sequences"), passes))
