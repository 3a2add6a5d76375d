"""Every method raises its own objective on a tiny model, over three seeds; the curves are kept as data.

`python -m tests.benchmarks.methods --out docs/curves/methods.csv`
`python -m tests.benchmarks.methods --real --out docs/curves/methods-demo.csv`, on the demo's model and rule

Offline methods learn rankings in which more `a` is better and are measured on held-out prompts:
`heldout/loss` (their own objective, to fall) and `heldout/accuracy` of their implicit reward (to rise).  The
others learn from a reward, the share of ASCII characters, and are measured by `policy/score` (to rise).  The
model is random and answers at random: what is shown is that each loss and loop does what it is meant to,
nothing about quality.

With --real the model is SmolLM2-135M with adapters and the rule is the demo's, fewer words: rankings are of
its own answers to the demo's prompts, and the reward is −words/10.
"""

from __future__ import annotations

import csv
import importlib
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import torch

from engine.models.catalogue import resolve_model
from engine.models.policy import load_policy
from engine.policy_learning import prompts as policy_prompts
from engine.protocol import configs
from engine.protocol.catalog import job_kind
from engine.protocol.events import Metrics, Output
from engine.rollout import response_text, sample
from engine.text import Tokeniser
from tests.benchmarks.common import parser, report, say, versions
from tests.engine.training.fixtures import talkative
from tests.engine.training.runs import make_run, prompts, rankings
from tests.fakes import tiny_model_folder
from workbench.services.demo import demo_prompts
from workbench.services.ranking.rules import concise

COMMON: dict[str, Any] = {"name": "better", "policy": "p", "device": "cpu", "dtype": "float32"}
OFFLINE = COMMON | {
    "epochs": 3, "batch_prompts": 4, "microbatch": 4, "holdout": 0.25, "learning_rate": 2e-3,
    "checkpoint_every": 0,
}  # fmt: skip
ONLINE = COMMON | {
    "rewards": ("tests.benchmarks.methods:ascii_share",), "steps": 24, "prompts_per_step": 2, "samples": 16,
    "max_new_tokens": 6, "learning_rate": 1e-2, "tuning": "full", "target_kl_update": 0.0, "kl_bound": 1e9,
    "missing_stop_penalty": 0.0, "checkpoint_every": 0, "trace_every": 0, "collapse": "ignore", "epochs": 2,
}  # fmt: skip
REAL_PROMPTS, REAL_TOKENS = 24, 24
BOUNDS = ("tests.benchmarks.methods:ascii_share <= 0.7", "tests.benchmarks.methods:ascii_share >= 0.2")
"""Of the reward itself: it is to stop at the first, and the second is kept all along."""
REAL_BOUNDS = ("tests.benchmarks.methods:fewer_words <= -0.8", "tests.benchmarks.methods:fewer_words >= -9")
ROW: dict[str, Any] = {"annotator": "rule:concise"}
FREE: dict[str, Any] = {"kl": "fixed", "beta": 0.0}
HELD: dict[str, Any] = {"kl": "fixed", "beta": 0.01}


def methods(seed: int) -> dict[str, configs.JobConfig]:
    """The configurations that are run, by the name of the method."""
    off, on = OFFLINE | {"seed": seed}, ONLINE | {"seed": seed}
    dpo, grpo = configs.DPOConfig, configs.GRPOConfig
    token: dict[str, Any] = {"loss_average": "token"}
    return {
        "DPO": dpo(**off),
        "cDPO": dpo(**off, label_smoothing=0.1),
        "robust DPO": dpo(**off, loss="robust", label_smoothing=0.1),
        "DPO by length": dpo(**off, average="token", beta=5.0),
        "R-DPO": dpo(**off, length_penalty=0.01),
        "RPO": dpo(**off, nll=1.0),
        "DPO with ties": dpo(**off, ties="rao_kupper"),
        "IPO": dpo(**off, loss="ipo"),
        "SimPO": configs.SimPOConfig(**off),
        "CPO": configs.CPOConfig(**off),
        "ORPO": configs.ORPOConfig(**off),
        "ORPO, β 2": configs.ORPOConfig(**off, beta=2.0),
        "KTO": configs.KTOConfig(**off),
        "PPO": configs.PPOConfig(**on, **FREE, critic="shared"),
        "GRPO": grpo(**on, **FREE),
        "Dr. GRPO": grpo(**on, **FREE, scale_advantages=False, loss_average="budget"),
        "DAPO": grpo(**on, **FREE, **token, clip_high=0.28, resample=1, overlong_tokens=2),
        "GSPO": grpo(**on, **FREE, ratio="sequence", clip=0.01),
        "CISPO": grpo(**on, **FREE, **token, surrogate="cispo"),
        "REINFORCE++": grpo(**on, **HELD, **token, scale_of="batch", kl_loss="k2"),
        "GRPO, KL of responses": grpo(**on, **HELD, kl_loss="sequence"),
        "GRPO, entropy bonus": grpo(**on, **FREE, entropy_bonus=0.01),
        "RLOO": configs.RLOOConfig(**on, **FREE),
        "online DPO": configs.OnlineDPOConfig(**on, reference="start"),
        "iterative DPO": configs.OnlineDPOConfig(**on, pairs="best_worst"),
        "online IPO": configs.OnlineDPOConfig(**on, loss="ipo"),
        "Nash-MD": configs.NashMDConfig(**{**on, "epochs": 1}, beta=0.008),
        "Nash-MD, a preference": configs.NashMDConfig(
            **{**on, "epochs": 1, "rewards": ()},
            compare="preference",
            preference="tests.benchmarks.methods:more_ascii",
        ),
        "SPPO": configs.OnlineDPOConfig(**on, loss="sppo"),
        "RLOO, a judge of pairs": configs.RLOOConfig(**{**on, "rewards": (judge("ascii"),)}, **FREE),
        "GRPO, a judge of pairs": grpo(**{**on, "rewards": (judge("ascii"),)}, **FREE),
        "RLOO, two bounds": configs.RLOOConfig(
            **{**on, "steps": 72, "learning_rate": 3e-3}, **FREE, constraints=BOUNDS
        ),
    }


