"""Experiments: run files, what is queued of them and when, and figures that can be counted by hand."""

from __future__ import annotations

import math
import random
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.protocol.configs import (
    GenerateConfig,
    GRPOConfig,
    PPOConfig,
    ScoreConfig,
)
from storage import artifacts, experiments, policies, runs, scores
from storage.errors import NotFoundError
from storage.records import NewScore
from storage.store import Store
from tests.storage.builders import add_prompt, judge
from tests.workbench.services.job_helpers import model_folder, until
from workbench.services.experiments.planning import arms, plan
from workbench.services.experiments.report import charts, markdown, write_report
from workbench.services.experiments.results import Experiments, estimate_text
from workbench.services.experiments.run_file import parse, write_template
from workbench.services.experiments.running import queue
from workbench.services.runs.jobs import Jobs
from workbench.services.statistics import over_seeds_and_prompts, t_quantile

FILE = """
name = "first"
seeds = [0, 3]
judge = "gold"

[settings]
policy = "smollm2"
reward_model = "proxy"
steps = 20
beta = 1
baseline = "others"

[sample]
prompts = "held-out"
samples = 2

[methods.ppo]

[methods."no scale"]
method = "grpo"
scale_advantages = false
steps = 5

[methods.dpo.grid]
beta = [0.05, 0.1]
"""


def test_a_run_file_unfolds_into_arms_seeds_and_roles() -> None:
    file = parse(FILE, "The file")
    found = {arm.name: (arm.kind, dict(arm.values)) for arm in arms(file)}
    assert list(found) == ["start", "ppo", "no scale", "dpo beta 0.05", "dpo beta 0.1"]
    assert found["start"] == ("", {})
    # `baseline` is no setting of PPO; DPO has neither steps nor a reward model.
    assert found["ppo"] == (
        "ppo",
        {"policy": "smollm2", "reward_model": "proxy", "steps": 20, "beta": 1},
    )
    assert found["no scale"][1]["baseline"] == "others"
    assert found["no scale"][1]["steps"] == 5
    assert found["dpo beta 0.05"] == ("dpo", {"policy": "smollm2", "beta": 0.05})
    runs = plan(file)
    assert len(runs) == 2 * (2 + 4 * 3)
    assert [run.role for run in runs[:5]] == ["sample", "score", "train", "sample", "score"]
    trained = next(run.config for run in runs if (run.arm, run.seed, run.role) == ("ppo", 3, "train"))
    assert isinstance(trained, PPOConfig)
    assert (trained.name, trained.seed, trained.beta) == ("first ppo 3", 3, 1.0)
    sampled = next(run.config for run in runs if (run.arm, run.seed, run.role) == ("ppo", 3, "sample"))
    assert sampled == GenerateConfig(
        policy="first ppo 3", prompts="held-out", samples=2, seed=3, kl_to="smollm2"
    )
    assert {run.config for run in runs if run.role == "score"} == {
        ScoreConfig(reward_model="gold", prompts="held-out")
    }


def test_a_shared_setting_that_means_nothing_to_a_method_is_not_given_to_it() -> None:
    text = FILE.replace("scale_advantages = false\n", "")  # scaling takes the difference of baselines away
    config = next(run.config for run in plan(parse(text, "The file")) if run.kind == "grpo")
    assert isinstance(config, GRPOConfig)
    assert config.baseline == "group"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "first"', 'name = "a/b"', "name must be up to 40 letters"),
        ('name = "first"', 'nam = "first"', "unknown key “nam”. Did you mean"),
        ("seeds = [0, 3]", "seeds = [0, 0]", "seeds must be different whole numbers"),
        ("seeds = [0, 3]", "seeds = []", "seeds must be different"),
        ("seeds = [0, 3]", 'seeds = "0"', "expected array, got str at seeds"),
        ("[methods.ppo]", "[methods.pppo]", "there is no method “pppo”. Did you mean “ppo”"),
        ("[methods.ppo]", "[methods.score]", "there is no method “score”"),
        ("[methods.ppo]", "[methods.best_of_n]\nmax_new_tokens = 5", "max_new_tokens is that of .sample."),
        ("[sample]", "[judging]\noverlap = 1\n[sample]", "judging. is for judge people or ai:NAME"),
        ("steps = 20", "stesp = 20", "no method here has “stesp”. Did you mean “steps”"),
        ("steps = 5", "stesp = 5", "no scale: There is no setting “stesp”"),
        ("steps = 5", 'steps = "many"', "no scale: .*steps"),
        ("steps = 5", "seed = 5", "seed is given by the experiment"),
        ("samples = 2", "policy = 'x'", "policy is given by the experiment"),
        ("beta = [0.05, 0.1]", "beta = 0.05", "grid must hold a list of values"),
        ("beta = [0.05, 0.1]", "beta = [0.1, 0.1]", "Two arms are called “dpo beta 0.1”"),
        ('judge = "gold"', 'judge = "proxy"', "ppo learns from “proxy”, which is to judge"),
        ('judge = "gold"', 'judge = " "', "judge must name"),
        ('name = "first"', "name = ", "is not valid TOML"),
    ],
)
def test_a_run_file_that_cannot_be_run_is_refused_in_a_sentence(old: str, new: str, says: str) -> None:
    assert old in FILE
    with pytest.raises(UsageError, match=says):
        plan(parse(FILE.replace(old, new), "The file"))


