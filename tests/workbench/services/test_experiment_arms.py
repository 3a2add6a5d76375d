"""Experiments whose arms are reward models and best of n, and whose judging they start themselves."""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.protocol.configs import BestOfNConfig, GRPOConfig, JudgeConfig, RewardConfig
from storage import experiments, runs
from storage.store import Store
from storage.transfer.snapshots import write_pairs
from tests.storage.builders import judge
from tests.workbench.services.test_experiments import PROMPTS, measured  # noqa: F401
from workbench.services.experiments.people import ask, project
from workbench.services.experiments.planning import arms, plan
from workbench.services.experiments.report import markdown
from workbench.services.experiments.results import Experiments
from workbench.services.experiments.run_file import RunFile, parse
from workbench.services.projects.project_file import Crossed
from workbench.services.ranking.judging import Judging
from workbench.services.toml_file import quoted

WHOLE = """
name = "whole"
seeds = [0, 1]
judge = "ai:one"
[settings]
policy = "smollm2"
device = "cpu"
reward_model = "scorer"
samples = 8
max_new_tokens = 20
[sample]
prompts = "held-out"
max_new_tokens = 30
[judging]
by = "function"
function = "module:judge"
pairs_a_prompt = 2
[methods.grpo]
rewards = ["scorer/helpful*0.5"]
constraints = ["scorer >= 0.1", "other/harm <= 2"]
[methods.best]
method = "best_of_n"
samples = 4
[methods.scorer]
method = "reward"
tuning = "frozen"
"""


def test_reward_models_come_first_and_others_learn_from_those_of_their_seed() -> None:
    file = parse(WHOLE, "It")
    assert [arm.name for arm in arms(file)] == ["start", "grpo", "best", "scorer"]
    runs = [run for run in plan(file) if run.seed == 1]
    assert [(run.arm, run.role, run.kind) for run in runs] == [
        ("scorer", "train", "reward"),
        ("start", "sample", "generate"),
        ("grpo", "train", "grpo"),
        ("grpo", "sample", "generate"),
        ("grpo", "judge", "judge"),
        ("best", "sample", "best_of_n"),
        ("best", "judge", "judge"),
    ]
    made, _, grpo, _, asked, best, _ = (run.config for run in runs)
    assert isinstance(made, RewardConfig)
    assert (made.name, made.policy, made.seed) == ("whole scorer 1", "smollm2", 1)
    assert isinstance(grpo, GRPOConfig)
    assert (grpo.reward_model, grpo.rewards) == ("whole scorer 1", ("whole scorer 1/helpful*0.5",))
    assert grpo.constraints == ("whole scorer 1 >= 0.1", "other/harm <= 2")
    assert isinstance(best, BestOfNConfig)  # it answers as [sample] says, and chooses among its own number
    assert (best.reward_model, best.prompts) == ("whole scorer 1", "held-out")
    assert (best.samples, best.max_new_tokens) == (4, 30)
    assert isinstance(asked, JudgeConfig)
    assert (asked.annotator, asked.experiment, asked.prompts) == ("ai:one", "whole", "held-out")
    with pytest.raises(UsageError, match="experiment is given by the experiment"):
        plan(parse(WHOLE.replace("pairs_a_prompt = 2", 'experiment = "x"'), "It"))
    seen = WHOLE.replace('"function"', '"reward_model"').replace("function = ", "reward_model = ")
    seen = seen.replace("module:judge", "rm")
    with pytest.raises(UsageError, match="grpo learns from “rm”, which is to judge"):
        plan(parse(seen.replace('"scorer"', '"rm"', 1), "It"))
    alone = 'name = "scorers"\n[methods.reward.grid]\ntuning = ["frozen", "lora"]\n'
    assert [arm.name for arm in arms(parse(alone, "It"))] == ["reward tuning frozen", "reward tuning lora"]


