"""Where the time of a step goes."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.protocol.configs import GRPOConfig
from engine.protocol.estimate import sizes_of
from engine.protocol.memory import memory_of
from storage.records import RunRow
from tests.engine.training.runs import make_run
from workbench.services.runs.bottleneck import memory_sentence, step_time
from workbench.services.runs.estimates import PACKAGED_CONFIG

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


def test_what_the_device_reaches_and_what_memory_it_takes(tmp_path: Path) -> None:
    known = metrics(1.0, 1.0, 2.0) | {
        "policy/mfu_update": [(1, 9.0), *((step, 0.25) for step in range(2, 12))],
        "policy/mfu_rollout": [(11, 0.0034)],
        "policy/peak_gib": [(1, 1.5), (2, 2.25), (3, 2.0)],
    }
    found = step_time(CONFIG, known)
    assert found is not None
    assert (
        " Of what the device multiplies at best: sampling below 1%, the update 25%. " in f"{found.sentence} "
    )
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "config.json").write_text(json.dumps(dict(PACKAGED_CONFIG)))
    config = GRPOConfig(name="x", policy="p", reward_model="r", tuning="full", device="cpu", dtype="bfloat16")
    run = make_run(tmp_path / "run", config, {"policy": tmp_path / "p"}, {})
    row = row_of(run.path, config)
    said = memory_sentence(row, known)
    assert said.startswith("Memory at its peak 2.2 GB (")
    sizes = sizes_of(PACKAGED_CONFIG)
    assert sizes is not None
    assert f"({memory_of(config, sizes) / 2**30:.1f} estimated)" in said
    # 134.5 M weights of policy, reference and reward model; a moment of each weight is 4 bytes, a master too
    assert f"weights {3 * 2 * 134_515_008 / 2**30:.1f}" in said
    assert f"moments {12 * 134_515_008 / 2**30:.1f}" in said
    assert memory_sentence(replace(row, run_dir=None), known) == "Memory at its peak 2.2 GB."
    assert memory_sentence(row, metrics(1.0, 1.0, 2.0)) == ""


def row_of(path: Path, config: GRPOConfig) -> RunRow:
    values: dict[str, Any] = dict.fromkeys(field.name for field in fields(RunRow))
    return RunRow(
        **values
        | {"kind": "grpo", "config": msgspec.to_builtins(config), "run_dir": str(path), "dtype": "bfloat16"}
        | {"device": "cpu AVX512"}
    )


def test_other_runs_have_no_such_times() -> None:
    assert step_time(CONFIG, {"train/loss": [(1, 0.5)]}) is None
    assert step_time(CONFIG, {}) is None
