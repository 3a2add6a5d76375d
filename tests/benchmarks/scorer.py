"""The ONNX scorer beside torch: latency while typing, bulk tokens a second, loading, memory.

`whole` scores a prompt and response of 128 tokens together from nothing; `response` a response of 128 tokens
to a prompt that was scored before; `token` the same response with one more token, the median over 32 of them.
Torch scores the 128 tokens of `whole` in turn, in float32 and bfloat16.  Bulk: the same texts by the scorer
and by torch bfloat16 in padded batches of similar length; tokens are those of prompts and responses as they
stand, counted once for each response.  `ratio` is torch float32 over `whole`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.common import PEERS, parser, report, say, versions

DATA = PEERS.parent / "data" / "pandalm_pairs.jsonl"
TOKENS, APPENDED, REPEATS = 128, 32, 15
LOAD = """
import json, sys, time
from pathlib import Path
started = time.perf_counter()
from engine.scoring import Scorer
scorer = Scorer.open(Path(sys.argv[1]), sys.argv[2])
opened = time.perf_counter()
scorer.score([{"role": "user", "content": "Say something."}], ["A short answer."])
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
now, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
print(json.dumps({"seconds": opened - started, "resident_mb": now, "peak_mb": peak}))
"""


def milliseconds(work: Callable[[int], object], repeats: int = REPEATS) -> dict[str, float]:
    """Median and minimum of wall time, and the processor's time of the quickest, in milliseconds."""
    walls, cores = [], []
    for number in range(repeats):
        wall, core = time.perf_counter(), time.process_time()
        work(number)
        walls.append((time.perf_counter() - wall) * 1000)
        cores.append((time.process_time() - core) * 1000)
    return {
        "median": round(statistics.median(walls), 2),
        "min": round(min(walls), 2),
        "processor_min": round(min(cores), 2),
    }


def texts(path: Path, count: int) -> list[tuple[list[dict[str, str]], str]]:
    """Prompts with their responses from the file of pairs, else made up."""
    if not path.exists():
        say(f"{path} does not exist: made-up texts")
        return [
            (
                [{"role": "user", "content": f"Question {n // 4}"}],
                "A rather plain answer about nothing. " * (1 + n % 11),
            )
            for n in range(count)
        ]
    found: dict[tuple[str, str], None] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for side in "ab":
            found[row["prompt"], row[f"response_{side}"]] = None
    return [([{"role": "user", "content": prompt}], text) for prompt, text in list(found)[:count]]


def exported(model: Path, folder: Path) -> Path:
    """fp32 and int8 graphs of a reward model, as the export job writes them but not verified."""
    from engine.jobs.export_onnx import export, to_int8, write_beside
    from engine.models.reward_model import load_reward_model
    from engine.text import Tokeniser

    reward_model, tokeniser = load_reward_model(model, "float32"), Tokeniser.from_folder(model)
    write_beside(model, reward_model, folder)
    say("exporting")
    export(reward_model.model, reward_model.layers, folder, "fp32")
    say("quantising")
    to_int8(folder, [tokeniser.encode_for_score(*item, 512).ids for item in texts(DATA, 16)])
    return folder


def untrained(folder: Path) -> Path:
    """A reward model with a random head on the packaged language model."""
    from engine.models.catalogue import resolve_model
    from engine.models.reward_classifier import init_reward_classifier
    from engine.models.saving import save_model

    source = resolve_model("smollm2")
    save_model(init_reward_classifier(source), source, folder / "reward")
    return folder / "reward"


def latency(folder: Path, precision: str) -> dict[str, object]:
    """The scorer's own times."""
    from engine.scoring import Scorer

    scorer = Scorer.open(folder, precision)  # type: ignore[arg-type]
    chat = [{"role": "user", "content": "Tell me about a lighthouse."}]
    words = scorer.tokeniser.encode_response(
        "The lighthouse stands on a rock beside the sea and shines. " * 40
    )
    prompt = len(scorer.tokeniser.encode_prompt(chat))
    whole = scorer.tokeniser.decode(words[: TOKENS - prompt - 1])
    response = scorer.tokeniser.decode(words[: TOKENS - 1])

    def from_nothing(_: int) -> None:
        scorer.cache.clear()
        scorer.score(chat, [whole])

    def behind_prompt(_: int) -> None:
        scorer.cache.clear()
        scorer.score(chat, [""])
        started = time.perf_counter()
        scorer.score(chat, [response])
        behind.append((time.perf_counter() - started) * 1000)

    behind: list[float] = []
    times: dict[str, object] = {"whole": milliseconds(from_nothing)}
    milliseconds(behind_prompt)
    times["response"] = {"median": round(statistics.median(behind), 2), "min": round(min(behind), 2)}
    typed = [scorer.tokeniser.decode(words[: TOKENS - 1 + n]) for n in range(APPENDED)]
    times["token"] = milliseconds(lambda n: scorer.score(chat, [typed[n]]), APPENDED)
    return times


