"""Experiments from the command line: a file to fill in, what would run and what came of it; lost prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import artifacts, prompts, responses, scores
from storage.records import NewScore
from storage.store import Store
from tests.fakes import tiny_model_folder, tiny_reward_folder
from tests.storage.builders import add_prompt, add_responses, judge
from tests.workbench.cli.shell import Shell
from workbench.services.statistics import wilson_interval

RUN_FILE = """
name = "tiny"
seeds = [0]
judge = "gold"
[settings]
policy = "{model}"
device = "cpu"
dtype = "float32"
rewards = ["tests.benchmarks.methods:ascii_share"]
max_new_tokens = 6
steps = 2
tuning = "full"
learning_rate = 0.01
prompts_per_step = 2
samples = 4
trace_every = 0
[sample]
max_new_tokens = 6
samples = 2
[methods.grpo]
"""


def test_a_file_is_written_tried_and_shown(workbench: Shell) -> None:
    assert workbench("experiment", "init", "first.toml").stdout.strip() == "first.toml"
    refused = workbench("experiment", "run", "first.toml", "--dry-run")
    assert "[methods] ppo: Still needed" in refused.stderr or "reward" in refused.stderr
    file = workbench.folder / "first.toml"
    file.write_text(file.read_text().replace("# reward_model", "reward_model"))
    planned = workbench.json("experiment", "run", "first.toml", "--dry-run")
    assert isinstance(planned, list)
    assert [(row["arm"], row["seed"], row["role"]) for row in planned[:3]] == [
        ("start", 0, "sample"),
        ("start", 0, "score"),
        ("ppo", 0, "train"),
    ]
    done = workbench("experiment", "run", "first.toml")
    assert done.returncode != 0
    assert "There is no reward model “gold”" in done.stderr
    assert workbench.json("experiment", "list") == []
    assert "There is no experiment “x”" in workbench("experiment", "show", "x").stderr
    assert "There is no experiment “x”" in workbench("report", "experiment", "x").stderr


def test_prompts_that_a_policy_lost_on_are_listed_the_worst_first(workbench: Shell) -> None:
    with Store.open(workbench.folder / "store.duckdb") as store:
        store.write(
            "INSERT INTO artifacts (artifact_id, kind, name, path) VALUES ('f', 'reward_model', 'rm', '/rm')"
        )
        model = artifacts.reward_model(store, "rm").reward_model_id
        ids = prompts.add_many(
            store, [[{"role": "user", "content": f"Say {n}"}] for n in range(3)], source="s"
        )
        for prompt, (now, before) in zip(ids, ((0, 1), (2, 1), (-4, 1)), strict=True):
            for policy, score in (("now", now), ("before", before)):
                response = responses.add(store, prompt, policy, f"{policy} " * (score + 6))
                scores.upsert(store, [NewScore(response, model, score, "torch-float32")])
    lost = workbench.json("compare", "now", "before", "-r", "rm", "--lost")
    assert isinstance(lost, list)
    assert [(row["text"], row["share"], row["margin"]) for row in lost] == [
        ("Say 2", 0.0, -5.0),
        ("Say 0", 0.0, -1.0),
    ]
    assert [row["cluster"] for row in lost] == [None, None]  # two prompts are like no others
    assert "Lost on 2 of 3 prompts" in workbench("compare", "now", "before", "-r", "rm", "--lost").stderr
    assert "lost on no prompt" in workbench("compare", "now", "before", "--lost").stderr


def test_kinds_of_prompts_that_were_lost_are_told_with_how_sure_that_is(workbench: Shell) -> None:
    """Of four recipes three are lost, of four of other kinds none: three of four may be chance."""
    asked = [f"Write a recipe for {dish} soup." for dish in ("leek", "onion", "bean", "beet")]
    asked += ["Why is the sky blue?", "Name a river.", "Fix this loop.", "Who wrote Faust?"]
    with Store.open(workbench.folder / "store.duckdb") as store:
        store.write(
            "INSERT INTO artifacts (artifact_id, kind, name, path) VALUES ('f', 'reward_model', 'rm', '/rm')"
        )
        model = artifacts.reward_model(store, "rm").reward_model_id
        ids = prompts.add_many(store, [[{"role": "user", "content": text}] for text in asked], source="s")
        for number, prompt in enumerate(ids):
            for policy, score in (("now", float(number > 2)), ("before", 0.5)):
                response = responses.add(store, prompt, policy, f"{policy} says {number}")
                scores.upsert(store, [NewScore(response, model, score, "torch-float32")])
    told = workbench("compare", "now", "before", "-r", "rm", "--lost")
    assert "Lost on 3 of 8 prompts" in told.stderr
    (kind,) = [line for line in told.stdout.splitlines() if "recipe, " in line]
    low, high = wilson_interval(3, 4)
    assert kind.split()[:4] == ["1", "4", "3", f"{100 * low:.0f}%"]
    assert f"{100 * high:.0f}%" in kind
    lost = workbench.json("compare", "now", "before", "-r", "rm", "--lost")
    assert isinstance(lost, list)
    assert [row["cluster"] for row in lost] == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine takes a minute to load torch, once a run
def test_an_experiment_runs_and_its_figures_stand_in_a_report(workbench: Shell, tmp_path: Path) -> None:
    """With real workers: a method and its start on a tiny model, judged by a reward model that it never saw.

    Each run is a process that loads torch, most of what it takes: so there are no more than are looked at.
    """
    pytest.importorskip("torch")
    from tests.engine.training.fixtures import talkative

    model = talkative(tmp_path / "talkative", tiny_model_folder(tmp_path))
    gold = tiny_reward_folder(tmp_path / "gold", seed=5)
    with Store.open(workbench.folder / "store.duckdb") as store:
        prompts.add_many(
            store, [[{"role": "user", "content": f"Say {n}"}] for n in range(4)], source="prompts"
        )
        store.write(
            "INSERT INTO artifacts (artifact_id, kind, name, path) VALUES ('g', 'reward_model', 'gold', ?)",
            [str(gold)],
        )
    (workbench.folder / "tiny.toml").write_text(RUN_FILE.format(model=model))
    done = workbench("experiment", "run", "tiny.toml")
    assert done.returncode == 0, done.stderr
    found = workbench.json("experiment", "show", "tiny")
    assert isinstance(found, dict)
    assert [arm["arm"] for arm in found["arms"]] == ["start", "grpo"]
    assert found["runs"] == found["done"] == 2 + 3
    start, grpo = found["arms"]
    assert start["kl"]["mean"] == 0.0
    assert grpo["kl"]["mean"] > 0.0
    assert (grpo["gain"]["prompts"], grpo["wins"]["prompts"]) == (4, 4)
    assert grpo["objective"]["mean"] > 0
    again = workbench("experiment", "run", "tiny.toml")
    assert "0 runs queued, 0 resumed, 5 there already" in again.stderr
    files = workbench("report", "experiment", "tiny").stdout.split()
    assert files == ["tiny/gain.svg", "tiny/kl.svg", "tiny/report.md", "tiny/wins.svg"]
    assert "grpo" in (workbench.folder / "tiny" / "report.md").read_text()


def longer(prompt: str, first: str, second: str, criterion: str) -> float:
    """A judge: the longer answer is the better one."""
    return 0.5 + 0.5 * ((len(first) > len(second)) - (len(first) < len(second)))


WHOLE_FILE = """
name = "whole"
seeds = [0]
judge = "ai:longer"
[settings]
policy = "{model}"
device = "cpu"
dtype = "float32"
reward_model = "scorer"
max_new_tokens = 6
[sample]
max_new_tokens = 6
samples = 2
[judging]
by = "function"
function = "tests.workbench.cli.test_experiments:longer"
[methods.scorer]
method = "reward"
folds = 2
[methods."best of four"]
method = "best_of_n"
samples = 4
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine takes a minute to load torch, once a run
def test_a_file_trains_its_reward_model_and_has_answers_judged_by_a_model(
    workbench: Shell, tmp_path: Path
) -> None:
    """With real workers: a reward model, the best of four by it, and a judge of pairs."""
    pytest.importorskip("torch")
    from tests.engine.training.fixtures import talkative

    model = talkative(tmp_path / "talkative", tiny_model_folder(tmp_path))
    with Store.open(workbench.folder / "store.duckdb") as store:
        for number in range(8):
            prompt = add_prompt(store, f"Say {number}")
            a, b = add_responses(store, prompt, "aaa " * (1 + number % 3), "b" * (1 + number))
            judge(store, prompt, {a: 1, b: 2})
    (workbench.folder / "whole.toml").write_text(WHOLE_FILE.format(model=model))
    done = workbench("experiment", "run", "whole.toml")
    assert done.returncode == 0, done.stderr
    found = workbench.json("experiment", "show", "whole")
    assert isinstance(found, dict)
    assert found["runs"] == found["done"] == 1 + 1 + 2
    arms = {arm["arm"]: arm for arm in found["arms"]}
    assert 0 <= arms["scorer"]["accuracy"]["mean"] <= 1
    assert arms["best of four"]["kl"]["mean"] == pytest.approx(0.6363, abs=1e-3)
    assert arms["best of four"]["wins"]["prompts"] in range(1, 9)
    with Store.open(workbench.folder / "store.duckdb") as store:
        said = store.rows("SELECT DISTINCT annotator FROM current_judgements WHERE annotator_kind = 'ai'")
        assert said == [("ai:longer",)]
