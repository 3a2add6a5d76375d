"""Sample K responses to every prompt of the `prompts` table.

Prompts are worked on a few at a time, and each few become one file of responses: a job that is stopped keeps
the files it has, and goes on with the other prompts when it is resumed.  The randomness of a response comes
from the seed, its prompt and its sample index alone: the order of prompts and an interruption change nothing
but the rounding of a differently composed batch.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from engine.jobs.divergence import kl_to_reference
from engine.left_out import LeftOutTexts, check_template, encode_or_leave_out, name_of
from engine.models.catalogue import resolving
from engine.models.device import resolve_device
from engine.models.policy import load_policy
from engine.protocol.configs import GenerateConfig
from engine.protocol.events import Event, Finished, Message, Output, Progress
from engine.protocol.rundir import RunDir
from engine.rollout import Sampled, SampledBatch, Server, response_text, sample_steps, why_not_cpu_decoder
from engine.rollout.server import LOGPROBS_AT
from engine.seeds import seed_of
from engine.tables import RESPONSES, existing_outputs, read_rows, write_output
from engine.text import Tokeniser
from engine.wording import counted

STAGE = "generating"


def run(config: GenerateConfig, directory: RunDir) -> Iterator[Event]:
    """Yield progress and one Output a file.  Raises UsageError when the model or every prompt is unfit."""
    announced, done, number = existing_outputs(directory, "responses", "prompt_id")
    yield from announced
    rows = read_rows(directory.table("prompts"), ["prompt_id", "messages"])
    waiting = [row for row in rows if row["prompt_id"] not in done]
    folder = yield from resolving(directory.model("policy").folder)
    tokeniser = Tokeniser.from_folder(folder)
    fitting, left_out = _tokenise(config, tokeniser, waiting)
    if not fitting and not done:
        raise left_out.nothing_left("import some")
    yield from left_out.messages()
    opened = _elsewhere(config, folder) if config.endpoint else _here(config, folder, fitting)
    source = yield from opened
    total, made = len(fitting) * config.samples, 0
    meter = _Meter()
    prompts_a_file = max(1, config.batch_sequences // config.samples)
    for start in range(0, len(fitting), prompts_a_file):
        few = fitting[start : start + prompts_a_file]
        responses: list[Sampled] = []
        for news in sample_steps(
            source, tokeniser, [row["ids"] for row in few], **_options(config, tokeniser, few)
        ):
            meter.count(news.tokens, isinstance(news, SampledBatch))
            responses.extend(news.responses if isinstance(news, SampledBatch) else [])
            yield _progress(made + len(responses), total, meter)
        yield _write(config, directory, tokeniser, number, few, responses)
        number += 1
        made += len(responses)
        yield _progress(made, total, meter)
    del source  # one model at a time
    kl = (yield from kl_to_reference(config, directory, rows)) if config.kl_to else {}
    yield Finished(
        summary={
            "responses": made + sum(output.rows for output in announced),
            "prompts": len(fitting) + len(done),
            "left_out": len(left_out),
            "tokens": meter.tokens,
            "tokens_per_second": round(meter.rate, 1),
            **kl,
        }
    )


def _here(
    config: GenerateConfig, folder: Path, rows: list[dict[str, Any]]
) -> Generator[Event, None, PreTrainedModel]:
    """The policy in this process."""
    yield Progress(stage="loading model", done=0)
    model = load_policy(folder, config.dtype, resolve_device(config.device))
    model.requires_grad_(False)  # so that its weights are laid out for decoding once
    positions = max((len(row["ids"]) for row in rows), default=0) + config.max_new_tokens
    if model.device.type == "cpu" and (reason := why_not_cpu_decoder(model, positions)) is not None:
        yield Message(level="info", text=f"Tokens are made by transformers, which is slower: {reason}.")
    return model


def _elsewhere(config: GenerateConfig, folder: Path) -> Generator[Event, None, Server]:
    """The policy on the server that the person has named."""
    yield Progress(stage="asking the server", done=0)
    server = Server.connect(config.endpoint, (config.policy, str(folder), folder.name))
    yield Message(level="info", text=f"{config.endpoint} samples, with its model {server.model}.")
    if config.temperature not in LOGPROBS_AT:
        yield Message(
            level="warning",
            text="Responses have no log-probabilities: a server gives those of temperature 1 only.",
        )
    return server


class _Meter:
    """Tokens sampled, and how fast."""

    def __init__(self) -> None:
        self._started, self._earlier, self._batch = time.monotonic(), 0, 0

    def count(self, tokens_of_batch: int, complete: bool) -> None:
        self._batch = tokens_of_batch
        if complete:
            self._earlier, self._batch = self._earlier + tokens_of_batch, 0

    @property
    def tokens(self) -> int:
        return self._earlier + self._batch

    @property
    def rate(self) -> float:
        return self.tokens / max(time.monotonic() - self._started, 1e-9)


def _tokenise(
    config: GenerateConfig, tokeniser: Tokeniser, rows: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], LeftOutTexts]:
    """Rows with their token ids, and the prompts that cannot be used."""
    check_template(tokeniser, config.template)
    fitting, left_out = [], LeftOutTexts()
    limit = tokeniser.max_positions
    for row in rows:
        ids = encode_or_leave_out(tokeniser, row["messages"], config.template, left_out)
        if ids is not None and limit and len(ids) + config.max_new_tokens > limit:
            fault = (
                f"it has {counted(len(ids), 'token')}, which with {config.max_new_tokens} new ones go beyond "
                f"the {limit} positions of the model."
            )
            left_out.add("too long", name_of(row["messages"]), fault)
        elif ids is not None:
            fitting.append({"prompt_id": row["prompt_id"], "ids": ids})
    return fitting, left_out


def _options(config: GenerateConfig, tokeniser: Tokeniser, few: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "samples": config.samples,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "max_new_tokens": config.max_new_tokens,
        "stop_ids": tokeniser.stop_ids,
        "stop_strings": config.stop,
        "seeds": [seed_of(config.seed, row["prompt_id"]) for row in few],
        "batch_sequences": config.batch_sequences,
    }


def _progress(done: int, total: int, meter: _Meter) -> Progress:
    return Progress(
        stage=STAGE, done=done, total=total, unit="responses", rate=meter.rate, rate_unit="tokens/s"
    )


def _write(
    config: GenerateConfig,
    run: RunDir,
    tokeniser: Tokeniser,
    number: int,
    few: list[dict[str, Any]],
    responses: list[Sampled],
) -> Output:
    rows = [
        {
            "prompt_id": few[response.prompt_index]["prompt_id"],
            "sample_index": response.sample_index,
            "text": response_text(tokeniser, response, config.stop),
            "token_ids": response.token_ids,
            "token_logprobs": response.logprobs or None,
            "finish_reason": "stop" if response.stopped else "length",
        }
        for response in responses
    ]
    return write_output(run, run.output_path("responses", number), "responses", RESPONSES, rows)
