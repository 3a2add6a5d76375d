"""A server with the calls of vLLM's that we use, over our own sampler and peft's loader; a real process.

`python -m tests.engine.vllm_like MODEL_FOLDER [--stale]` prints its address.  Adapters are loaded from their
folders while it runs, completions are answered by the name of an adapter.  `--stale`: after the first adapter
it takes new names and goes on with the weights of the first.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from engine.rollout import sample
from engine.text import Tokeniser
from tests.engine.serving import JsonHandler


class Models:
    """The base model, and one with each adapter."""

    def __init__(self, folder: Path, *, stale: bool) -> None:
        self.folder, self.stale = folder, stale
        self.tokeniser = Tokeniser.from_folder(folder)
        self.by_name = {str(folder): self.base()}
        self.seen: list[str] = []

    def base(self) -> PreTrainedModel:
        return AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32).eval()

    def load(self, name: str, path: str) -> None:
        if name in self.seen:
            raise ValueError(f"The lora adapter '{name}' has already been loaded.")
        self.seen.append(name)
        first = list(self.by_name.values())[1:2]
        if self.stale and first:
            self.by_name[name] = first[0]
            return
        self.by_name[name] = PeftModel.from_pretrained(self.base(), path).merge_and_unload().eval()

    def complete(self, asked: dict[str, Any]) -> dict[str, Any]:
        model, prompt = self.by_name[asked["model"]], asked["prompt"]
        if asked.get("prompt_logprobs") is not None:
            with torch.no_grad():
                logp = model(torch.tensor([prompt])).logits[0].log_softmax(-1)
            told = [{str(t): {"logprob": float(logp[i, t])}} for i, t in enumerate(prompt[1:])]
            return {"model": asked["model"], "choices": [{"index": 0, "prompt_logprobs": [None, *told]}]}
        (batch,) = sample(
            model, self.tokeniser, [prompt], samples=asked["n"], temperature=asked["temperature"],
            top_p=asked["top_p"], max_new_tokens=asked["max_tokens"], stop_ids=asked["stop_token_ids"],
            seeds=[asked["seed"]],
        )  # fmt: skip
        choices = [
            {
                "index": one.sample_index,
                "token_ids": one.token_ids,
                "logprobs": {"token_logprobs": one.logprobs},
                "finish_reason": "stop" if one.stopped else "length",
            }
            for one in batch.responses
        ]
        return {"model": asked["model"], "choices": choices}


class Handler(JsonHandler, BaseHTTPRequestHandler):
    models: Models

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(200, {"data": [{"id": name, "max_model_len": 512} for name in self.models.by_name]})
        else:
            self._send(200, self.models.seen)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            match self.path:
                case "/v1/load_lora_adapter":
                    self.models.load(asked["lora_name"], asked["lora_path"])
                    self._send(200, f"Success: LoRA adapter '{asked['lora_name']}' added successfully.")
                case "/v1/unload_lora_adapter":
                    del self.models.by_name[asked["lora_name"]]
                    self._send(200, "Success")
                case _:
                    self._send(200, self.models.complete(asked))
        except Exception as error:
            self._send(400, {"error": {"message": f"{type(error).__name__}: {error}"}})

    def _send(self, status: int, content: Any) -> None:
        # vLLM answers these two in plain text
        self.send_json(status, content.encode() if isinstance(content, str) else content)


def main() -> None:
    torch.set_num_threads(1)
    Handler.models = Models(Path(sys.argv[1]), stale="--stale" in sys.argv)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
