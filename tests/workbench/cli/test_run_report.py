"""`workbench report run` as a person and as a program read it."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path

from storage import runs
from storage.store import Store
from tests.workbench.cli.shell import Shell

NOW = datetime(2026, 3, 4)


def fill(folder: Path) -> None:
    """A run that learned, with a gold scorer, beside one that only exported."""
    with Store.open(folder / "store.duckdb") as store:
        config = {
            "name": "better",
            "policy": "base",
            "reward_model": "rm",
            "clip": 0.2,
            "value_coefficient": 0.1,
        }
        runs.insert_run(store, "ppo-1", "ppo", config)
        runs.update_run(store, "ppo-1", status="done", summary={"steps": 9})
        rows = []
        for step in range(1, 10):
            d = step / 2
            values = {
                "policy/kl": d * d,
                "policy/score": 0.1 + d,
                "policy/policy_loss": -0.5,
                "policy/value_loss": 0.4,
            }
            values["policy/gold"] = 0.2 + d * (1.0 - 0.5 * math.log(d))
            rows += [("ppo-1", step, step, name, value, NOW) for name, value in values.items()]
        runs.insert_metrics(store, rows)
        runs.insert_run(store, "export-1", "export", {"reward_model": "rm"})


def test_figures_formula_and_fit(tmp_path: Path) -> None:
    fill(tmp_path)
    workbench = Shell(tmp_path)
    done = workbench("report", "run", "ppo-1")
    assert done.returncode == 0, done.stderr
    assert "−0.5 + 0.1 · 0.4 = −0.46" in done.stdout
    assert f"gold peaks at √KL {math.e:.3f}" in done.stdout
    found = workbench.json("report", "run", "ppo-1")
    assert isinstance(found, dict)
    assert found["final_metrics"]["policy/score"] == 4.6
    assert found["summary"] == {"steps": 9}
    fit = found["overoptimisation"]["gold"]["fit"]
    assert (round(fit["alpha"], 6), round(fit["beta"], 6), round(fit["origin"], 6)) == (1.0, 0.5, 0.2)
    assert len(found["overoptimisation"]["proxy"]["points"]) == 9


def test_a_run_that_learned_nothing_and_one_that_is_not_there(tmp_path: Path) -> None:
    fill(tmp_path)
    workbench = Shell(tmp_path)
    found = json.loads(workbench("report", "run", "export-1", "--json").stdout)
    assert (found["formula"], found["overoptimisation"]) == (None, None)
    lost = workbench("report", "run", "ppo-2")
    assert lost.returncode == 1
    assert "did you mean “ppo-1”" in lost.stderr