def test_the_template_is_a_run_file_once_it_names_a_reward_model(tmp_path: Path) -> None:
    path = tmp_path / "first try!.toml"
    write_template(path)
    file = parse(path.read_text().replace("# reward_model", "reward_model"), "It")
    assert (file.name, [arm.name for arm in arms(file)]) == ("first try-", ["start", "ppo"])
    with pytest.raises(UsageError, match="is there already"):
        write_template(path)


@pytest.fixture
def small(tmp_path: Path, jobs: Jobs) -> str:
    """A run file of fake jobs, which people judge."""
    policy = model_folder(tmp_path, "responses")
    return f"""
name = "small"
seeds = [0, 1]
judge = "people"
[settings]
policy = "{policy}"
reward_model = "rm"
[methods.ppo]
steps = 2
"""


def run_all(jobs: Jobs, ids: tuple[str, ...]) -> list[str]:
    return [jobs.wait(run_id).status for run_id in ids]


def test_the_same_file_again_repeats_nothing_and_goes_on_with_what_stopped(
    store: Store, jobs: Jobs, small: str
) -> None:
    file = parse(small, "It")
    first = queue(store, jobs, file, small)
    assert len(first.new) == len(first.runs) == 2 * (1 + 2)
    again = queue(store, jobs, file, small)
    assert (again.new, again.resumed, again.runs) == ((), (), first.runs)
    jobs.stop(first.runs[1])  # the first training, before it began
    until(lambda: not jobs.unfinished() or (jobs.pump(), False)[1])
    by_id = {run.run_id: run.status for run in jobs.list()}
    assert by_id[first.runs[1]] == "stopped"
    assert by_id[first.runs[2]] == "failed"  # its policy is not there
    assert sum(status == "done" for status in by_id.values()) == 4
    third = queue(store, jobs, file, small)
    assert third.resumed == first.runs[1:3]
    assert run_all(jobs, third.runs) == ["done"] * 6
    assert queue(store, jobs, file, small).standing == first.runs
    assert len(jobs.list()) == 6
    found = Experiments(store).result("small")
    assert [(arm.arm, arm.kind, arm.done) for arm in found.arms] == [("start", "", 2), ("ppo", "ppo", 2)]
    assert found.arms[1].objective is not None
    assert found.arms[1].objective.mean == 2.0
    assert found.arms[1].seconds is not None
    with pytest.raises(NotFoundError, match="did you mean “small”"):
        Experiments(store).result("smal")


def test_a_new_seed_or_method_is_added_and_a_changed_setting_refused(
    store: Store, jobs: Jobs, small: str
) -> None:
    queue(store, jobs, parse(small, "It"), small)
    more = small.replace("[0, 1]", "[0, 1, 2]") + '[methods.longer]\nmethod = "ppo"\nsteps = 4\n'
    added = queue(store, jobs, parse(more, "It"), more)
    assert (len(added.new), len(added.standing)) == (3 + 3 * 2, 6)
    other = small.replace("steps = 2", "steps = 3")
    before = jobs.list()
    with pytest.raises(UsageError, match=r"ppo, seed 0, was run with steps 2 .* and the file says 3"):
        queue(store, jobs, parse(other, "It"), other)
    assert jobs.list() == before
    assert experiments.by_name(store, "small").text == more


