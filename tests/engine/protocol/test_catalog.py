"""The catalog: what a form asks, and what it makes of the answers."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.protocol.building import build, build_typed, idle_fields
from engine.protocol.catalog import JOBS, JobKind, find_job, job_kind
from engine.protocol.configs import ExportConfig, GenerateConfig, JobConfig, PPOConfig, RewardConfig
from engine.protocol.configs.needs import RankingTable
from engine.protocol.fields import fields

REQUIRED = {
    "register": {"name": "theirs", "model": "org/name"},
    "generate": {"policy": "smollm2"},
    "reward": {"name": "rm"},
    "process_reward": {"name": "prm"},
    "sft": {"name": "better"},
    **{kind: {"name": "better"} for kind in ("dpo", "simpo", "cpo", "orpo", "kto")},
    **{
        kind: {"name": "better", "reward_model": "rm"}
        for kind in ("ppo", "grpo", "rloo", "online_dpo", "nash_md", "best_of_n")
    },
    "export": {"reward_model": "rm"},
    "score": {"reward_model": "rm"},
    "judge": {},
    "overoptimise": {"gold": "rm"},
}


@pytest.mark.parametrize("kind", JOBS)
def test_every_field_is_described_and_its_default_reads_back(kind: str) -> None:
    config = JOBS[kind].config
    described = fields(config)
    assert {field.name for field in described} == set(config.__struct_fields__)
    assert all(field.description for field in described)
    typed = {field.name: field.format(field.default) for field in described if not field.required}
    assert build(config, typed | REQUIRED[kind]) == config(**REQUIRED[kind])


def test_bounds_choices_and_order() -> None:
    described = {field.name: field for field in fields(GenerateConfig)}
    assert (described["samples"].minimum, described["samples"].maximum) == (1, 64)
    assert described["top_p"].exclusive_minimum
    assert not described["top_p"].exclusive_maximum
    assert described["template"].choices == ("chat", "plain")
    assert described["policy"].required
    assert next(iter(fields(GenerateConfig))).name == "policy"
    assert [field.name for field in fields(GenerateConfig)][-4:] == ["seed", "device", "dtype", "on"]


def test_typed_text_becomes_a_configuration() -> None:
    config = build(
        PPOConfig,
        {
            "name": "p",
            "reward_model": "rm",
            "steps": " 1_000 ",
            "beta": "1e-2",
            "whiten_advantages": "No",
            "clip": "",
        },
    )
    assert isinstance(config, PPOConfig)
    assert (config.steps, config.beta, config.whiten_advantages, config.clip) == (1000, 0.01, False, 0.2)


@given(st.lists(st.text(min_size=1, max_size=8), max_size=4))
def test_stop_strings_read_back(stop: list[str]) -> None:
    field = next(field for field in fields(GenerateConfig) if field.name == "stop")
    config = build(GenerateConfig, {"policy": "p", "stop": field.format(tuple(stop))})
    assert isinstance(config, GenerateConfig)
    assert config.stop == tuple(stop)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"policy": "p", "temprature": "1"}, "There is no setting “temprature”. Did you mean “temperature”?"),
        ({}, "Still needed: policy (Policy by name"),
        (
            {"policy": "p", "samples": "0"},
            "samples must be a whole number of at least 1 and at most 64, not “0”.",
        ),
        ({"policy": "p", "samples": "2.5"}, "samples must be a whole number"),
        ({"policy": "p", "top_p": "0"}, "top_p must be a number above 0 and at most 1, not “0”."),
        ({"policy": "p", "temperature": "nan"}, "temperature must be a number"),
        (
            {"policy": "p", "template": "chart"},
            "template must be one of chat, plain, not “chart”. Did you mean “chat”?",
        ),
        ({"policy": 3}, "policy must be a text, not “3”."),
        ({"policy": "p", "device": "tpu"}, "device must be auto, cpu, cuda, cuda:N or mps, not “tpu”."),
    ],
)
def test_wrong_answers_get_a_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(GenerateConfig, values)
    assert str(caught.value).startswith(sentence)


def test_kinds_of_annotators_are_chosen_by_name() -> None:
    """Models that judge are learned from only where somebody says so."""

    def learned(**values: str) -> tuple[str, ...] | None:
        table = build(RewardConfig, {"name": "r", **values}).inputs().tables["rankings"]
        assert isinstance(table, RankingTable)
        assert not table.of_run
        return table.kinds

    assert learned() == RankingTable(None).kinds == ("human", "import", "rule")
    assert learned(annotator_kinds="human,ai") == ("human", "ai")
    with pytest.raises(
        UsageError, match="must be kinds of annotators: human, import, rule, ai, not “human, robot”"
    ):
        learned(annotator_kinds="human,robot")


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
def test_numbers_must_be_finite(value: str) -> None:
    with pytest.raises(UsageError, match="learning_rate"):
        build(RewardConfig, {"name": "r", "learning_rate": value})


@pytest.mark.parametrize("name", ["../up", "a/b", "a\nb", "\x1b[31m", "x" * 81, "-x"])
def test_names_hold_nothing_strange(name: str) -> None:
    with pytest.raises(UsageError, match="name must be a name of letters"):
        build(RewardConfig, {"name": name})


@pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.kind)
def test_every_job_has_its_module(job: JobKind) -> None:
    assert importlib.util.find_spec(job.module) is not None


@pytest.mark.parametrize("kind", JOBS)
def test_a_configuration_says_what_it_reads_and_what_it_costs(kind: str) -> None:
    config = build(JOBS[kind].config, REQUIRED[kind])
    inputs = config.inputs()
    assert bool(inputs.tables) == (kind != "register")  # which reads a model alone
    assert inputs.policy == getattr(config, "policy", None)
    assert set(inputs.reward_models.values()) == (
        {"rm"} if {"reward_model", "gold"} & set(REQUIRED[kind]) else set()
    )
    learns = JOBS[kind].trains or kind == "overoptimise"  # whose policies are measured and not kept
    assert bool(config.cost().tuning) == learns


class SilentConfig(JobConfig, frozen=True, kw_only=True):
    """Of a job that somebody has forgotten to describe."""


def test_a_configuration_that_does_not_say_it_is_refused() -> None:
    with pytest.raises(UsageError, match=r"SilentConfig does not say what the job reads"):
        SilentConfig().inputs()
    with pytest.raises(UsageError, match=r"SilentConfig does not say what the job costs"):
        SilentConfig().cost()


def test_kinds_are_found_by_name_and_by_configuration() -> None:
    assert find_job("ppo").config is PPOConfig
    assert job_kind(ExportConfig(reward_model="r")).kind == "export"
    with pytest.raises(UsageError, match="Did you mean “generate”"):
        find_job("genrate")


@pytest.mark.parametrize("kind", JOBS)
def test_rules_name_fields_that_there_are_and_leave_the_needed_ones(kind: str) -> None:
    config = JOBS[kind].config
    known = {field.name: field for field in fields(config)}
    for rule in config.rules():
        assert set(rule.fields) <= known.keys()
        assert not any(known[name].required for name in rule.fields)
        assert rule.why
    assert "name" not in idle_fields(config, {})


@pytest.mark.parametrize(
    ("kind", "values", "idle"),
    [
        ("reward", {"label_smoothing": "0.1"}, "label_smoothing"),  # a frozen trunk is the default
        ("reward", {"centring": "0.5"}, "centring"),
        ("reward", {"lm_coefficient": "0.5"}, "lm_coefficient"),
        ("reward", {"tuning": "lora", "objective": "davidson", "margin": "1"}, "margin"),
        ("reward", {"tuning": "full", "objective": "rating", "centring": "1"}, "centring"),
        ("reward", {"tuning": "full", "tie": "1"}, "tie"),
        ("reward", {"tuning": "full", "lora_rank": "8"}, "lora_rank"),
        ("reward", {"tuning": "full", "budget_minutes": "8"}, "budget_minutes"),
        ("reward", {"tuning": "lora", "length": "controlled"}, "length"),
        ("dpo", {"loss": "ipo", "label_smoothing": "0.1"}, "label_smoothing"),
        ("dpo", {"tie": "0.5"}, "tie"),
        ("dpo", {"loss": "ipo", "length_penalty": "0.1"}, "length_penalty"),
        ("kto", {"threshold": "3"}, "threshold"),
        ("sft", {"learn_from": "responses", "annotator": "ana"}, "annotator"),
        ("ppo", {"reward_model": "r", "kl": "fixed", "kl_target": "3"}, "kl_target"),
        ("grpo", {"reward_model": "r", "multiplier": "3"}, "multiplier"),
        ("generate", {"policy": "p", "temperature": "0", "top_p": "0.9"}, "top_p"),
        ("export", {"reward_model": "r", "dtype": "bfloat16"}, "dtype"),
        ("score", {"reward_model": "r", "seed": "4"}, "seed"),
        ("judge", {"endpoint": "http://localhost/v1"}, "endpoint"),
        ("judge", {"by": "function", "function": "a:b", "rubric": "x.md"}, "rubric"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(kind: str, values: dict[str, str], idle: str) -> None:
    config = JOBS[kind].config
    values = ({"name": "x"} if "name" in config.__struct_fields__ else {}) | values
    with pytest.raises(UsageError, match=rf"Leave out what would be ignored: {idle} \("):
        build(config, values)
    build(config, {name: value for name, value in values.items() if name != idle})
    assert idle in idle_fields(config, values)


def test_an_objective_that_a_frozen_trunk_does_not_have_is_refused_and_a_stored_one_still_read() -> None:
    values = {"name": "r", "objective": "plackett_luce"}
    with pytest.raises(UsageError, match="On a frozen trunk the objective is bradley_terry"):
        build(RewardConfig, values)
    assert build(RewardConfig, values | {"tuning": "full"})
    assert build_typed(RewardConfig, values)
