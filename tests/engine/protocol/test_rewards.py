"""Components of a reward as a person writes them, and settings that contradict each other."""

from typing import Any

import pytest

from engine.errors import UsageError
from engine.protocol.building import build, check_field
from engine.protocol.configs import (
    BestOfNConfig,
    DPOConfig,
    GRPOConfig,
    PPOConfig,
    RLOOConfig,
    SFTConfig,
)
from engine.protocol.rewards import Component, Ensemble, components_of, parse_component, parse_constraint


def test_components_are_read_as_written() -> None:
    assert parse_component("helpful-rm") == Component("helpful-rm", 1.0)
    assert parse_component(" safe rm/harm * -0.5 ") == Component("safe rm/harm", -0.5)
    assert (parse_component("safe rm/harm").model, parse_component("safe rm/harm").criterion) == (
        "safe rm",
        "harm",
    )
    function = parse_component("own.rewards:short*2e-1")
    assert (function.is_function, function.weight) == (True, 0.2)
    assert components_of("a", ("b*2",)) == [Component("a"), Component("b", 2.0)]


@pytest.mark.parametrize(
    "text",
    ["rm*much", "rm*nan", "rm*inf", "", "*2", "a b:c", "os.system:run now", "../x:f", "a:b:c", "x/y/z"],
)
def test_what_is_no_component_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="reward"):
        parse_component(text)


def test_constraints_are_read_as_written() -> None:
    one = parse_constraint(" safe rm/harm <= -0.5 ")
    assert (one.component.source, one.bound, one.at_most, one.name) == (
        "safe rm/harm", -0.5, True, "safe rm/harm"
    )  # fmt: skip
    other = parse_constraint("own:length>=1e2")
    assert (other.component.source, other.bound, other.sign, other.name) == (
        "own:length", 100.0, -1, "own:length >="
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["harm", "harm < 1", "harm <=", "<= 1", "harm <= much", "harm <= nan", "a*2 <= 1"]
)
def test_what_is_no_constraint_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        parse_constraint(text)


def test_ensembles_are_read_as_written() -> None:
    assert Ensemble.parse("") is None
    assert Ensemble.parse("minimum") == Ensemble("minimum")
    assert Ensemble.parse("mean-variance:0.5") == Ensemble("mean-variance", 0.5)
    assert Ensemble.parse("mean-variance") == Ensemble("mean-variance", 1.0)
    assert Ensemble.parse("mean-deviation:1.5") == Ensemble("mean-deviation", 1.5)
    with pytest.raises(UsageError, match="ensemble must be nothing, minimum, mean-variance"):
        build(PPOConfig, {"name": "x", "reward_model": "r", "ensemble": "maximum"})


def test_every_model_has_its_role() -> None:
    config = PPOConfig(
        name="x", reward_model="a", rewards=("b/harm*2", "own:f"), gold="c", constraint="b/harm",
        constraints=("d/kind >= 0.5", "own:g <= 3"),
    )  # fmt: skip
    assert config.inputs().reward_models == {
        "reward_model": "a",
        "reward:b": "b",
        "gold": "c",
        "reward:d": "d",
    }
    assert SFTConfig(name="x").inputs().reward_models == {}


PPO: dict[str, Any] = {"name": "x", "reward_model": "r"}


@pytest.mark.parametrize(
    ("config", "values", "sentence"),
    [
        (PPOConfig, {"name": "x"}, "nothing to maximise"),
        (PPOConfig, PPO | {"rewards": ("r*2",)}, "named twice"),
        (PPOConfig, PPO | {"constraints": ("s <= 1", "s <= 2")}, "bounded twice on one side"),
        (PPOConfig, PPO | {"constraints": ("s = 1",)}, "write NAME <= BOUND"),
        (PPOConfig, PPO | {"rewards": ("judge:a/x.toml", "judge:b/x.toml")}, "named twice"),
        (
            PPOConfig,
            PPO | {"rewards": ("judge:a/x.toml",), "constraints": ("judge:x.toml >= 0",)},
            "one name",
        ),
        (PPOConfig, PPO | {"rewards": ("judge:x.json",)}, "write judge:FILE.toml"),
        (PPOConfig, PPO | {"samples": 1, "ensemble": "mean-deviation"}, "samples must be at least 2"),
        (PPOConfig, PPO | {"rewards": ("s*2",), "ensemble": "minimum"}, "weight 1"),
        (PPOConfig, {"name": "x", "rewards": ("a:b",), "ensemble": "minimum"}, "are functions"),
        (PPOConfig, PPO | {"minibatches": 33}, "minibatches is 33, and a step has 32 responses"),
        (PPOConfig, PPO | {"minibatches": 5}, "minibatches must divide the 32 responses"),
        (PPOConfig, PPO | {"beta": 0.0}, "cannot leave 0"),
        (PPOConfig, PPO | {"kl_bound": 5.0}, "raise kl_bound"),
        (GRPOConfig, PPO | {"samples": 1, "prompts_per_step": 4}, "GRPO compares"),
        (RLOOConfig, PPO | {"samples": 1}, "baseline, so samples must be at least 2"),
        (BestOfNConfig, PPO | {"samples": 1}, "samples must be at least 2"),
        (DPOConfig, {"name": "x", "loss": "ipo", "label_smoothing": 0.1}, "IPO has no labels"),
        (DPOConfig, {"name": "x", "microbatch": 9}, "lower microbatch"),
        (SFTConfig, {"name": "x", "responses_of": "y"}, "set learn_from"),
    ],
)
def test_settings_that_contradict_each_other_are_told(
    config: Any, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        build(config, values)


def test_one_field_is_checked_without_the_others() -> None:
    check_field(PPOConfig, "minibatches", "5")
    check_field(PPOConfig, "reward_model", "")
    with pytest.raises(UsageError, match="minibatches must be a whole number"):
        check_field(PPOConfig, "minibatches", "few")
    with pytest.raises(UsageError, match="Did you mean “minibatches”"):
        check_field(PPOConfig, "minibatch", "5")