def test_nothing_is_queued_of_a_file_with_an_unknown_model(store: Store, jobs: Jobs, small: str) -> None:
    text = small.replace('"rm"', '"rn"')
    with pytest.raises(UsageError, match="There is no reward model “rn”"):
        queue(store, jobs, parse(text, "It"), text)
    assert jobs.list() == []
    assert experiments.listed(store) == []


# Figures

PROMPTS = 6


@pytest.fixture
def measured(store: Store) -> Store:
    """An experiment of two arms and their start, two seeds, six prompts, two responses each, scored."""
    luck = random.Random(4)
    prompts = [add_prompt(store, f"Say {n}") for n in range(PROMPTS)]
    experiments.put(store, "e", 'name = "e"', "rm")
    given: list[NewScore] = []
    model = artifacts.reward_model(store, "rm").reward_model_id
    for arm, lift in (("start", 0.0), ("a", 1.0), ("b|<i>", -0.5)):
        for seed in (0, 1):
            name = "base" if arm == "start" else f"e {arm} {seed}"
            policy = policies.ensure(store, name)
            sampled = f"generate-{arm[0]}{seed}"
            if arm != "start":
                config = {"policy": "base", "name": name, "seed": seed, "clip": lift}
                runs.insert_run(store, f"ppo-{arm[0]}{seed}", "ppo", config)
                runs.update_run(store, f"ppo-{arm[0]}{seed}", status="done")
                experiments.add_run(store, "e", arm, seed, "train", f"ppo-{arm[0]}{seed}", config)
            runs.insert_run(store, sampled, "generate", {"policy": name})
            runs.update_run(store, sampled, status="done")
            experiments.add_run(store, "e", arm, seed, "sample", sampled, {"policy": name, "seed": seed})
            for prompt, k in product(prompts, range(2)):
                response = f"r-{arm[0]}-{seed}-{prompt}-{k}"
                store.write(
                    "INSERT INTO responses (response_id, prompt_id, policy_id, run_id, sample_index, text, "
                    "token_ids) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [response, prompt, policy, sampled, k, f"{arm} {seed} {k}", list(range(3 + k))],
                )
                given.append(NewScore(response, model, lift + luck.gauss(0, 1), "torch-float32"))
    scores.upsert(store, given)
    return store


def by_hand(store: Store, one: str, other: str) -> tuple[float, float]:
    """Win rate and difference in score of two arms, seed by seed and prompt by prompt."""
    table: dict[tuple[str, int, str], list[float]] = {}
    for response, score in store.rows("SELECT response_id, score FROM scores ORDER BY 1"):
        arm, seed, prompt = response.removeprefix("r-").rsplit("-", 1)[0].split("-", 2)
        table.setdefault((arm, int(seed), prompt), []).append(score)
    won, apart = [], []
    for (arm, seed, prompt), ours in table.items():
        if arm == one:
            theirs = table[other, seed, prompt]
            won.append(sum((x > y) + (x == y) / 2 for x, y in product(ours, theirs)) / 4)
            apart.append(sum(ours) / 2 - sum(theirs) / 2)
    return sum(won) / len(won), sum(apart) / len(apart)


def test_figures_are_those_counted_by_hand(measured: Store) -> None:
    found = Experiments(measured).result("e")
    assert [arm.arm for arm in found.arms] == ["start", "a", "b|<i>"]
    rate, gain = by_hand(measured, "a", "s")
    arm = found.arms[1]
    assert arm.wins is not None
    assert arm.gain is not None
    assert (arm.wins.rate, arm.gain.mean) == pytest.approx((rate, gain))
    assert (arm.gain.seeds, arm.gain.prompts, arm.wins.pairs) == (2, PROMPTS, 2 * PROMPTS * 4)
    assert arm.tokens is not None
    assert arm.tokens.mean == 3.5
    met, back = found.meeting("a", "b|<i>"), found.meeting("b|<i>", "a")
    assert met is not None
    assert back is not None
    assert met.rate == pytest.approx(by_hand(measured, "a", "b")[0])
    assert (back.rate, back.low, back.high) == pytest.approx((1 - met.rate, 1 - met.high, 1 - met.low))
    assert found.differing == {"clip": {"a": 1.0, "b|<i>": -0.5}}
    assert found.arms[0].gain is None
    assert found.arms[0].reward is not None


