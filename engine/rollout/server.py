"""Sampling from a server that speaks vLLM's completions protocol: the same weights, elsewhere.

A server that batches continuously makes many responses at once faster than this process can, and one with
more memory holds larger models.  Its packages rarely go with ours in one environment, so it is not imported
but asked over HTTP, and only where the person has named it.  Prompts go there as token ids and responses come
back as such, with the log-probability of each: nothing is rendered or split into tokens twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.endpoints.http import HttpClient, LongAnswerError, NoAnswerError, error_words, plainly
from engine.errors import EndpointError, NonFiniteError, UsageError
from engine.rollout.records import Decoded, Sampled, SampledBatch, SamplingSettings
from engine.text import Tokeniser
from engine.wording import counted

KEY = "WORKBENCH_API_KEY"
"""The environment variable with the server's key, if it wants one; it is never written down."""

WHOLE_DISTRIBUTION = {
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What a server would else take from the model's generation_config.json; sampling here knows none of it."""

LOGPROBS_AT = (0.0, 1.0)
"""Temperatures at which a server's log-probabilities mean what ours do (`sample_tokens`)."""

ANSWER_WITHIN = 600.0  # seconds, for all samples of a prompt
LONGEST_ANSWER = 256 * 2**20  # bytes; 64 samples of 4,096 tokens are 16 MB
LOOK_EVERY = 0.5  # seconds between two looks at what has come, and whether the job was stopped


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class _Logprobs(msgspec.Struct):
    token_logprobs: list[float | None]


class _Choice(msgspec.Struct):
    index: int
    token_ids: list[int]
    logprobs: _Logprobs
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None


class _TokenLogprob(msgspec.Struct):
    logprob: float


class _Read(msgspec.Struct):
    prompt_logprobs: list[dict[str, _TokenLogprob] | None]


class _Reading(msgspec.Struct):
    choices: list[_Read]
    model: str | None = None


T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """A server, and the name under which it has the policy."""

    endpoint: str  # as http://localhost:8000/v1
    model: str
    positions: int | None  # longest prompt and response together
    processed: bool = False
    """Whether its log-probabilities are those of the temperature (`--logprobs-mode processed_logprobs`)."""
    vocabulary: int = 0
    """Rows of the policy's output matrix, where they are known; else the tokeniser's tokens count."""
    others: tuple[str, ...] = ()
    """Further addresses of servers with the same model, which share the prompts."""

    @classmethod
    def connect(cls, endpoint: str, names: Sequence[str]) -> Server:
        """Ask what it serves: a model of one of these names, or the only one there is.

        endpoint: one address, or several with commas between that have a model of one name.
        Raises UsageError when none of its models is meant; EndpointError.
        """
        first, *rest = (cls._connected(address, names) for address in addresses_of(endpoint))
        for other in rest:
            if other.model != first.model:
                raise UsageError(
                    f"{first.endpoint} serves {plainly(first.model)} and {other.endpoint} "
                    f"{plainly(other.model)}; replicas have one model under one name."
                )
        limits = [one.positions for one in (first, *rest) if one.positions is not None]
        others = tuple(other.endpoint for other in rest)
        return replace(first, positions=min(limits, default=None), others=others)

    @classmethod
    def _connected(cls, endpoint: str, names: Sequence[str]) -> Server:
        served = _asked(endpoint, "/models", _Models).data
        meant = [model for model in served if model.id in names]
        chosen = meant[0] if meant else served[0] if len(served) == 1 else None
        if chosen is None:
            listed = ", ".join(plainly(model.id) for model in served) or "nothing"
            raise UsageError(f"{endpoint} serves {listed}; none of them is called {names[0]}.")
        return cls(endpoint, chosen.id, chosen.max_model_len)

    def batches(
        self,
        tokeniser: Tokeniser,
        prompts: Sequence[list[int]],
        seeds: Sequence[int],
        settings: SamplingSettings,
    ) -> Iterator[SampledBatch | Decoded]:
        """Sampling there, `batch_sequences` asked for at once; `engine.rollout.sample_steps` calls this.

        A server gives the log-probabilities of temperature 1; for other temperatures, greedy excepted, the
        responses have none.  Raises EndpointError, NonFiniteError.
        """
        samples, temperature = settings.samples, settings.temperature
        asked: dict[str, Any] = {
            "model": self.model,
            "n": samples if temperature else 1,  # greedy responses are alike
            "temperature": temperature,
            "top_p": settings.top_p,
            **WHOLE_DISTRIBUTION,
            "max_tokens": settings.max_new_tokens,
            "stop_token_ids": sorted(settings.stop_ids),
            "ignore_eos": True,  # the stop tokens say all
            "stop": settings.stop_strings,
            "logprobs": 0,  # of the sampled tokens alone
            "return_token_ids": True,
        }
        known = self.processed or temperature in LOGPROBS_AT
        together = max(1, settings.batch_sequences // samples)
        for start in range(0, len(prompts), together):
            part = range(start, min(start + together, len(prompts)))
            bodies = [asked | {"prompt": prompts[i], "seed": seeds[i] % 2**63} for i in part]
            answers: dict[int, list[Sampled]] = {}
            for place, completion in _all([self.endpoint, *self.others], bodies):
                if completion is not None:
                    self._check_name(completion.model)
                    index = part[place]
                    limit = self.vocabulary or tokeniser.vocab_size
                    samples_of_prompt = _sampled(completion, index, asked["n"], limit, known)
                    answers[index] = [
                        replace(samples_of_prompt[k % len(samples_of_prompt)], sample_index=k)
                        for k in range(samples)
                    ]
                tokens = sum(len(r.token_ids) for responses in answers.values() for r in responses)
                yield Decoded((len(part) - len(answers)) * samples, tokens)
            done = [response for index in part for response in answers[index]]
            yield SampledBatch(done, sum(len(response.token_ids) for response in done))

    def logprobs(self, tokens: Sequence[int]) -> list[float]:
        """Log-probability of each token but the first, given those before, in nats.  Raises EndpointError."""
        body = {
            "model": self.model, "prompt": list(tokens), "max_tokens": 1, "temperature": 0.0,
            "prompt_logprobs": 0,
        }  # fmt: skip
        reading = _asked(self.endpoint, "/completions", _Reading, body)
        self._check_name(reading.model)
        by_position = reading.choices[0].prompt_logprobs if reading.choices else []
        try:
            return [
                (each or {})[str(token)].logprob
                for token, each in zip(tokens[1:], by_position[1:], strict=True)
            ]
        except (KeyError, ValueError):
            raise EndpointError(
                f"{self.endpoint} does not give the log-probabilities of the tokens it is asked for."
            ) from None

    def _check_name(self, answered: str | None) -> None:
        """That the model which was asked for has answered, where the server says which did."""
        if answered is not None and answered != self.model:
            raise EndpointError(
                f"{self.endpoint} was asked for {self.model} and answered as {plainly(answered)}."
            )

    def each(self) -> list[Server]:
        """Every replica by itself."""
        return [replace(self, endpoint=one, others=()) for one in (self.endpoint, *self.others)]

    def load_adapter(self, name: str, folder: Path) -> None:
        """Have adapters in peft's layout loaded under a name, by every replica or by none.

        Raises EndpointError when one will not.
        """
        have: list[Server] = []
        try:
            for one in self.each():
                one._tell("/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
                have.append(one)
        except EndpointError:
            for one in have:
                with suppress(EndpointError):
                    one.unload_adapter(name)
            raise

    def unload_adapter(self, name: str) -> None:
        """Have them forgotten by all.  Raises EndpointError, after every replica was told."""
        errors: list[EndpointError] = []
        for one in self.each():
            try:
                one._tell("/unload_lora_adapter", {"lora_name": name})
            except EndpointError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _tell(self, path: str, body: dict[str, Any]) -> None:
        try:
            with closing(_client(self.endpoint)) as client:
                _content(client, path, body)
        except EndpointError as error:
            raise EndpointError(
                f"{error} Adapters are loaded while it runs by a server on this machine started with "
                "--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
            ) from error


def addresses_of(endpoint: str) -> list[str]:
    """The addresses in what a person wrote, with commas between several."""
    return [part.strip() for part in endpoint.split(",")]


def _sampled(
    completion: _Completion, prompt_index: int, samples: int, vocabulary: int, known: bool
) -> list[Sampled]:
    """The responses of an answer, in order.  Raises EndpointError when they are not what was asked for."""
    choices = sorted(completion.choices, key=lambda choice: choice.index)
    if [choice.index for choice in choices] != list(range(samples)):
        raise EndpointError(f"The server gave {len(choices)} responses to a prompt instead of {samples}.")
    responses = []
    for choice in choices:
        logprobs = choice.logprobs.token_logprobs
        if not choice.token_ids or len(logprobs) != len(choice.token_ids):
            raise EndpointError(
                f"The server gave {len(logprobs)} log-probabilities for "
                f"{counted(len(choice.token_ids), 'token')}."
            )
        if not all(0 <= token < vocabulary for token in choice.token_ids):
            raise EndpointError(
                "The server gave a token that the policy does not have; it serves another model."
            )
        if not all(logprob is not None and isfinite(logprob) for logprob in logprobs):
            raise NonFiniteError("The server gave a log-probability that is not finite.")
        token_logprobs = [float(logprob) for logprob in logprobs if logprob is not None] if known else []
        stopped = choice.finish_reason == "stop"
        responses.append(Sampled(prompt_index, choice.index, choice.token_ids, token_logprobs, stopped))
    return responses


def _client(endpoint: str, at_once: int = 1) -> HttpClient:
    return HttpClient(endpoint, KEY, within=ANSWER_WITHIN, most=LONGEST_ANSWER, at_once=at_once)


def _content(client: HttpClient, path: str, body: Mapping[str, Any] | None) -> bytes:
    """The answer as it comes.  Raises EndpointError with what went wrong and what may help."""
    try:
        answer = client.request(path, body)
    except NoAnswerError as error:
        raise EndpointError(
            f"{error}. Start the server, as with vllm serve, or leave the endpoint empty to sample here."
        ) from error
    except LongAnswerError as error:
        raise EndpointError(
            f"{client.endpoint} answers with more than {LONGEST_ANSWER // 2**20} MB; it is not a vLLM "
            "server, or samples × max_new_tokens is too much for one prompt."
        ) from error
    if answer.status != 200:
        raise EndpointError(f"{client.endpoint} answered {answer.status}: {error_words(answer.content)}")
    return answer.content


def _read(client: HttpClient, path: str, kind: type[T], body: Mapping[str, Any] | None) -> T:
    """The answer read as `kind`.  Raises EndpointError, also for one that is none."""
    try:
        return msgspec.json.decode(_content(client, path, body), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EndpointError(
            f"{client.endpoint} does not answer as vLLM does, with token ids and log-probabilities: "
            f"{plainly(str(error))}."
        ) from error


def _asked(endpoint: str, path: str, kind: type[T], body: Mapping[str, Any] | None = None) -> T:
    """One request by itself."""
    with closing(_client(endpoint)) as client:
        return _read(client, path, kind, body)


def _all(
    endpoints: Sequence[str], bodies: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[int, _Completion | None]]:
    """Completions with the places of their bodies, as they come; (−1, None) now and then while none does.

    Whoever stops listening stops the servers too: a connection that ends ends what is made for it.
    """
    clients = [_client(endpoint, at_once=len(bodies)) for endpoint in endpoints]
    pool = ThreadPoolExecutor(len(bodies))
    waiting: dict[Future[_Completion], int] = {
        pool.submit(_read, clients[place % len(clients)], "/completions", _Completion, body): place
        for place, body in enumerate(bodies)
    }
    try:
        while waiting:
            done, _ = wait(waiting, LOOK_EVERY, FIRST_COMPLETED)
            if not done:
                yield -1, None
            for future in done:
                yield waiting.pop(future), future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for client in clients:
            client.close()
