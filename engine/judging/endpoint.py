"""An OpenAI-compatible endpoint as a judge.  Torch-free."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from engine.endpoints.asking import Asking, Reply
from engine.endpoints.cache import AnswerCache
from engine.endpoints.chat import PATH, cost_of, read_completion, request
from engine.endpoints.client import EndpointClient, Refusals
from engine.errors import EndpointError
from engine.judging.question import Answered, JudgeAnswer, Question, Unanswered
from engine.judging.words import read_answer
from engine.protocol.configs import JudgeConfig
from engine.protocol.configs.reward_judge import RewardJudgeConfig
from engine.protocol.events import Message
from engine.protocol.rubric import Rubric

LIKELIEST = 20  # tokens whose log-probabilities are asked for: the most that OpenAI and vLLM give
NO_MORE = "beyond the budget"


class EndpointJudge:
    """A model at an endpoint, asked for the likeliest verdict with its log-probabilities.

    A server that gives none is asked for words alone, and so is one that is to give its reasons.  `spent` is
    what the run has cost so far; `on_cost` hears of each answer that costs.  lasting: it is asked again and
    again until `close`, and a question that the endpoint never answers, or not as it should, has no answer
    where others have one.
    """

    def __init__(
        self,
        config: JudgeConfig | RewardJudgeConfig,
        rubric: Rubric,
        cache: AnswerCache,
        spent: float = 0.0,
        *,
        lasting: bool = False,
        on_cost: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._on_cost = on_cost
        self._config, self._rubric, self.spent = config, rubric, spent
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._client = EndpointClient(config.endpoint, config, on_wait=self._news.put)
        self._asking = Asking(self._client, cache, PATH, config.at_once, tolerant=lasting)
        self._refusals = Refusals()
        self._added = config.added()
        self._logprobs, self._lasting = "logprobs" not in self._added, lasting

    def answers(self, questions: Sequence[Question]) -> Iterator[Answered]:
        """As they come.  Raises EndpointError when it cannot be asked, or refuses everything."""
        left: list[int] = list(range(len(questions)))
        try:
            while left:
                again: list[int] = []
                yield from self._round(questions, left, again)
                left = again
        finally:
            if not self._lasting:
                self.close()

    def close(self) -> None:
        """Ask nothing more."""
        self._asking.close()

    def _round(
        self, questions: Sequence[Question], places: Sequence[int], again: list[int]
    ) -> Iterator[Answered]:
        """Ask the questions of some places; those that are to be asked anew are added to `again`."""
        bodies: dict[int, dict[str, Any]] = {}
        answered: set[int] = set()

        def body(number: int) -> dict[str, Any]:
            bodies[number] = self._body(questions[places[number]])
            return bodies[number]

        for reply in self._asking.replies(len(places), body, self._affordable):
            while not self._news.empty():
                yield Message(level="warning", text=self._news.get())
            if reply is None:
                yield None
                continue
            answered.add(reply.place)
            asked = bodies.pop(reply.place)
            if reply.refused is not None and "logprobs" in asked and "logprob" in reply.refused.said.lower():
                again.append(places[reply.place])
                if self._logprobs:
                    self._logprobs = False
                    text = f"{self._config.endpoint} gives no log-probabilities; its words alone count."
                    yield Message(level="info", text=text)
            else:
                self._refusals.count(reply.refused)
                question = questions[places[reply.place]]
                yield places[reply.place], self._read(reply, asked, question)
        for number in set(range(len(places))) - answered:
            yield places[number], Unanswered(NO_MORE, f"the budget of {self._config.budget:g} is spent.")

    def _affordable(self) -> bool:
        return not self._config.budget or self.spent < self._config.budget

    def _body(self, question: Question) -> dict[str, Any]:
        config = self._config
        tokens = config.max_new_tokens if isinstance(config, JudgeConfig) else config.answer_tokens
        settings: dict[str, Any] = {"temperature": 0, "max_tokens": tokens}
        if self._logprobs and not question.reasons:
            settings |= {"logprobs": True, "top_logprobs": LIKELIEST}
        return request(self._config.policy, question.asked(self._rubric), self._added, **settings)

    def _read(self, reply: Reply, asked: dict[str, Any], question: Question) -> JudgeAnswer | Unanswered:
        if reply.failed is not None:
            return Unanswered("not answered by the endpoint", str(reply.failed))
        if reply.refused is not None:
            return Unanswered("refused by the endpoint", f"{reply.refused}.")
        try:
            completion = read_completion(reply.content, self._config.endpoint)
        except EndpointError as error:
            if self._lasting:
                return Unanswered("not answered by the endpoint", str(error))
            raise
        cost = cost_of(completion.usage, self._config.price_in, self._config.price_out)
        if not reply.cached and cost:
            self.spent += cost
            self._on_cost(cost)
        answer = read_answer(completion, self._rubric, question)
        if answer is None:
            shown = "".join(c for c in completion.text[:200] if c.isprintable())
            cut = completion.choices[0].finish_reason == "length"
            why = f"it answered “{shown}”" + (", cut by max_new_tokens." if cut else ".")
            return Unanswered("without a verdict", why)
        if not reply.cached:
            self._asking.keep(asked, reply.content)
        usage = completion.usage
        return replace(
            answer,
            text=completion.text,
            tokens_in=None if usage is None else usage.prompt_tokens,
            tokens_out=None if usage is None else usage.completion_tokens,
            cost=0.0 if reply.cached else cost,
            seconds=reply.seconds,
            cached=reply.cached,
        )