def judge(name: str) -> str:
    """The judge of that name beside this file, as a reward."""
    return f"judge:{Path(__file__).parent / 'judges' / name}.toml"


def real(config: configs.JobConfig) -> configs.JobConfig:
    """The same method on the real model: adapters, few and short answers, the demo's rule."""
    own: dict[str, Any] = {"dtype": "auto", "tuning": "lora", "learning_rate": 3e-4}
    if isinstance(config, configs.StoredResponsesConfig):
        return msgspec.structs.replace(config, **own, epochs=2)
    own |= {"steps": 10, "prompts_per_step": 4, "samples": 4, "max_new_tokens": REAL_TOKENS}
    if of_judge(config):
        own |= {"rewards": (judge("words"),), "normalise_score": False}
    elif getattr(config, "rewards", ()):
        own |= {"rewards": ("tests.benchmarks.methods:fewer_words",), "normalise_score": False}
    if getattr(config, "constraints", ()):
        own |= {"constraints": REAL_BOUNDS}
    if getattr(config, "preference", ""):
        own |= {"preference": "tests.benchmarks.methods:rather_fewer_words"}
    return msgspec.structs.replace(config, **own)


def fewer_words(prompt: str, response: str) -> float:
    """The demo's rule as a reward: −words/10; an answer without a word is worst."""
    return max(concise(prompt, response), -100.0) / 10


def of_judge(config: configs.JobConfig) -> bool:
    """Whether a judge compares the samples, which gives them no score that could rise."""
    return isinstance(config, configs.RewardedConfig) and bool(config.judges())


def rather_fewer_words(prompt: str, first: str, second: str, criterion: str = "") -> float:
    """How likely the first is preferred by that rule."""
    return 1 / (1 + math.exp(fewer_words(prompt, second) - fewer_words(prompt, first)))


