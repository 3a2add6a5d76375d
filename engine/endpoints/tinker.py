"""A server that trains and samples a policy with adapters, asked over the Tinker API; a prototype.

The calls are those that Thinking Machines' service and SkyRL's `tx` answer under `/api/v1`.  Most give a
number at once, under which the result is fetched when it is there (`retrieve_future`).  Prompts and responses
go as token ids.  Losses are sums over tokens: what they are divided by is in the advantages.  Torch-free.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import msgspec

from engine.endpoints.http import HttpAnswer, HttpClient, NoAnswerError, error_words, plainly
from engine.errors import EndpointError, UsageError
from engine.wording import counted

KEY = "WORKBENCH_API_KEY"
KEY_HEADER = "X-API-Key"
ANSWER_WITHIN = 600.0
"""Seconds for one answer; a result that takes longer is asked for again."""
LONGEST_ANSWER = 256 * 2**20
RESULT_WITHIN = 3600.0
"""Seconds in which a result must be there."""
PAUSE = 0.05
"""Seconds between two questions for a result that a server does not wait for itself."""
STILL_WORKING = 408
Json = dict[str, Any]


@dataclass(frozen=True)
class LossExample:
    """One response that is learned from; as many numbers as it has tokens."""

    prompt: Sequence[int]
    response: Sequence[int]
    logprobs: Sequence[float]  # of the policy that sampled
    advantages: Sequence[float]  # each over what its loss is divided by

    def as_json(self) -> Json:
        """A `Datum`: tokens read and predicted, and what the loss compares them to; 0 in the prompt."""
        tokens = [*self.prompt, *self.response]
        blank = [0.0] * (len(self.prompt) - 1)
        return {
            "model_input": _tokens(tokens[:-1]),
            "loss_fn_inputs": {
                "target_tokens": _array(tokens[1:], "int64"),
                "logprobs": _array([*blank, *self.logprobs], "float32"),
                "advantages": _array([*blank, *self.advantages], "float32"),
            },
        }


@dataclass(frozen=True)
class Drawn:
    """One sample: its tokens, the log-probability of each, and whether it stopped by itself."""

    tokens: list[int]
    logprobs: list[float]
    stopped: bool


class _Capabilities(msgspec.Struct):
    supported_models: list[dict[str, Any]]


class _Sequence(msgspec.Struct):
    tokens: list[int]
    stop_reason: str
    logprobs: list[float] | None = None


class _Samples(msgspec.Struct):
    sequences: list[_Sequence]
    prompt_logprobs: list[float | None] | None = None


class _Array(msgspec.Struct):
    data: list[float]


class _LossOutput(msgspec.Struct):
    logprobs: _Array


class _Losses(msgspec.Struct):
    loss_fn_outputs: list[_LossOutput]


@dataclass
class TrainingServer:
    """One policy in training on a server, and the model that it started from."""

    http: HttpClient
    base: str  # as the server calls it
    model: str = ""
    weights: str = ""  # what is sampled from; empty is the base model
    _asked: int = field(default=0)

    @classmethod
    def training(cls, endpoint: str, names: Sequence[str], rank: int, seed: int) -> TrainingServer:
        """A new policy with adapters of this rank on the server's model of one of these names.

        endpoint: as http://localhost:8000, without `/api/v1`.
        Raises UsageError where the server has no such model; EndpointError.
        """
        address = endpoint.rstrip("/") + "/api/v1"
        http = HttpClient(address, KEY, within=ANSWER_WITHIN, most=LONGEST_ANSWER, key_header=KEY_HEADER)
        server = cls(http, "")
        server.base = server._known(names)
        session = server._answer("/create_session", {"tags": [], "user_metadata": None, "sdk_version": "0"})
        body = {
            "session_id": session.get("session_id", ""), "model_seq_id": 0, "base_model": server.base,
            "lora_config": {"rank": rank, "seed": seed, "train_unembed": False},
        }  # fmt: skip
        accepted = server._answer("/create_model", body)
        server.model = _text(accepted | server._result(accepted), "model_id")
        return server

    def _known(self, names: Sequence[str]) -> str:
        told = self._answer("/get_server_capabilities", None)
        has = [str(one.get("model_name")) for one in _read(told, _Capabilities).supported_models]
        for name in names:
            if name in has:
                return name
        shown = ", ".join(plainly(name) for name in has[:5]) or "none"
        raise UsageError(
            f"{self.http.endpoint} does not train {names[0]}; it has {shown}. Start it with the policy of "
            "this run, or name one of its models as policy."
        )

    # The four primitives

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        longest: int,
        stop: Sequence[int],
        seeds: Sequence[int],
    ) -> list[list[Drawn]]:
        """Samples of each prompt at temperature 1 from `weights`.  Raises EndpointError."""
        settings = {"max_tokens": longest, "stop": list(stop), "temperature": 1.0, "top_p": 1.0, "top_k": -1}
        of = {"model_path": self.weights} if self.weights else {"base_model": self.base}
        asked = [
            self._ask_sample(tokens, samples, settings | {"seed": seed % 2**31}, **of)
            for tokens, seed in zip(prompts, seeds, strict=True)
        ]
        return [self._drawn(self._result(one), samples) for one in asked]

    def _drawn(self, result: Json, samples: int) -> list[Drawn]:
        read = _read(result, _Samples).sequences
        whole = all(one.tokens and _numbers(one.logprobs or [], len(one.tokens)) for one in read)
        if len(read) != samples or not whole:
            raise EndpointError(
                f"{self.http.endpoint} gives fewer than {counted(samples, 'sample')} with log-probabilities."
            )
        return [Drawn(one.tokens, one.logprobs, one.stop_reason == "stop") for one in read]

    def base_logprobs(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """log π of the base model of each response's tokens.  Raises EndpointError."""
        settings, of = {"max_tokens": 1, "temperature": 1.0}, {"base_model": self.base}
        asked = [
            self._ask_sample([*prompt, *response], 1, settings, prompt_logprobs=True, **of)
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        found = []
        for one, response in zip(asked, responses, strict=True):
            read = (_read(self._result(one), _Samples).prompt_logprobs or [])[-len(response) :]
            if not _numbers(read, len(response)):
                raise EndpointError(f"{self.http.endpoint} gives no log-probabilities of a prompt.")
            found.append(read)
        return found

    def _ask_sample(self, tokens: Sequence[int], samples: int, settings: Json, **more: Any) -> Json:
        body = {"num_samples": samples, "prompt": _tokens(tokens), "sampling_params": settings}
        return self._answer("/asample", {**body, **more})

    def forward_backward(
        self, examples: Sequence[LossExample], loss: str, settings: Mapping[str, float] | None = None
    ) -> list[list[float]]:
        """Add up the gradients of a named loss; log π of each response's tokens as the policy now is.

        loss: `importance_sampling`, or `ppo` with settings `clip_low_threshold`, `clip_high_threshold`.
        """
        asked = {
            "data": [one.as_json() for one in examples],
            "loss_fn": loss,
            "loss_fn_config": dict(settings or {}),
        }
        result = self._train("/forward_backward", {"forward_backward_input": asked})
        read = _read(result, _Losses).loss_fn_outputs
        if len(read) != len(examples):
            raise EndpointError(
                f"{self.http.endpoint} answers for {len(read)} of {counted(len(examples), 'response')}."
            )
        found = [out.logprobs.data[-len(one.response) :] for out, one in zip(read, examples, strict=True)]
        return found

    def optim_step(self, learning_rate: float, eps: float, most_norm: float) -> None:
        """One step of Adam with the gradients that were added up, which are dropped."""
        adam = {
            "learning_rate": learning_rate, "beta1": 0.9, "beta2": 0.999, "eps": eps, "weight_decay": 0.0,
            "grad_clip_norm": most_norm,
        }  # fmt: skip
        self._train("/optim_step", {"adam_params": adam})

    def use_weights(self, name: str) -> None:
        """Keep the weights under a name never used before; `sample` asks for them from then on."""
        self.weights = _text(self._train("/save_weights_for_sampler", {"path": name}), "path")

    def save(self, name: str) -> str:
        """Keep weights and optimiser; the path by which `load` finds them."""
        return _text(self._train("/save_weights", {"path": name}), "path")

    def load(self, path: str) -> None:
        """Go on from what was saved."""
        self._train("/load_weights", {"path": path, "optimizer": True})

    # Questions and answers

    def _train(self, path: str, body: Json) -> Json:
        self._asked += 1
        return self._result(self._answer(path, {"model_id": self.model, "seq_id": self._asked, **body}))

    def _result(self, accepted: Json) -> Json:
        """What comes of a request that was accepted, when it has come."""
        number, until = _text(accepted, "request_id"), time.monotonic() + RESULT_WITHIN
        while time.monotonic() < until:
            result = self._answer("/retrieve_future", {"request_id": number}, waits=True)
            if "error" in result:
                raise EndpointError(f"{self.http.endpoint}: {plainly(str(result['error']))}.")
            if result.get("type") != "try_again":
                return result
            time.sleep(PAUSE)
        raise NoAnswerError(f"{self.http.endpoint} has not finished within an hour.")

    def _answer(self, path: str, body: Json | None, *, waits: bool = False) -> Json:
        answer: HttpAnswer = self.http.request(path, body)
        if waits and answer.status == STILL_WORKING:
            return {"type": "try_again"}
        if answer.status != 200:
            words = error_words(answer.content)
            raise EndpointError(f"{self.http.endpoint} refuses {path} ({answer.status}): {words}.")
        try:
            return msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise EndpointError(f"{self.http.endpoint} answers {path} with no JSON object.") from error


def _tokens(tokens: Sequence[int]) -> Json:
    return {"chunks": [{"type": "encoded_text", "tokens": list(tokens)}]}


def _array(values: Sequence[float], dtype: str) -> Json:
    return {"data": list(values), "dtype": dtype, "shape": [len(values)]}


def _numbers(values: Sequence[float | None], count: int) -> bool:
    return len(values) == count and all(value is not None and isfinite(value) for value in values)


def _text(result: Json, name: str) -> str:
    value = result.get(name)
    if not isinstance(value, str | int) or not str(value).isprintable() or len(str(value)) > 1000:
        raise EndpointError(f"The server's answer lacks {name}.")
    return str(value)


def _read(result: Json, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(result, kind, strict=False)
    except msgspec.ValidationError as error:
        raise EndpointError(f"The server's answer is none of the Tinker API: {error}.") from error
