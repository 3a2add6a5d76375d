"""Several seeds as one job: one run each, and every metric with its error over seeds."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.protocol.configs import PPOConfig
from storage import runs
from storage.store import Store
from tests.workbench.services.job_helpers import add_prompts, model_folder
from workbench.services.runs.jobs import Jobs
from workbench.services.runs.seeds import over_seeds, seeds_of, submit


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20, unique=True))
def test_seeds_are_read_as_they_are_written(seeds: list[int]) -> None:
    assert seeds_of(" , ".join(map(str, seeds))) == tuple(seeds)


@pytest.mark.parametrize("text", ["", "1", "1,1", "1,01", "1,-2", "1,x", "1,,2", "1;2", "٣,1"])
def test_what_are_no_seeds_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        seeds_of(text)


def test_a_run_a_seed_and_the_error_over_them(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        add_prompts(store, 2)
        jobs = Jobs(store, worker=("true",))
        config = PPOConfig(name="tuned", policy=model_folder(tmp_path, "steps"), reward_model="rm", seed=9)
        ids = submit(store, jobs, "ppo", config, (0, 1, 2))
        rows = [runs.run_row(store, run_id) for run_id in ids]
        assert [(row.config["name"], row.config["seed"]) for row in rows] == [
            (f"tuned seed {seed}", seed) for seed in range(3)
        ]
        for seed, run_id in enumerate(ids):
            store.write(
                "INSERT INTO metrics SELECT $run, step, step, 'score', "
                "if(step < 8, 1000, $end + step % 2), now() FROM range(10) t(step)",
                {"run": run_id, "end": float(seed)},
            )
            store.write(
                "INSERT INTO metrics VALUES ($r, 99, 0, $n, 1, now())", {"r": run_id, "n": f"own/{seed}"}
            )
        (figure,) = over_seeds(jobs, ids)
        assert (figure.name, list(figure.of_each.values())) == ("score", [0.5, 1.5, 2.5])
        assert figure.mean == 1.5
        assert math.isclose(figure.standard_error, math.sqrt(1 / 3))
        assert math.isclose(figure.high - figure.mean, 4.302652729911275 * math.sqrt(1 / 3), rel_tol=1e-6)
        with pytest.raises(UsageError):
            submit(
                store, jobs, "ppo", PPOConfig(name="x", policy="/nowhere/at/all", reward_model="rm"), (0, 1)
            )
        assert len(runs.run_rows(store)) == 3
