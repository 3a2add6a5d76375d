"""Jobs from submitting to their rows, with real processes and real signals."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.protocol.configs import GenerateConfig, JobConfig, PPOConfig, RewardConfig
from engine.protocol.events import AnyEvent, Metrics
from engine.protocol.rundir import Inputs, ModelRef, RunDir
from storage import policies
from storage.errors import NotFoundError
from storage.store import Store
from tests.workbench.services.job_helpers import (
    FAKE_WORKER,
    generate,
    model_folder,
    status,
    until,
)
from workbench.services.runs import snapshots
from workbench.services.runs.jobs import Jobs


def test_a_job_from_submit_to_rows(jobs: Jobs, store: Store, tmp_path: Path) -> None:
    run_id = jobs.submit("generate", generate(tmp_path, "responses", samples=2))
    assert jobs.show(run_id).status == "queued"
    heard: list[AnyEvent] = []
    row = jobs.wait(run_id, heard.append)
    assert (row.status, row.reason, row.device) == ("done", None, "cpu")
    assert sum(isinstance(event, Metrics) for event in heard) == 2
    detail = jobs.show(run_id)
    assert detail.summary == {"responses": 2}
    assert [message.text for message in detail.messages] == ["here we go"]
    assert detail.started_at is not None
    assert detail.ended_at is not None
    assert detail.started_at <= detail.ended_at
    assert len(detail.data_hash or "") == 64
    assert jobs.metrics(run_id)["fake/step"] == [(1, 1.0), (2, 2.0)]
    rows = store.rows(
        "SELECT r.prompt_id, r.sample_index, r.text, r.token_ids, r.seed, r.run_id, r.sampling->>'top_p', "
        "p.model FROM responses r JOIN policies p USING (policy_id) ORDER BY 1, 2"
    )
    assert len(rows) == 6
    prompt_id, index, text, tokens, seed, run, top_p, model = rows[1]
    assert (index, text, tokens, seed, run) == (1, f"answer 1 to {prompt_id}", [1, 2, 1], 0, run_id)
    assert (float(top_p), model) == (1.0, model_folder(tmp_path, "responses"))


def test_prompts_can_be_narrowed(jobs: Jobs, store: Store, tmp_path: Path) -> None:
    wanted = [row[0] for row in store.rows("SELECT prompt_id FROM prompts ORDER BY 1")][:1]
    one = jobs.submit("generate", generate(tmp_path, "responses", 1), prompt_ids=wanted)
    two = jobs.submit("generate", generate(tmp_path, "responses", 1), limit=2)
    jobs.wait(one)
    jobs.wait(two)
    counts = dict(store.rows("SELECT run_id, count(*) FROM responses GROUP BY 1"))
    assert counts == {one: 1, two: 2}


def test_ingesting_again_adds_nothing(jobs: Jobs, store: Store, tmp_path: Path) -> None:
    run_id = jobs.submit("generate", generate(tmp_path, "responses"))
    jobs.wait(run_id)
    counts = "SELECT (SELECT count(*) FROM metrics), (SELECT count(*) FROM responses)"
    before = store.rows(counts)
    # As if the store had been put back to an earlier state: the same lines are read again.
    store.write("DELETE FROM metrics WHERE run_id = ? AND seq > 2", [run_id])
    store.write(
        "UPDATE runs SET last_offset = 0, last_seq = 2, status = 'running' WHERE run_id = ?", [run_id]
    )
    assert jobs.wait(run_id).status == "done"
    assert store.rows(counts) == before


def test_a_resumed_run_finds_the_models_of_a_moved_study(store: Store, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    new.mkdir()
    policies.ensure(store, "p1", model=str(new))
    run = RunDir.create(tmp_path / "run", GenerateConfig(policy="p1"))
    run.write_inputs(Inputs(models={"policy": ModelRef(name="p1", folder=str(old))}, data_hash="x"))
    snapshots.follow_moved_models(store, run, GenerateConfig(policy="p1"))
    assert run.model("policy") == ModelRef(name="p1", folder=str(new))
    assert run.inputs.data_hash == "x"


def test_a_paused_job_repeats_nothing(jobs: Jobs, tmp_path: Path) -> None:
    config = PPOConfig(
        name="better",
        policy=model_folder(tmp_path, "patient"),
        reward_model="rm",
        steps=12,
        checkpoint_every=0,
    )
    run_id = jobs.submit("ppo", config)
    jobs.pause(run_id)  # it has not begun: off the queue
    assert jobs.show(run_id).status == "paused"
    jobs.resume(run_id)
    until(lambda: jobs.pump() is not None and len(jobs.metrics(run_id).get("policy/score", [])) >= 10)
    jobs.pause(run_id)
    assert jobs.wait(run_id).status == "paused"
    run_dir = RunDir(Path(jobs.show(run_id).run_dir or ""))
    assert run_dir.latest_checkpoint() == run_dir.checkpoint_dir(10)
    jobs.resume(run_id)
    assert jobs.wait(run_id).status == "done"
    assert not run_dir.pause_path.exists()
    assert [step for step, _ in jobs.metrics(run_id)["policy/score"]] == list(range(1, 13))


def test_a_job_without_steps_cannot_pause(jobs: Jobs, tmp_path: Path) -> None:
    run_id = jobs.submit("generate", generate(tmp_path, "responses"))
    with pytest.raises(UsageError, match="no steps to pause between"):
        jobs.pause(run_id)


def test_a_stopped_job_keeps_what_it_had_and_resumes(jobs: Jobs, tmp_path: Path) -> None:
    config = PPOConfig(
        name="better",
        policy=model_folder(tmp_path, "patient"),
        reward_model="rm",
        steps=30,
        checkpoint_every=3,
    )
    run_id = jobs.submit("ppo", config)
    until(lambda: jobs.pump() is not None and len(jobs.metrics(run_id).get("policy/score", [])) >= 10)
    jobs.stop(run_id)
    row = jobs.wait(run_id)
    assert row.status == "stopped"
    assert len(jobs.metrics(run_id)["policy/score"]) == 10
    jobs.resume(run_id)
    assert jobs.show(run_id).status == "queued"
    assert jobs.wait(run_id).status == "done"
    assert jobs.metrics(run_id)["policy/score"] == [(step, float(step)) for step in range(1, 31)]
    kinds = [(item.kind, item.name) for item in jobs.show(run_id).artifacts if item.kind != "checkpoint"]
    assert kinds == [("policy", "better")]
    with pytest.raises(UsageError, match="only a stopped, paused or failed run"):
        jobs.resume(run_id)


def test_stopping_twice_ends_a_worker_that_does_not_listen(jobs: Jobs, tmp_path: Path) -> None:
    run_id = jobs.submit("generate", generate(tmp_path, "stubborn"))
    until(lambda: status(jobs, run_id) == "running" and jobs.show(run_id).messages)
    jobs.stop(run_id)
    time.sleep(0.1)
    assert status(jobs, run_id) == "running"
    jobs.stop(run_id)
    assert jobs.wait(run_id).status == "stopped"


def test_a_worker_that_does_not_listen_is_ended_after_a_while(
    jobs: Jobs, store: Store, tmp_path: Path
) -> None:
    impatient = Jobs(store, worker=FAKE_WORKER, grace=0.2)
    run_id = impatient.submit("generate", generate(tmp_path, "stubborn"))
    until(lambda: status(impatient, run_id) == "running" and impatient.show(run_id).messages)
    impatient.stop(run_id)
    assert impatient.wait(run_id).status == "stopped"


def test_one_heavy_job_a_device_and_the_others_wait(jobs: Jobs, tmp_path: Path) -> None:
    first, second, third = (jobs.submit("generate", generate(tmp_path, "slow", 6)) for _ in range(3))
    jobs.pump()
    assert [jobs.show(run).status for run in (first, second, third)] == ["running", "queued", "queued"]
    jobs.stop(third)
    assert jobs.show(third).status == "stopped"
    jobs.wait(second)
    one, two = jobs.show(first), jobs.show(second)
    assert (one.status, two.status) == ("done", "done")
    assert one.ended_at is not None
    assert two.started_at is not None
    assert two.started_at >= one.ended_at


def test_a_job_waits_for_the_one_before_it_and_fails_with_it(jobs: Jobs, tmp_path: Path) -> None:
    first = jobs.submit("generate", generate(tmp_path, "error"))
    second = jobs.submit("generate", generate(tmp_path), after=first)
    assert jobs.wait(second).reason == f"{first}, which it needed, has failed."
    assert jobs.show(second).waits_for == first


def test_a_job_that_needs_what_another_will_make_waits_for_it(jobs: Jobs, tmp_path: Path) -> None:
    ppo = jobs.submit(
        "ppo",
        PPOConfig(name="better", policy=model_folder(tmp_path, "responses"), reward_model="rm", steps=2),
    )
    later = jobs.submit("generate", GenerateConfig(policy="better", samples=1))
    assert jobs.show(later).waits_for == ppo
    assert jobs.wait(later).status == "done"
    made = [item for item in jobs.show(ppo).artifacts if item.kind == "policy"]
    assert Path(made[0].path).is_dir()


def test_the_export_of_a_reward_model_waits_for_its_training(jobs: Jobs, tmp_path: Path) -> None:
    config = RewardConfig(name="new", policy=model_folder(tmp_path, "error"), device="cpu")
    training, export = jobs.submit_with_export("reward", config)
    assert export is not None
    detail = jobs.show(export)
    assert (detail.kind, detail.waits_for, detail.config["reward_model"]) == ("export", training, "new")
    assert jobs.wait(export).reason == f"{training}, which it needed, has failed."


@pytest.mark.parametrize(
    ("kind", "config", "sentence"),
    [
        (
            "generate",
            GenerateConfig(policy="smolm2"),
            "no policy or model folder “smolm2”. Did you mean “smollm2”?",
        ),
        ("ppo", PPOConfig(name="x", reward_model="rmm"), "no reward model “rmm”. Did you mean “rm”?"),
        ("ppo", PPOConfig(name="smollm2", reward_model="rm"), "such as “smollm2-2”"),
        ("reward", RewardConfig(name="rm"), "There is a reward model “rm” already"),
        ("generate", GenerateConfig(policy="smollm2", prompts="sorce"), "Did you mean “source”?"),
        ("genrate", GenerateConfig(policy="smollm2"), "Did you mean “generate”?"),
        ("ppo", GenerateConfig(policy="smollm2"), "takes a PPOConfig"),
    ],
)
def test_wrong_requests_are_refused_before_they_queue(
    jobs: Jobs, kind: str, config: JobConfig, sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        jobs.submit(kind, config)
    assert sentence in str(caught.value)
    assert jobs.list() == []


def test_a_name_that_a_waiting_job_will_take_is_taken(jobs: Jobs, tmp_path: Path) -> None:
    config = PPOConfig(name="better", policy=model_folder(tmp_path, "m"), reward_model="rm")
    jobs.submit("ppo", config)
    with pytest.raises(UsageError, match="such as “better-2”"):
        jobs.submit("ppo", config)


def test_an_unknown_run_is_told_with_the_near_match(jobs: Jobs, tmp_path: Path) -> None:
    run_id = jobs.submit("generate", generate(tmp_path))
    with pytest.raises(NotFoundError, match=f"did you mean “{run_id}”"):
        jobs.show(run_id[:-1] + "z")
