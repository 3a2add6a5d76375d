"""Score the stored responses of the `responses` table with a reward model of any make, in torch.

A file of scores is written every few seconds; a job that is stopped keeps them, and a resumed one skips them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from engine.errors import UsageError
from engine.left_out import REFUSED, LeftOutTexts, cut_words, encode_or_leave_out, name_of
from engine.models.catalogue import resolving
from engine.models.device import resolve_device
from engine.models.reward_model import load_reward_model
from engine.protocol.configs import ScoreConfig
from engine.protocol.events import Event, Finished, Message, Progress
from engine.protocol.rundir import RunDir
from engine.tables import SCORES, existing_outputs, read_rows, score_rows, write_output
from engine.text import ScoreTokens, Tokeniser

SECONDS_A_FILE = 10.0


def run(config: ScoreConfig, directory: RunDir) -> Iterator[Event]:
    """Yield progress and Outputs of kind scores, a row for each criterion of the reward model.

    `backend` says in which number format they were computed, `uncertainty` how far an ensemble of heads
    disagrees.
    """
    announced, done, number = existing_outputs(directory, "scores", "response_id")
    yield from announced
    rows = read_rows(directory.table("responses"), ["response_id", "messages", "text"])
    waiting = [row for row in rows if row["response_id"] not in done]
    folder = yield from resolving(directory.model("reward_model").folder)
    yield Progress(stage="loading model", done=0)
    reward_model = load_reward_model(folder, config.dtype, resolve_device(config.device))
    waiting, encoded, left_out = _encoded(waiting, reward_model.tokeniser)
    if not encoded and not done:
        raise left_out.nothing_left("generate or import some first")
    yield from left_out.messages()
    cut = sum(tokens.was_cut for tokens in encoded)
    if cut:
        yield Message(level="warning", text=cut_words(cut, reward_model.tokeniser.score_tokens))
    pending: list[dict[str, Any]] = []
    finished, written_at, started = 0, time.monotonic(), time.monotonic()
    pairs = [(tokens.prompt, tokens.response) for tokens in encoded]
    for places, scores_n_C, members in reward_model.measured(pairs, config.batch_tokens):
        some = [(waiting[place]["response_id"], encoded[place].was_cut) for place in places]
        spread_n_C = None if members is None else members.std(dim=0, unbiased=False)
        pending += score_rows(some, scores_n_C, spread_n_C, reward_model.criteria, f"torch-{config.dtype}")
        finished += len(places)
        if time.monotonic() - written_at > SECONDS_A_FILE or finished == len(waiting):
            yield write_output(directory, directory.output_path("scores", number), "scores", SCORES, pending)
            number, pending, written_at = number + 1, [], time.monotonic()
        yield Progress(
            stage="scoring",
            done=finished,
            total=len(waiting),
            unit="responses",
            rate=finished / max(time.monotonic() - started, 1e-9),
            rate_unit="responses/s",
        )
    yield Finished(
        summary={
            "responses": finished + len(done),
            "cut": cut,
            "prompts_left_out": len(left_out),
            "backend": f"torch-{config.dtype}",
        }
    )


def _encoded(
    rows: list[dict[str, Any]], tokeniser: Tokeniser
) -> tuple[list[dict[str, Any]], list[ScoreTokens], LeftOutTexts]:
    """The rows whose prompt can be encoded, what is read of each, and the prompts of the others."""
    left_out = LeftOutTexts()
    prompts: dict[str, list[int] | None] = {}
    usable, encoded = [], []
    for row in rows:
        key = json.dumps(row["messages"])
        if key not in prompts:
            prompts[key] = encode_or_leave_out(tokeniser, row["messages"], None, left_out)
        if (prompt := prompts[key]) is not None:
            try:
                tokens = _tokens(tokeniser, row, prompt)
            except UsageError as error:
                left_out.add(REFUSED, name_of(row["messages"]), str(error))
                continue
            usable.append(row)
            encoded.append(tokens)
    return usable, encoded, left_out


def _tokens(tokeniser: Tokeniser, row: dict[str, Any], prompt: list[int]) -> ScoreTokens:
    limit = tokeniser.score_tokens
    if not tokeniser.reads_tokens:
        return tokeniser.encode_for_score(row["messages"], row["text"], limit)
    return tokeniser.join_for_score(prompt, tokeniser.encode_response(row["text"]), limit)
