"""Where the time of a step goes."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.services.bottleneck import step_time

CONFIG: dict[str, Any] = {
    "prompts_per_step": 4, "samples": 2, "tuning": "lora", "critic": "shared", "epochs": 1, "endpoint": "",
}  # fmt: skip


def metrics(
    rollout: float, scoring: float, update: float, steps: int = 12
) -> dict[str, list[tuple[int, float]]]:
    parts = {"seconds_rollout": rollout, "seconds_scoring": scoring, "seconds_update": update, "length": 20.0}
    # the first steps, with what is computed once, are not the last ten
    return {
        f"policy/{name}": [(step, value * (100 if step <= 2 else 1)) for step in range(1, steps + 1)]
        for name, value in parts.items()
    }


def test_shares_of_the_last_steps_and_the_rate_of_sampling() -> None:
    found = step_time(CONFIG, metrics(1.0, 1.0, 2.0))
    assert found is not None
    assert found.whole == pytest.approx(4.0)
    assert list(found.seconds) == ["the update", "sampling", "scoring and measuring"]
    assert found.tokens_a_second == pytest.approx(20.0 * 8 / 1.0)
    assert found.steps == 10
    assert found.sentence == (
        "A step takes 4 s: the update 50%, sampling 25%, scoring and measuring 25%; 160 tokens/s are sampled."
    )


@pytest.mark.parametrize(
    ("times", "changes", "said"),
    [
        ((9, 1, 2), {}, "vLLM server"),
        ((9, 1, 2), {"endpoint": "http://localhost:8000/v1"}, "lower max_new_tokens, or several"),
        ((1, 9, 2), {}, "smaller reward model"),
        ((1, 1, 9), {"epochs": 4}, "Fewer epochs than 4"),
        ((1, 1, 9), {"tuning": "full"}, "Adapters"),
        ((1, 1, 9), {"critic": "separate"}, "shared critic"),
        ((1, 1, 9), {}, "Several devices"),
    ],
)
def test_what_would_help_is_what_has_not_been_done(
    times: tuple[float, float, float], changes: dict[str, Any], said: str
) -> None:
    found = step_time(CONFIG | changes, metrics(*times))
    assert found is not None
    assert said in found.advice


def test_other_runs_have_no_such_times() -> None:
    assert step_time(CONFIG, {"train/loss": [(1, 0.5)]}) is None
    assert step_time(CONFIG, {}) is None
