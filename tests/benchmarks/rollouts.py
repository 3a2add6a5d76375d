"""Tokens sampled a second: 4 prompts × 8 samples × 64 tokens, temperature 1, no token ends a response.

With `--peer PYTHON`, `transformers.generate` of that environment does the same in turn with ours; `ratio` is
our median over the peer's.  Ours includes what is done once a call: laying out weights and reading prompts.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import parser, peer_json, report, say, summary, versions

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


def ours(folder: Path, prompts: int, samples: int, tokens: int, dtype: str, rounds: int) -> list[float]:
    """Seconds of each of some rounds, after a short one that is not counted."""
    import torch

    from engine.models.parts import resolve_device
    from engine.models.policy import load_policy
    from engine.rollout import sample
    from engine.text import Tokeniser

    tokeniser = Tokeniser.from_folder(folder)
    model = load_policy(folder, dtype, resolve_device())
    ids = [
        tokeniser.encode_prompt([{"role": "user", "content": text}], "chat") for text in QUESTIONS[:prompts]
    ]
    seconds = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        count = sum(
            batch.tokens
            for batch in sample(
                model,
                tokeniser,
                ids,
                samples=samples,
                max_new_tokens=tokens if number else WARM_UP,
                stop_ids=(),
                generator=torch.Generator().manual_seed(number),
                batch_sequences=prompts * samples,
            )
        )
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if number:
            seconds.append(time.perf_counter() - began)
            say(f"ours: {count / seconds[-1]:.0f} tokens/s")
    return seconds


def main() -> None:
    """Measure, in turn with the peer if one is given."""
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as workers do; the peer gets it too
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--prompts", type=int, default=4, choices=range(1, len(QUESTIONS) + 1))
    arguments.add_argument("--samples", type=int, default=8)
    arguments.add_argument("--tokens", type=int, default=64)
    arguments.add_argument("--dtype", default="bfloat16", help="of ours; the peer's is bfloat16")
    arguments.add_argument("--turns", type=int, default=3, help="of three rounds each")
    options = arguments.parse_args()

    from engine.models.catalogue import resolve_model

    folder = Path(resolve_model(options.model))
    shape = (options.prompts, options.samples, options.tokens)
    mine: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        prompts = Path(temporary) / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": q}) + "\n" for q in QUESTIONS[: options.prompts]))
        names = ("--b", "--k", "--tokens")
        settings = [word for name, value in zip(names, shape, strict=True) for word in (name, str(value))]
        for _ in range(options.turns):
            mine += ours(folder, *shape, options.dtype, rounds=3)
            if options.peer:
                files = ("--model", str(folder), "--prompts", str(prompts))
                found = peer_json(options.peer, "hf_generate.py", *files, *settings)
                theirs.append(float(str(found["tokens_per_second"])))
                say(f"peer: {theirs[-1]:.0f} tokens/s")
    total = options.prompts * options.samples * options.tokens
    speeds = summary([total / seconds for seconds in mine])
    steps = summary([1000 * seconds / options.tokens for seconds in mine])
    figures: dict[str, object] = {"tokens_per_second": speeds, "ms_a_step": steps, "dtype": options.dtype}
    figures |= dict(zip(("prompts", "samples", "tokens"), shape, strict=True))
    if theirs:
        figures["peer_tokens_per_second"] = summary(theirs)
        figures["ratio"] = round(speeds["median"] / summary(theirs)["median"], 2)
    report("rollouts", **figures, versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
