"""A server with the calls of the Tinker API that we use, over our own tiny model, in a thread of the test.

The losses are written from the API's description: sums over tokens, 0 where advantages are.  A lazy one says
“try again” before each result; a mute one gives no log-probabilities.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.models.lora import without_lora
from engine.rollout import sample
from engine.training.optimiser import MasterAdam
from engine.training.policy import load_trainable_policy
from tests.engine.serving import JsonHandler

Json = dict[str, Any]


class Training:
    """One model with adapters, its optimiser, and the weights that were kept."""

    def __init__(self, folder: Path, *, lazy: bool = False, mute: bool = False) -> None:
        self.folder, self.lazy, self.mute = folder, lazy, mute
        self.results: dict[str, Json] = {}
        self.kept: dict[str, Any] = {}
        self.calls: list[str] = []

    def create_model(self, asked: Json) -> Json:
        lora = asked["lora_config"]
        assert lora["train_unembed"] is False
        self.policy = load_trainable_policy(
            self.folder, dtype="float32", device="cpu", lora_rank=lora["rank"], seed=lora["seed"],
            temperature=1.0,
        )  # fmt: skip
        self.optimiser = MasterAdam(self.policy.model, eps=1e-5)
        return {"model_id": "model_1", "type": "create_model"}

    def forward_backward(self, asked: Json) -> Json:
        given = asked["forward_backward_input"]
        outputs, total = [], torch.zeros(())
        for datum in given["data"]:
            (chunk,) = datum["model_input"]["chunks"]
            inputs = {name: torch.tensor(array["data"]) for name, array in datum["loss_fn_inputs"].items()}
            logits = self.policy.model(torch.tensor([chunk["tokens"]])).logits[0]
            logp = logits.log_softmax(-1).gather(1, inputs["target_tokens"][:, None])[:, 0]
            total = total + _loss(given["loss_fn"], given["loss_fn_config"], logp, inputs)
            outputs.append(
                {"logprobs": {"data": logp.detach().tolist(), "dtype": "float32", "shape": [len(logp)]}}
            )
        total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.accumulate()
        return {
            "loss_fn_output_type": "Any",
            "loss_fn_outputs": outputs,
            "metrics": {"loss:sum": float(total.detach())},
        }

    def optim_step(self, asked: Json) -> Json:
        adam = asked["adam_params"]
        assert (adam["eps"], adam["beta1"], adam["beta2"]) == (1e-5, 0.9, 0.999)
        self.optimiser.clip(adam["grad_clip_norm"])
        self.optimiser.step(adam["learning_rate"])
        return {"type": "optim_step"}

    def save_weights_for_sampler(self, asked: Json) -> Json:
        return self._keep("sampler_weights", asked["path"], copy.deepcopy(self.policy.model))

    def save_weights(self, asked: Json) -> Json:
        return self._keep(
            "weights", asked["path"], {k: v.clone() for k, v in self.optimiser.tensors().items()}
        )

    def _keep(self, kind: str, name: str, what: Any) -> Json:
        path = f"tinker://model_1/{kind}/{name}"
        if path in self.kept:
            raise ValueError(f"Checkpoint '{name}' already exists")
        self.kept[path] = what
        return {"path": path}

    def load_weights(self, asked: Json) -> Json:
        assert asked["optimizer"] is True
        self.optimiser.load_tensors(self.kept[asked["path"]])
        return {"path": asked["path"]}

    def asample(self, asked: Json) -> Json:
        (chunk,) = asked["prompt"]["chunks"]
        wanted = asked["sampling_params"]
        if "base_model" in asked:
            with without_lora(self.policy.model), torch.no_grad():
                logp = self.policy.model(torch.tensor([chunk["tokens"]])).logits[0].log_softmax(-1)
                told = [float(logp[i, token]) for i, token in enumerate(chunk["tokens"][1:])]
                drawn = self._draw(self.policy.model, chunk["tokens"], asked["num_samples"], wanted)
            return {"sequences": drawn, "prompt_logprobs": [None, *told]}
        model = self.kept[asked["model_path"]]
        return {"sequences": self._draw(model, chunk["tokens"], asked["num_samples"], wanted)}

    def _draw(self, model: Any, prompt: list[int], count: int, wanted: Json) -> list[Json]:
        (batch,) = sample(
            model, self.policy.tokeniser, [prompt], samples=count, temperature=wanted["temperature"],
            top_p=1.0, max_new_tokens=wanted["max_tokens"], stop_ids=wanted.get("stop", []),
            seeds=[wanted.get("seed", 0)],
        )  # fmt: skip
        return [
            {
                "tokens": one.token_ids,
                "logprobs": None if self.mute else one.logprobs,
                "stop_reason": "stop" if one.stopped else "length",
            }
            for one in batch.responses
        ]


def _loss(name: str, settings: dict[str, float], logp: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """The named losses, each a sum."""
    ratio = (logp - inputs["logprobs"]).exp()
    if name == "importance_sampling":
        return -(ratio * inputs["advantages"]).sum()
    clipped = ratio.clamp(settings["clip_low_threshold"], settings["clip_high_threshold"])
    return -torch.minimum(ratio * inputs["advantages"], clipped * inputs["advantages"]).sum()


class Handler(JsonHandler, BaseHTTPRequestHandler):
    training: Training

    def do_GET(self) -> None:
        self.send_json(200, {"supported_models": [{"model_name": str(self.training.folder)}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, results = self.path.removeprefix("/api/v1/"), self.training.results
        if name == "create_session":
            self.send_json(200, {"session_id": "session_1", "type": "create_session"})
        elif name == "retrieve_future":
            result = results[asked["request_id"]]
            if self.training.lazy and not result.pop("asked", False):
                result["asked"] = True
                self.send_json(200, {"type": "try_again", "request_id": asked["request_id"]})
            else:
                self.send_json(200, {key: value for key, value in result.items() if key != "asked"})
        else:
            self.training.calls.append(name)
            try:
                result = getattr(self.training, name)(asked)
            except Exception as error:
                result = {"error": f"{type(error).__name__}: {error}", "category": "user"}
            results[str(len(results))] = result
            self.send_json(200, {"request_id": str(len(results) - 1)})


@contextmanager
def serving(training: Training) -> Iterator[str]:
    """Its address, as long as the block lasts."""
    handler = type("Bound", (Handler,), {"training": training})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
