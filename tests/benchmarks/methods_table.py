"""All methods at equal compute on PandaLM's prompts, by a gold scorer and a judge that none of them has seen.

`python -m tests.benchmarks.methods_table --db STORE --out FILE.csv [--seeds 3] [--steps 20] [--tokens 48]`

Half of the prompts, drawn by the seed 0, are for learning: methods that learn from stored responses read
their judgements, the others maximise a reward model that was trained on them.  Gold (a head on the frozen
trunk) and judge (the same, controlled for length) are trained on the judgements of the other half, some of
whose prompts every policy answers.  Equal compute is as many responses in forward and backward passes:
`--steps` steps of 4 prompts × 4 samples, or as many passes over the stored responses as come to the same.
Started again with the same store it goes on with what is missing.
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

from engine.protocol.configs import JobConfig, RewardConfig, ScoreConfig
from storage import artifacts, judgements, prompts, responses
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from tests.benchmarks.common import PANDALM, parser, report, say, versions
from workbench.services.experiments.results import ExperimentResult, Experiments, estimate_text, rate_text
from workbench.services.experiments.run_file import parse
from workbench.services.experiments.running import queue
from workbench.services.workspace import Workspace
from workbench.settings import load_settings

LEARN, JUDGED = "pandalm/learn", "pandalm/judged"
STEP_RESPONSES = 4 * 4
RUN_FILE = """
name = "methods"
seeds = {seeds}
judge = "judge"

[settings]
policy = "smollm2"
prompts = "{learn}"
reward_model = "proxy"
tuning = "lora"
learning_rate = 3e-4
max_tokens = 256
max_prompt_tokens = 192
steps = {steps}
prompts_per_step = 4
samples = 4
max_new_tokens = {tokens}
checkpoint_every = 0
trace_every = 0

[sample]
prompts = "{judged}"
limit = {answered}
samples = 2
max_new_tokens = {tokens}

[methods.sft]
epochs = {passes}
[methods.dpo]
epochs = {passes}
[methods.simpo]
epochs = {passes}
[methods.cpo]
epochs = {passes}
[methods.orpo]
epochs = {passes}
[methods.kto]
epochs = {passes}
[methods.ppo]
epochs = 1
critic = "shared"
[methods.grpo]
[methods.rloo]
[methods."online dpo"]
method = "online_dpo"
reference = "start"
[methods.sppo]
method = "online_dpo"
loss = "sppo"
[methods."nash-md"]
method = "nash_md"
[methods."best of 16"]
method = "best_of_n"
samples = 16
"""
COLUMNS = (
    "arm", "method", "seeds", "gold", "gold_low", "gold_high", "wins", "wins_low", "wins_high", "kl",
    "tokens", "seconds", "objective",
)  # fmt: skip


def fill(store: Store, data: Path) -> None:
    """PandaLM's prompts, responses and judgements, half of the prompts in each source."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    texts = sorted({row["prompt"] for row in rows})
    random.Random(0).shuffle(texts)
    learned = set(texts[: len(texts) // 2])
    with store.transaction():
        for row in rows:
            source = LEARN if row["prompt"] in learned else JUDGED
            prompt = prompts.add(store, [{"role": "user", "content": row["prompt"]}], source=source)
            a, b = (responses.add(store, prompt, row[f"model_{s}"], row[f"response_{s}"]) for s in "ab")
            if row["response_a"] == row["response_b"]:
                continue
            for n in (1, 2, 3):
                said = row[f"annotator_{n}"]
                items = (JudgedItem(a, 1 + (said == "b")), JudgedItem(b, 1 + (said == "a")))
                judgements.record(store, NewJudgement(prompt, f"annotator_{n}", "ranking", items))


def run(workspace: Workspace, kind: str, config: JobConfig) -> None:
    ended = workspace.jobs.wait(workspace.jobs.submit(kind, config))
    if ended.status != "done":
        raise SystemExit(f"{ended.run_id} ended as {ended.status}: {ended.reason}")


def scorers(workspace: Workspace) -> None:
    """The proxy that methods maximise, and the gold scorer and the judge that they never see."""
    known = {model.name for model in artifacts.reward_models(workspace.store)}
    for config in (
        RewardConfig(name="proxy", prompts=LEARN),
        RewardConfig(name="gold", prompts=JUDGED),
        RewardConfig(name="judge", prompts=JUDGED, length="controlled"),
    ):
        if config.name not in known:
            run(workspace, "reward", config)
            say(f"trained: {config.name}")


def rows(by_gold: ExperimentResult, by_judge: ExperimentResult) -> list[dict[str, object]]:
    """One row an arm: gain by gold, wins by the judge, KL, length, seconds, its own objective."""
    table = []
    for gold, judge in zip(by_gold.arms, by_judge.arms, strict=True):
        gain, met = gold.gain, judge.wins
        means = {
            name: None if value is None else round(value.mean, 4)
            for name, value in (
                ("gold", gain), ("kl", gold.kl), ("tokens", gold.tokens), ("seconds", gold.seconds),
                ("objective", gold.objective),
            )
        }  # fmt: skip
        ends = {"gold_low": gain and gain.low, "gold_high": gain and gain.high}
        won = {"wins": met and met.rate, "wins_low": met and met.low, "wins_high": met and met.high}
        table.append({"arm": gold.arm, "method": gold.kind, "seeds": gold.done} | means | ends | won)
        say(
            f"| {gold.arm} | {estimate_text(gain, signed=True)} | {'–' if met is None else rate_text(met)} | "
            f"{estimate_text(gold.kl)} | {estimate_text(gold.tokens, 1)} | {estimate_text(gold.seconds, 0)} |"
        )
    return table


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--db", required=True, help="store, made where there is none")
    arguments.add_argument("--data", type=Path, default=PANDALM)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--tokens", type=int, default=48)
    arguments.add_argument("--answered", type=int, default=24, help="held-out prompts that are answered")
    options = arguments.parse_args()
    with Workspace.open(load_settings(db=options.db)) as workspace:
        if not prompts.sources(workspace.store):
            fill(workspace.store, options.data)
        scorers(workspace)
        stored = sum(count for name, count in prompts.sources(workspace.store) if name == LEARN) * 4.5
        text = RUN_FILE.format(
            seeds=list(range(options.seeds)), learn=LEARN, judged=JUDGED, steps=options.steps,
            tokens=options.tokens, answered=options.answered,
            passes=max(1, round(options.steps * STEP_RESPONSES / stored)),
        )  # fmt: skip
        queued = queue(workspace.store, workspace.jobs, parse(text, "The run file"), text)
        say(queued.sentence)
        for run_id in queued.runs:
            say(f"{run_id}: {workspace.jobs.wait(run_id).status}")
        run(workspace, "score", ScoreConfig(reward_model="gold", prompts=JUDGED))
        found = Experiments(workspace.store)
        table = rows(found.result("methods", "gold"), found.result("methods", "judge"))
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    report("methods table", arms=table, versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