def answered(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Tables of the real model: the demo's training prompts, and its answers to them ranked by the rule."""
    tokeniser = Tokeniser.from_folder(folder)
    asked = [p["prompt"] for p in demo_prompts() if p["split"] == "train"][:REAL_PROMPTS]
    chats = [[{"role": "user", "content": text}] for text in asked]
    model = load_policy(folder, "auto", torch.device("cpu"))
    texts: list[list[str]] = [[] for _ in asked]
    for batch in sample(
        model, tokeniser, [tokeniser.encode_prompt(chat, "chat") for chat in chats], samples=4,
        temperature=1.0, top_p=1.0, max_new_tokens=REAL_TOKENS, stop_ids=tokeniser.stop_ids,
        seeds=list(range(len(asked))), batch_sequences=32,
    ):  # fmt: skip
        for response in batch.responses:
            texts[response.prompt_index].append(response_text(tokeniser, response))
    ranked, table = [], []
    for number, (chat, said) in enumerate(zip(chats, texts, strict=True)):
        messages = json.dumps(chat)
        table.append({"prompt_id": f"p{number}", "messages": messages})
        levels = sorted({fewer_words("", text) for text in said}, reverse=True)
        for place, text in enumerate(said):
            row = {"prompt_id": f"p{number}", "messages": messages, "response_id": f"r{number}-{place}"}
            rank = 1 + levels.index(fewer_words("", text))
            ranked.append(ROW | row | {"judgement_id": f"j{number}", "text": text, "rank": rank})
    return table, ranked


METRICS = ("heldout/loss", "heldout/accuracy", "policy/score", "policy/kl")
OF_BOUNDS = ("multiplier/", "cost/")


def of_text(text: str) -> float:
    """The share of ASCII characters, of what a preference has learned without being told of it."""
    return ascii_share("", text)


def ascii_share(prompt: str, response: str) -> float:
    """The reward that is learned."""
    return sum(c.isascii() for c in response) / (len(response) or 1)


def more_ascii(prompt: str, first: str, second: str, criterion: str = "") -> float:
    """How likely the first is preferred, where the reward is not told: by how much more ASCII it has."""
    return 1 / (1 + math.exp(4 * (ascii_share(prompt, second) - ascii_share(prompt, first))))


def tables(name: str, offline: bool, seed: int) -> dict[str, list[dict[str, Any]]]:
    """What a method reads of the tiny world."""
    if not offline:
        return {"prompts": prompts()}
    rows = rankings(24, seed)
    if name == "DPO with ties":  # two above two
        rows = [row | {"rank": 1 + 2 * (row["rank"] > 2)} for row in rows]
    return {"rankings": rows}


def curve(
    name: str,
    config: configs.JobConfig,
    seed: int,
    model: Path,
    table: dict[str, list[dict[str, Any]]],
    worth: Callable[[str], float],
) -> Iterator[tuple[Any, ...]]:
    """Method, seed, step, metric, value of one run.

    worth: of a text, where a preference does not tell its score.
    """
    job = job_kind(config)
    learn = getattr(importlib.import_module(job.module), job.function)
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "run", config, {"policy": model}, table)
        for file, path in config.inputs().files.items():
            run.keep_file(file, Path(path))
        unscored = of_judge(config) or (isinstance(config, configs.NashMDConfig) and not config.rewards)
        for event in learn(config, run):
            if unscored and isinstance(event, Output) and event.kind == "rollouts":
                texts = pq.read_table(run.path / event.path)["text"].to_pylist()
                yield name, seed, event.step, "policy/score", statistics.fmean(map(worth, texts))
            for metric in event.values if isinstance(event, Metrics) else ():
                if (metric in METRICS or metric.startswith(OF_BOUNDS)) and not (
                    unscored and metric == "policy/score"
                ):
                    yield name, seed, event.step, metric, event.values[metric]


def better(rows: list[tuple[Any, ...]]) -> dict[str, str]:
    """By method: its own objective at first and at last, a mean over seeds with its standard deviation."""
    told = {}
    for name in dict.fromkeys(row[0] for row in rows):
        online = any(row[0] == name and row[3] == "policy/score" for row in rows)
        metric = "policy/score" if online else "heldout/loss"
        width = 3 if metric == "policy/score" else 1
        ends = []
        for seed in sorted({row[1] for row in rows}):
            values = [row[4] for row in rows if row[:2] == (name, seed) and row[3] == metric]
            ends.append((statistics.fmean(values[:width]), statistics.fmean(values[-width:])))
        gains = [last - first if metric == "policy/score" else first - last for first, last in ends]
        if min(gains) <= 0:
            say(f"{name} has not improved its objective with every seed: {gains}")
        first, last = (statistics.fmean(e[i] for e in ends) for i in (0, 1))
        told[name] = f"{metric} {first:.3f} → {last:.3f} (gain {min(gains):.3f} at least)"
        say(f"{name}: {told[name]}")
    return told


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--out", type=Path, default=Path("docs/curves/methods.csv"))
    arguments.add_argument("--real", action="store_true", help="on the demo's model and rule")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--only", nargs="*", default=[], help="methods, by their names")
    options = arguments.parse_args()
    if not options.real:
        torch.set_num_threads(1)
    policy_prompts.REFERENCE_SAMPLES = 12
    sys.modules.setdefault("tests.benchmarks.methods", sys.modules[__name__])
    rows: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        if options.real:
            model = resolve_model("smollm2")
            asked, ranked = answered(model)
        else:
            model = talkative(Path(folder) / "policy", tiny_model_folder(Path(folder) / "tiny"))
        for seed in range(options.seeds):
            for name, config in methods(seed).items():
                if options.only and name not in options.only:
                    continue
                offline = isinstance(config, configs.StoredResponsesConfig)
                table, worth = tables(name, offline, seed), of_text
                if options.real:
                    config = real(config)
                    table = {"rankings": ranked} if offline else {"prompts": asked}
                    worth = partial(fewer_words, "")
                rows += curve(name, config, seed, model, table, worth)
                say(f"{name}, seed {seed}")
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("method", "seed", "step", "metric", "value"))
        writer.writerows((*row[:4], f"{row[4]:.5g}") for row in rows)
    report("methods", objectives=better(rows), versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
