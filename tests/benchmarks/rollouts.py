"""Tokens sampled a second: 4 prompts × 8 samples × 64 tokens, temperature 1, no token ends a response.

Ours runs in a process of its own with the settings of a worker.  With `--peer PYTHON`,
`transformers.generate` of that environment does the same in turn; `ratio` is our median over the peer's.
With `--continuous`, `generate_batch` of transformers, which batches continuously, has its turns too, and with
`--endpoint URL` a vLLM server with the same model, which must be running.  Ours includes reading the prompts.
The weights are frozen, as in the job `generate` and under adapters, so that they are laid out for decoding
once; `--trainable` lays them out in every call, as full training has to.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.common import (
    add_dtypes,
    parser,
    peer_json,
    report,
    resolve_dtypes,
    say,
    summary,
    versions,
    worker_json,
)

if TYPE_CHECKING:
    from engine.text import Tokeniser

QUESTIONS = (
    "Explain the water cycle for a 10-year-old.",
    "Write a short story about a lost key.",
    "What is the difference between a virus and a bacterium?",
    "Suggest three cheap dinners for a family of four, and say why.",
    "How do I ask my landlord to repair the heating?",
    "Name some books for somebody who liked Frankenstein.",
    "Why is the sky blue, and why is it red in the evening?",
    "Give me a plan for learning to swim as an adult.",
)
WARM_UP = 4  # tokens
ROUNDS = 3  # as in the peer's script


def questions(count: int) -> list[str]:
    """Different prompts, as many as asked for."""
    times = -(-count // len(QUESTIONS))
    return [q if n == 0 else f"{q} ({n})" for n in range(times) for q in QUESTIONS][:count]


def child(options: dict[str, Any]) -> None:
    """Sample some rounds after a short one that is not counted; print the seconds of each."""
    import torch

    from engine.text import Tokeniser

    tokeniser = Tokeniser.from_folder(Path(options["model"]))
    texts = questions(options["prompts"])
    prompts = [tokeniser.encode_prompt([{"role": "user", "content": text}], "chat") for text in texts]
    way = {"ours": ours, "generate_batch": continuous, "server": server}[options["way"]]
    round_of = way(options, tokeniser, prompts)
    seconds = []
    for number in range(ROUNDS + 1):
        began = time.perf_counter()
        round_of(options["tokens"] if number else WARM_UP, number)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds[1:]))


Round = Callable[[int, int], None]
"""Sample so many tokens of every sequence, with this seed."""


def ours(options: dict[str, Any], tokeniser: Tokeniser, prompts: list[list[int]]) -> Round:
    model = load(options)
    model.requires_grad_(options["trainable"])
    return sampling(model, options, tokeniser, prompts)


def server(options: dict[str, Any], tokeniser: Tokeniser, prompts: list[list[int]]) -> Round:
    from engine.rollout import Server

    return sampling(Server.connect(options["endpoint"], [options["model"]]), options, tokeniser, prompts)


def sampling(source: Any, options: dict[str, Any], tokeniser: Tokeniser, prompts: list[list[int]]) -> Round:
    import torch

    from engine.rollout import sample

    def once(tokens: int, seed: int) -> None:
        for _ in sample(
            source,
            tokeniser,
            prompts,
            samples=options["samples"],
            max_new_tokens=tokens,
            stop_ids=(),
            generator=torch.Generator().manual_seed(seed),
            batch_sequences=options["prompts"] * options["samples"],
        ):
            pass

    return once


def continuous(options: dict[str, Any], tokeniser: Tokeniser, prompts: list[list[int]]) -> Round:
    from transformers import GenerationConfig

    model = load(options)
    rows = [prompt for prompt in prompts for _ in range(options["samples"])]

    def once(tokens: int, _seed: int) -> None:
        settings = GenerationConfig(
            max_new_tokens=tokens, do_sample=True, top_k=0, eos_token_id=-1, pad_token_id=tokeniser.pad_id
        )
        made = model.generate_batch(inputs=rows, generation_config=settings, progress_bar=False)
        assert sum(len(row.generated_tokens) for row in made.values()) == len(rows) * tokens

    return once


def load(options: dict[str, Any]) -> Any:
    """The model, where the worker would put it."""
    from engine.models.device import resolve_device
    from engine.models.policy import load_policy

    return load_policy(Path(options["model"]), options["dtype"], resolve_device())


def main() -> None:
    """Measure, in turn with the peer if one is given."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--child", action="store_true", help="read settings on stdin and sample")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--prompts", type=int, default=4)
    arguments.add_argument("--samples", type=int, default=8)
    arguments.add_argument("--tokens", type=int, default=64)
    add_dtypes(arguments)
    arguments.add_argument("--continuous", action="store_true", help="generate_batch has turns too")
    arguments.add_argument("--endpoint", default="", help="of a vLLM server, which has turns too")
    arguments.add_argument("--trainable", action="store_true", help="lay out the weights in every call")
    arguments.add_argument("--turns", type=int, default=3, help=f"of {ROUNDS} rounds each")
    options = arguments.parse_args()
    if options.prompts < 1:
        arguments.error("--prompts must be at least 1")
    if options.child:
        child(json.load(sys.stdin))
        return
    resolve_dtypes(options)

    from engine.models.catalogue import resolve_model

    names = ("prompts", "samples", "tokens", "dtype", "trainable")
    settings: dict[str, Any] = {name: getattr(options, name) for name in names}
    model = str(resolve_model(options.model))
    total = options.prompts * options.samples * options.tokens
    ways = ["ours"] + ["generate_batch"] * options.continuous + ["server"] * bool(options.endpoint)
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "prompts.jsonl"
        file.write_text("".join(json.dumps({"prompt": q}) + "\n" for q in questions(options.prompts)))
        words = ["--model", model, "--prompts", str(file), "--b", str(options.prompts)]
        words += ["--k", str(options.samples), "--tokens", str(options.tokens), "--dtype", options.peer_dtype]
        for _ in range(options.turns):
            for way in ways:
                asked = settings | {"model": model, "way": way, "endpoint": options.endpoint}
                speeds[way] += [total / s for s in worker_json("tests.benchmarks.rollouts", asked)]
                say(f"{way}: {speeds[way][-ROUNDS:]} tokens/s")
            if options.peer:
                theirs.append(
                    float(str(peer_json(options.peer, "hf_generate.py", *words)["tokens_per_second"]))
                )
                say(f"peer: {theirs[-1]} tokens/s")
    mine = summary(speeds["ours"])
    steps = summary([1000 * options.prompts * options.samples / speed for speed in speeds["ours"]])
    figures: dict[str, Any] = {"tokens_per_second": mine, "ms_a_step": steps, **settings}
    if theirs:
        figures["peer_dtype"] = options.peer_dtype
        figures["peer_tokens_per_second"] = summary(theirs)
        figures["ratio"] = round(mine["median"] / summary(theirs)["median"], 2)
    for way in ways[1:]:
        figures[f"{way}_tokens_per_second"] = summary(speeds[way])
        figures[f"ratio_to_{way}"] = round(mine["median"] / summary(speeds[way])["median"], 2)
    report("rollouts", **figures, versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