def test_a_model_is_asked_about_different_arms_of_one_seed(
    measured: Store,  # noqa: F811
    tmp_path: Path,
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "pairs.parquet"
    write_pairs(measured, path, experiment="e")
    pairs = [
        (row["response_a"].split("-")[1:3], row["response_b"].split("-")[1:3])
        for row in pq.read_table(path).to_pylist()
    ]
    assert len(pairs) == PROMPTS * 2 * 3 * 4  # seeds, pairs of arms, pairs of their responses
    assert all(a[0] != b[0] and a[1] == b[1] for a, b in pairs)
    write_pairs(measured, path, experiment="another")
    assert pq.read_table(path).num_rows == 0


def test_an_experiment_waits_for_people_who_find_its_answers_on_the_rank_screen(
    measured: Store,  # noqa: F811
) -> None:
    text = 'name = "e"\nseeds = [0, 1]\njudge = "people"\n[settings]\npolicy = "base"\nreward_model = "rm"\n'
    text += '[judging]\nannotators = ["ana", "bo"]\nresponses = 9\n[methods]\na = {method = "ppo"}\n'
    experiments.put(measured, "e", text, "people")
    judging = Judging(measured)
    measured.write("UPDATE runs SET status = 'running' WHERE run_id = 'generate-a1'")
    with pytest.raises(UsageError, match="1 sampling of “e” is not done yet"):
        ask(measured, judging.projects, "e", "ana")
    measured.write("UPDATE runs SET status = 'done' WHERE run_id = 'generate-a1'")
    found = Experiments(measured).result("e")
    assert found.waits_for_people
    assert "compared answers to 0 of 6 prompts (F3)" in found.notes[1]
    assert ask(measured, judging.projects, "e", "ana").tasks == PROMPTS
    item = judging.next_item("ana")
    assert item is not None
    arms_of = {response.response_id.split("-")[1] for response in item.responses}
    assert arms_of == {"s", "a"}  # b is no arm of the file any more
    ranks = {r.response_id: 1 + (r.response_id.split("-")[1] == "s") for r in item.responses}
    judge(measured, item.prompt_id, ranks)
    found = Experiments(measured).result("e")
    assert found.judged == 1
    met = found.meeting("a", "start")
    assert met is not None
    assert (met.rate, met.prompts) == (1.0, 1)
    assert ask(measured, judging.projects, "e", "ana").tasks == PROMPTS  # again: nothing new
    with pytest.raises(UsageError, match="given by the experiment"):
        project(parse(text.replace("responses = 9", 'policies = ["x"]'), "It"), "ana")


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
SCALE = st.lists(WORDS, min_size=2, max_size=4, unique=True)


@given(
    criteria=st.dictionaries(WORDS, SCALE, min_size=1, max_size=3),
    people=st.sampled_from(["others", "same"]),
    annotators=st.lists(WORDS, min_size=1, max_size=3, unique=True),
    prompts=WORDS,
)
def test_what_people_are_asked_is_read_back_as_the_experiment_says_it(
    criteria: dict[str, list[str]], people: str, annotators: list[str], prompts: str
) -> None:
    judging: dict[str, Any] = {
        "annotators": annotators,
        "criteria": criteria,
        "crossed": {"way": "rate", "people": people, "days": 1.5},
        "gold": {"answers": [{"prompt": prompts, "ranking": ["a", ["b", "c"]]}]},
    }
    file = RunFile(
        "e",
        {"ppo": {}},
        "people",
        (0,),
        {"policy": "base", "reward_model": "rm"},
        {"prompts": prompts},
        judging,
    )
    made, text = project(file, "ana")
    assert made.crossed == Crossed("rate", people, 1.5)  # type: ignore[arg-type]
    assert made.criteria == {name: tuple(words) for name, words in criteria.items()}
    assert made.prompts.source == prompts
    policies = ["base", "e ppo 0"]
    expected = {"name": "e", **judging, "policies": policies, "prompts": {"source": prompts}}
    assert tomllib.loads(text) == expected


@given(WORDS)
def test_any_text_is_a_string_of_toml(text: str) -> None:
    assert tomllib.loads(f"it = {quoted(text)}") == {"it": text}


def test_reward_models_and_the_best_of_n_have_figures_of_their_own(store: Store, tmp_path: Path) -> None:
    experiments.put(store, "w", WHOLE, "ai:one")
    given = (
        ("scorer", "train", "reward", "reward-1", {}, {"heldout/accuracy": 0.75, "heldout/log_loss": 0.5}),
        ("best", "sample", "best_of_n", "best_of_n-1", {"policy": "base"}, {"bon/kl": 0.6, "bon/proxy": 2.0}),
        ("dpo", "train", "dpo", "dpo-1", {"policy": "base"}, {"heldout/accuracy": 0.9}),
        ("start", "sample", "generate", "generate-1", {"policy": "base"}, {}),
    )
    rows = []
    for number, (arm, role, kind, run_id, settings, metrics) in enumerate(given):
        runs.insert_run(store, run_id, kind, settings)
        runs.update_run(store, run_id, status="done")
        experiments.add_run(store, "w", arm, 0, role, run_id, settings)
        rows += [(run_id, number, 4, name, value, datetime(2026, 1, 1)) for name, value in metrics.items()]
    runs.insert_metrics(store, rows)
    found = {arm.arm: arm for arm in Experiments(store).result("w").arms}
    scorer, best, dpo = found["scorer"], found["best"], found["dpo"]
    assert scorer.is_reward_model
    assert scorer.accuracy is not None
    assert scorer.log_loss is not None
    assert (scorer.accuracy.mean, scorer.log_loss.mean) == (0.75, 0.5)
    assert best.kl is not None
    assert best.objective is not None
    assert (best.kind, best.kl.mean, best.objective.mean) == ("best_of_n", 0.6, 2.0)
    assert dpo.accuracy is None  # that of its implicit reward is another figure
    text = markdown(Experiments(store).result("w"), [])
    assert "## Reward models" in text
    assert "| scorer | reward | 1 of 1 | 0.75 | 0.50 | – |" in text
