"""Sample K responses to every prompt from an OpenAI-compatible endpoint: words alone, no tokens.  Torch-free.

Prompts whose responses are all there become a file every few seconds; a job that is stopped keeps the files
it has, and what else was answered is in the cache of answers.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any

from engine.endpoints.asking import Asking, Reply
from engine.endpoints.cache import FILE, AnswerCache
from engine.endpoints.chat import PATH, ChatCompletion, cost_of, read_completion, request
from engine.endpoints.client import EndpointClient, Refusals
from engine.left_out import LeftOutTexts, name_of
from engine.protocol.configs import GenerateConfig
from engine.protocol.events import Event, Finished, Message, Progress
from engine.protocol.rundir import RunDir
from engine.seeds import seed_of
from engine.tables import RESPONSES, existing_outputs, read_rows, write_output

SECONDS_A_FILE = 10.0


def run(config: GenerateConfig, directory: RunDir) -> Iterator[Event]:
    """Yield progress and one Output a file.  Raises EndpointError, UsageError if every prompt is refused."""
    announced, done, number = existing_outputs(directory, "responses", "prompt_id")
    yield from announced
    rows = read_rows(directory.table("prompts"), ["prompt_id", "messages"])
    sampling = _Sampling(config, directory, [row for row in rows if row["prompt_id"] not in done])
    yield Message(level="info", text=f"{config.endpoint} is asked, for its model {config.policy}.")
    written_at, made, pending = time.monotonic(), 0, list[dict[str, Any]]()
    for came in sampling.everything():
        if isinstance(came, Message | Progress):
            yield came
        else:
            pending += came
        if pending and time.monotonic() - written_at > SECONDS_A_FILE:
            path = directory.output_path("responses", number)
            yield write_output(directory, path, "responses", RESPONSES, pending)
            made, number, pending, written_at = made + len(pending), number + 1, [], time.monotonic()
    if pending:
        path = directory.output_path("responses", number)
        yield write_output(directory, path, "responses", RESPONSES, pending)
        made += len(pending)
    yield from sampling.left_out.messages()
    if not made and not done:
        raise sampling.left_out.nothing_left("import some")
    yield Finished(
        summary={
            "responses": made + sum(output.rows for output in announced),
            "prompts": made // config.samples + len(done),
            "left_out": len(sampling.left_out),
            "tokens": sampling.tokens,
            "cost": round(sampling.spent, 6),
            "from_cache": sampling.cached,
        }
    )


class _Sampling:
    """The requests of a job, K for each prompt, and what has come of them."""

    def __init__(self, config: GenerateConfig, directory: RunDir, rows: list[dict[str, Any]]) -> None:
        self._config, self._rows, self._added = config, rows, config.added()
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()
        client = EndpointClient(config.endpoint, config, on_wait=self._news.put)
        self._asking = Asking(client, AnswerCache(directory.path.parent / FILE), PATH, config.at_once)
        self.left_out = LeftOutTexts()
        self.tokens, self.cached, self.spent = 0, 0, 0.0

    def everything(self) -> Iterator[list[dict[str, Any]] | Message | Progress]:
        """`prompts`, and then the connections are let go."""
        try:
            yield from self.prompts()
        finally:
            self._asking.close()

    def prompts(self) -> Iterator[list[dict[str, Any]] | Message | Progress]:
        """The rows of each prompt as soon as all its responses are there, and what is said meanwhile."""
        samples, total = self._config.samples, len(self._rows) * self._config.samples
        texts: dict[int, dict[int, ChatCompletion]] = {}
        failed: set[int] = set()
        refusals = Refusals()
        answered, finished, started = set[int](), 0, time.monotonic()
        for reply in self._asking.replies(total, self._body, self._affordable):
            while not self._news.empty():
                yield Message(level="warning", text=self._news.get())
            if reply is not None:
                prompt, sample = divmod(reply.place, samples)
                answered.add(reply.place)
                finished += 1
                refusals.count(reply.refused)
                if reply.refused is not None:
                    self._leave_out(prompt, failed, "refused by the endpoint", f"{reply.refused}.")
                else:
                    texts.setdefault(prompt, {})[sample] = self._taken(reply)
                if len(texts.get(prompt, {})) == samples:
                    yield self._made(prompt, texts.pop(prompt))
            rate = self.tokens / max(time.monotonic() - started, 1e-9)
            yield Progress(
                stage="generating",
                done=finished,
                total=total,
                unit="responses",
                rate=rate,
                rate_unit="tokens/s",
            )
        for place in sorted(set(range(total)) - answered):
            why = f"the budget of {self._config.budget:g} is spent."
            self._leave_out(place // samples, failed, "beyond the budget", why)

    def _affordable(self) -> bool:
        return not self._config.budget or self.spent < self._config.budget

    def _leave_out(self, prompt: int, failed: set[int], kind: str, why: str) -> None:
        if prompt not in failed:
            failed.add(prompt)
            self.left_out.add(kind, name_of(self._rows[prompt]["messages"]), why)

    def _body(self, place: int) -> dict[str, Any]:
        config = self._config
        prompt, sample = divmod(place, config.samples)
        row = self._rows[prompt]
        messages = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
        return request(
            config.policy,
            messages,
            self._added,
            temperature=config.temperature,
            top_p=config.top_p,
            max_tokens=config.max_new_tokens,
            stop=list(config.stop) or None,
            seed=(seed_of(config.seed, row["prompt_id"]) + sample) % 2**31,
        )

    def _taken(self, reply: Reply) -> ChatCompletion:
        config = self._config
        completion = read_completion(reply.content, config.endpoint)
        self.cached += reply.cached
        if completion.usage is not None:
            self.tokens += completion.usage.completion_tokens
        if not reply.cached:
            self.spent += cost_of(completion.usage, config.price_in, config.price_out) or 0.0
            self._asking.keep(self._body(reply.place), reply.content)
        return completion

    def _made(self, prompt: int, completions: dict[int, ChatCompletion]) -> list[dict[str, Any]]:
        return [
            {
                "prompt_id": self._rows[prompt]["prompt_id"],
                "sample_index": sample,
                "text": completions[sample].text,
                "token_ids": None,
                "token_logprobs": None,
                "finish_reason": completions[sample].choices[0].finish_reason,
            }
            for sample in sorted(completions)
        ]