def test_people_may_judge_what_a_model_judged_before(measured: Store) -> None:
    prompt = measured.rows("SELECT min(prompt_id) FROM experiment_responses")[0][0]
    judge(measured, prompt, {f"r-a-0-{prompt}-0": 1, f"r-s-1-{prompt}-0": 2, f"r-b-0-{prompt}-1": 2})
    found = Experiments(measured).result("e", "people")
    met = found.meeting("a", "start")
    assert met is not None
    assert (met.rate, met.pairs, met.prompts) == (1.0, 1, 1)
    tied = found.meeting("b|<i>", "start")
    assert tied is not None
    assert tied.rate == 0.5
    assert found.arms[1].reward is None
    nobody = Experiments(measured).result("e", "ai:nobody")
    assert nobody.meetings == ()
    assert any("Nothing has been compared by ai:nobody yet" in note for note in nobody.notes)


def test_the_report_is_markdown_with_pictures_and_names_are_no_markup(
    measured: Store, tmp_path: Path
) -> None:
    found = Experiments(measured).result("e")
    files = write_report(found, tmp_path / "report")
    assert [file.name for file in files] == ["gain.svg", "report.md", "wins.svg"]
    text = files[1].read_text()
    assert "b\\|\\<i\\>" in text
    assert "<i>" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables[:5]} == {11}
    for name, picture in charts(found).items():
        assert f"![{name}]({name}.svg)" in text
        root = ElementTree.fromstring(picture)
        assert any(node.text == "b|<i>" for node in root.iter())
    assert markdown(found, []).count("![") == 0


# Intervals


@pytest.mark.parametrize(("degrees", "t"), [(1, 12.706), (2, 4.303), (5, 2.571), (30, 2.042), (1e9, 1.960)])
def test_quantiles_of_t_are_those_of_the_tables(degrees: float, t: float) -> None:
    assert t_quantile(degrees) == pytest.approx(t, abs=5e-4)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.integers(2, 4))
def test_seeds_that_do_not_differ_leave_the_interval_of_the_prompts(values: list[float], seeds: int) -> None:
    found = over_seeds_and_prompts({(s, str(p)): v for s in range(seeds) for p, v in enumerate(values)})
    alone = over_seeds_and_prompts({(0, str(p)): v for p, v in enumerate(values)})
    assert found is not None
    assert alone is not None
    assert (found.mean, found.low, found.high) == pytest.approx((alone.mean, alone.low, alone.high), abs=1e-6)


@given(st.dictionaries(st.tuples(st.integers(0, 2), st.sampled_from("abcd")), st.floats(-5, 5), min_size=1))
def test_an_interval_holds_its_mean_and_moves_with_the_values(values: dict[tuple[int, str], float]) -> None:
    found = over_seeds_and_prompts(values)
    moved = over_seeds_and_prompts({key: 2 * value + 1 for key, value in values.items()})
    if found is None:  # no prompt has every seed
        assert moved is None
        return
    assert moved is not None
    assert moved.mean == pytest.approx(2 * found.mean + 1, abs=1e-9)
    if found.low is None or found.high is None or moved.low is None:
        assert found.seeds * found.prompts == 1
        return
    assert found.low <= found.mean <= found.high
    assert math.isclose(moved.low, 2 * found.low + 1, rel_tol=1e-6, abs_tol=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    luck = random.Random(1)
    for seed_spread in (0.0, 0.5):
        held = 0
        for _ in range(200):
            of_seed = [luck.gauss(0, seed_spread) for _ in range(3)]
            of_prompt = [luck.gauss(0, 1) for _ in range(12)]
            cells = {
                (s, str(p)): a + b + luck.gauss(0, 1)
                for (s, a), (p, b) in product(enumerate(of_seed), enumerate(of_prompt))
            }
            found = over_seeds_and_prompts(cells)
            assert found is not None
            held += (found.low or 0) < 0 < (found.high or 0)
        assert held >= 178  # 190 of 200 are meant, with a standard deviation of 3


def test_a_figure_without_an_interval_has_none_in_words() -> None:
    assert estimate_text(over_seeds_and_prompts({(0, "a"): 1.25})) == "1.25"
    assert estimate_text(None) == "–"
