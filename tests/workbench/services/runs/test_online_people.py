"""A run that waits for people: what it samples becomes responses, what they rank is read when it goes on."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.protocol.configs import OnlineDPOConfig
from engine.protocol.rundir import Inputs, RunDir
from engine.tables import RESPONSES
from storage import judgements, runs
from storage.ingest import ingest
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from tests.workbench.services.job_helpers import add_prompts
from workbench.services.runs import snapshots
from workbench.services.runs.jobs import Jobs

CONFIG = OnlineDPOConfig(
    name="better", policy="base", compare="people", device="cpu", dtype="float32", steps=1,
    prompts_per_step=2, samples=3, max_new_tokens=6, epochs=1, policy_every=1, checkpoint_every=1,
)  # fmt: skip


def rank_everything(store: Store, run_id: str) -> None:
    """One ranking a prompt, the shortest response first."""
    for (prompt_id,) in store.rows(f"SELECT DISTINCT prompt_id FROM responses WHERE run_id = '{run_id}'"):
        rows = store.rows(
            f"SELECT response_id FROM responses WHERE prompt_id = '{prompt_id}' ORDER BY len(text), text"
        )
        items = tuple(JudgedItem(response_id, rank=n) for n, (response_id,) in enumerate(rows, start=1))
        judgements.record(store, NewJudgement(prompt_id, "ann", "ranking", items))


def responses_of(run: RunDir, step: int) -> None:
    rows = [
        {
            "prompt_id": f"p{p:016x}", "sample_index": step * 3 + k, "text": f"{step} {'x' * k}",
            "token_ids": [1], "token_logprobs": [-1.0], "finish_reason": "stop",
        }
        for p in range(2)
        for k in range(3)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=RESPONSES), run.output_path("responses", step))


def test_samples_are_responses_of_their_policy_and_their_rankings_are_read_back(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        add_prompts(store, 2)
        run_id = "online_dpo-1"
        run = RunDir.create(tmp_path / "runs" / run_id, CONFIG)
        config = {"policy": "base", "name": "better", "samples": 3}
        runs.insert_run(store, run_id, "online_dpo", config, run_dir=str(run.path))
        (run.path / "inputs").mkdir()
        run.write_inputs(Inputs(tables={"rankings": Path("inputs/rankings.parquet")}))
        for seq, (step, policy) in enumerate(((1, ""), (2, "better 1")), start=1):
            responses_of(run, step)
            path = run.relative(run.output_path("responses", step))
            event = {"type": "output", "kind": "responses", "path": path, "rows": 6, "step": step}
            event |= {"policy": policy} if policy else {}
            ingest(store, run_id, [{"seq": seq, "at": 1.7e9, "event": event}], seq)
        by_policy = store.rows(
            "SELECT y.name, count(*) FROM responses r JOIN policies y USING (policy_id) GROUP BY 1 ORDER BY 1"
        )
        assert by_policy == [("base", 6), ("better 1", 6)]
        snapshots.refresh(store, run, CONFIG)
        assert pq.read_table(run.table("rankings")).num_rows == 0
        rank_everything(store, run_id)
        other = store.rows("SELECT prompt_id FROM prompts LIMIT 1")[0][0]
        store.write(
            "INSERT INTO responses (response_id, prompt_id, policy_id, text) "
            "SELECT 'elsewhere', ?, policy_id, 'of another run' FROM policies LIMIT 1",
            [other],
        )
        snapshots.refresh(store, run, CONFIG)
        found = pq.read_table(run.table("rankings")).to_pylist()
        assert len(found) == 12
        assert {row["text"].split()[0] for row in found} == {"1", "2"}


@pytest.mark.slow
def test_a_run_pauses_is_ranked_and_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        add_prompts(store, 2)
        jobs = Jobs(store)
        values = {name: getattr(CONFIG, name) for name in CONFIG.__struct_fields__}
        config = OnlineDPOConfig(**(values | {"policy": str(tiny_model)}))
        run_id = jobs.submit("online_dpo", config)
        row = jobs.wait(run_id)
        assert row.status == "paused", (row.reason, row.stderr_tail)
        assert "Rank the responses to 2 of 2 prompts" in jobs.show(run_id).messages[-1].text
        rank_everything(store, run_id)
        jobs.resume(run_id)
        row = jobs.wait(run_id)
        assert row.status == "done", (row.reason, row.stderr_tail)
        assert store.rows("SELECT name FROM policies WHERE name = 'better'")
        rewards = [r for (r,) in store.rows(f"SELECT reward FROM rollouts WHERE run_id = '{run_id}'")]
        assert sum(rewards) == pytest.approx(0, abs=1e-6)