def _forward(module: Any, ids_N_T: Any, _: int) -> None:
    module(input_ids=ids_N_T, use_cache=False)


def torch_times(
    model: Path, items: Sequence[tuple[list[dict[str, str]], str]]
) -> dict[str, dict[str, float]]:
    """Torch on 128 tokens, float32 and bfloat16, and in bulk in bfloat16."""
    import torch

    from engine.models.reward_model import load_reward_model
    from engine.text import Tokeniser

    tokeniser = Tokeniser.from_folder(model)
    found: dict[str, dict[str, float]] = {}
    ids = torch.arange(100, 100 + TOKENS)[None]
    for dtype in ("float32", "bfloat16"):
        module = load_reward_model(model, dtype).trunk.module
        with torch.inference_mode():
            module(input_ids=ids, use_cache=False)
            found[dtype] = milliseconds(partial(_forward, module, ids), 7)
    rows = sorted(
        (tokeniser.encode_for_score(chat, text, 2048).ids for chat, text in items), key=len, reverse=True
    )
    with torch.inference_mode():
        wall, core = time.perf_counter(), time.process_time()
        for start in range(0, len(rows), 8):
            batch = rows[start : start + 8]
            padded = [row + [tokeniser.pad_id] * (len(batch[0]) - len(row)) for row in batch]
            module(input_ids=torch.tensor(padded), use_cache=False)
        found["bulk"] = _rate(sum(map(len, rows)), wall, core)
    return found


def bulk(folder: Path, precision: str, items: Sequence[tuple[list[dict[str, str]], str]]) -> dict[str, float]:
    """Tokens a second of `score_many`."""
    from engine.scoring import Scorer

    scorer = Scorer.open(folder, precision)  # type: ignore[arg-type]
    count = sum(len(scorer.tokeniser.encode_for_score(*item, scorer.max_tokens).ids) for item in items)
    wall, core = time.perf_counter(), time.process_time()
    scorer.score_many(items)
    return _rate(count, wall, core)


def _rate(tokens: int, wall: float, core: float) -> dict[str, float]:
    return {
        "tokens": tokens,
        "tokens_per_s": round(tokens / (time.perf_counter() - wall)),
        "tokens_per_processor_s": round(tokens / (time.process_time() - core)),
    }


def loading(folder: Path, precision: str) -> dict[str, float]:
    """Seconds from import to an open scorer and megabytes, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), precision], capture_output=True, text=True, check=True
    )
    return {name: round(value, 2) for name, value in json.loads(done.stdout).items()}


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__ or "")
    arguments.add_argument(
        "--model", type=Path, help="folder of a reward model; without, one with a random head"
    )
    arguments.add_argument("--onnx", type=Path, help="its exported folder; without, it is exported first")
    arguments.add_argument("--data", type=Path, default=DATA, help="pairs whose texts are scored in bulk")
    arguments.add_argument("--texts", type=int, default=200)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = options.model or untrained(Path(scratch))
        folder = options.onnx
        if folder is None:
            folder = Path(scratch) / "onnx"
            folder.mkdir()
            exported(model, folder)
        items = texts(options.data, options.texts)
        figures: dict[str, object] = {}
        for precision in ("int8", "fp32"):
            say(precision)
            figures[precision] = {
                **latency(folder, precision),
                "bulk": bulk(folder, precision, items),
                "loading": loading(folder, precision),
            }
        say("torch")
        found = torch_times(model, items)
    ours: Any = figures["int8"]
    report(
        "scorer",
        ratio=round(found["float32"]["median"] / ours["whole"]["median"], 2),
        bulk_ratio=round(ours["bulk"]["tokens_per_s"] / found["bulk"]["tokens_per_s"], 2),
        **figures,
        torch=found,
        versions=versions("onnxruntime-gpu", "torch", "transformers"),
    )


if __name__ == "__main__":
    main()
