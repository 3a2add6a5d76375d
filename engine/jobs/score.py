"""Score the stored responses of the `responses` table with a reward model, in torch.

A file of scores is written every few seconds; a job that is stopped keeps them, and a resumed one skips them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from engine.jobs.scoring import score_batches
from engine.jobs.tables import SCORES, existing_outputs, read_rows, write_output
from engine.models.catalogue import resolving
from engine.models.parts import resolve_device
from engine.models.reward import load_reward_model
from engine.protocol.configs import ScoreConfig
from engine.protocol.events import Event, Finished, Message, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser

SECONDS_A_FILE = 10.0


def run(config: ScoreConfig, run: RunDir) -> Iterator[Event]:
    """Yield progress and Outputs of kind scores; `backend` says in which number format they were computed."""
    announced, done, number = existing_outputs(run, "scores", "response_id")
    yield from announced
    rows = read_rows(run.table("responses"), ["response_id", "messages", "text"])
    waiting = [row for row in rows if row["response_id"] not in done]
    folder = yield from resolving(run.model("reward_model").folder)
    tokeniser = Tokeniser.from_folder(folder)
    yield Progress(stage="loading model", done=0)
    model = load_reward_model(folder, config.dtype, resolve_device(config.device))
    encoded = [
        tokeniser.encode_for_score(row["messages"], row["text"], tokeniser.score_tokens) for row in waiting
    ]
    cut = sum(tokens.was_cut for tokens in encoded)
    if cut:
        yield Message(level="warning", text=_cut_sentence(cut, tokeniser))
    finished, pending, written_at, started = 0, [], time.monotonic(), time.monotonic()
    for batch, scores in score_batches(
        model, [tokens.ids for tokens in encoded], tokeniser.pad_id, config.batch_tokens
    ):
        pending += [_row(waiting[index], score, config) for index, score in zip(batch, scores, strict=True)]
        finished += len(batch)
        if time.monotonic() - written_at > SECONDS_A_FILE or finished == len(waiting):
            yield write_output(run, run.output_path("scores", number), "scores", SCORES, pending)
            number, pending, written_at = number + 1, [], time.monotonic()
        rate = finished / max(time.monotonic() - started, 1e-9)
        yield Progress(
            stage="scoring",
            done=finished,
            total=len(waiting),
            unit="responses",
            rate=rate,
            rate_unit="responses/s",
        )
    yield Finished(
        summary={"responses": finished + len(done), "cut": cut, "backend": f"torch-{config.dtype}"}
    )


def _row(row: dict[str, Any], score: float, config: ScoreConfig) -> dict[str, Any]:
    return {"response_id": row["response_id"], "score": score, "backend": f"torch-{config.dtype}"}


def _cut_sentence(cut: int, tokeniser: Tokeniser) -> str:
    return f"{cut} responses with their prompts are longer than {tokeniser.score_tokens} tokens and were cut."
