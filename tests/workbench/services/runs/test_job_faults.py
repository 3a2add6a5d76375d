"""Jobs that die, lie or outlive their workbench: what is told, and that nothing is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from engine.protocol.rundir import RunDir
from storage import runs
from storage.errors import DiskFullError
from storage.store import Store
from tests.workbench.services.job_helpers import (
    FAKE_WORKER,
    add_prompts,
    fake_jobs,
    generate,
    model_folder,
    status,
    until,
)
from workbench.services.runs.ingest import stderr_tail
from workbench.services.runs.jobs import Jobs


def test_a_killed_worker_fails_with_its_last_words(jobs: Jobs, tmp_path: Path) -> None:
    run_id = jobs.submit("generate", generate(tmp_path, "stubborn"))
    until(lambda: status(jobs, run_id) == "running" and "listen" in jobs.show(run_id).stderr_tail)
    pid = jobs.show(run_id).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    row = jobs.wait(run_id)
    assert row.status == "failed"
    assert row.reason == "The worker was killed (signal 9); the machine may have run out of memory."
    assert row.stderr_tail == "I do not listen"
    assert row.ended_at is not None


def test_a_worker_that_vanishes_leaves_its_last_line(jobs: Jobs, tmp_path: Path) -> None:
    row = jobs.wait(jobs.submit("generate", generate(tmp_path, "vanish")))
    assert row.status == "failed"
    assert row.reason == "The worker ended with exit code 1: cannot write: no space left"


def test_a_failing_job_says_why(jobs: Jobs, tmp_path: Path) -> None:
    row = jobs.wait(jobs.submit("generate", generate(tmp_path, "error")))
    assert (row.status, row.reason) == ("failed", "ValueError: the tokens")
    assert "Traceback" in (row.stderr_tail or "")


def test_nothing_to_read_fails_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_jobs(monkeypatch)
    with Store.open(tmp_path / "empty.duckdb") as empty:
        jobs = Jobs(empty, worker=FAKE_WORKER)
        row = jobs.wait(jobs.submit("generate", generate(tmp_path)))
        assert (row.status, row.reason) == ("failed", "There are no prompts to work on; import some first.")


def test_a_broken_output_fails_its_run(jobs: Jobs, store: Store, tmp_path: Path) -> None:
    run_id = jobs.submit("generate", generate(tmp_path, "liar"))
    row = jobs.wait(run_id)
    assert row.status == "failed"
    assert "An event of the kind “output” could not be stored" in str(row.reason)
    assert store.rows("SELECT count(*) FROM responses") == [(0,)]


LONG_TEXT = "x" * (12 * 2**20)
BAD_LINES = {
    "no JSON": b"\xff\xfe not json\n",
    "no event": b"{}\n",
    "a number past what a table holds": b'{"seq":9223372036854775808,"at":1.0,"event":{"type":"finished"}}\n',
    "a time that no calendar has": b'{"seq":2,"at":1e30,"event":{"type":"finished"}}\n',
    "a step past what a table holds": (
        b'{"seq":2,"at":1.0,"event":{"type":"metrics","step":99999999999999999999,"values":{"a":1}}}\n'
    ),
    "a path of 5,000 characters": msgspec.json.encode(
        {
            "seq": 2,
            "at": 1.0,
            "event": {"type": "output", "kind": "responses", "path": "a" * 5000, "rows": 1},
        }
    )
    + b"\n",
    "a path with a NUL": (
        b'{"seq":2,"at":1.0,"event":{"type":"output","kind":"scores","path":"a\\u0000b","rows":1}}\n'
    ),
    "a line of 12 MiB": msgspec.json.encode(
        {"seq": 2, "at": 1.0, "event": {"type": "message", "level": "info", "text": LONG_TEXT}}
    )
    + b"\n",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_fails_its_run_and_no_other(jobs: Jobs, store: Store, tmp_path: Path, line: bytes) -> None:
    bad, good = (jobs.submit("generate", generate(tmp_path, name)) for name in ("one", "two"))
    events = tmp_path / "store.runs" / bad / "events.jsonl"
    started = b'{"seq":1,"at":1.0,"event":{"type":"started","pid":1,"device":"cpu"}}\n'
    events.write_bytes(started + line)
    runs.update_run(store, bad, status="running")
    row = jobs.wait(bad)
    assert row.status == "failed"
    assert "event" in str(row.reason)
    assert jobs.wait(good).status == "done"
    jobs.resume(bad)  # what was wrong is behind it
    assert jobs.wait(bad).status == "done"


def test_a_full_disk_is_told_and_nothing_is_lost(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise DiskFullError("The disk is full.")

    run_id = jobs.submit("generate", generate(tmp_path))
    jobs.pump()
    with monkeypatch.context() as patched:
        patched.setattr("workbench.services.runs.ingest.store_lines", full)
        until(lambda: (tmp_path / "store.runs" / run_id / "events.jsonl").exists())
        with pytest.raises(DiskFullError):
            jobs.wait(run_id)
    assert jobs.wait(run_id).status == "done"
    assert len(jobs.metrics(run_id)["fake/step"]) == 3


def test_the_error_output_is_kept_without_control_characters(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    lines = [f"line {number}" for number in range(30)]
    text = "\n".join([*lines, "10%\r50%\r100% done", "\x1b]52;c;aGk=\x07\u202eevil \xff"])
    run.stderr_path.write_bytes(text.encode("latin-1", "ignore") + b"\xff\n")
    told = stderr_tail(run).split("\n")
    assert len(told) == 20
    assert told[-2] == "100% done"
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in "".join(told))


def test_two_services_pump_at_once(jobs: Jobs, store: Store, tmp_path: Path) -> None:
    other = Jobs(store, worker=FAKE_WORKER)
    ids = [jobs.submit("generate", generate(tmp_path, "responses", 5)) for _ in range(3)]
    errors: list[BaseException] = []

    def pump(service: Jobs) -> None:
        try:
            until(lambda: service.pump() is None or all(service.show(i).status == "done" for i in ids), 60)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=pump, args=(service,)) for service in (jobs, other, jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert store.rows("SELECT count(*) FROM responses") == [(3 * 5 * 3,)]
    assert all(len(jobs.metrics(i)["fake/step"]) == 5 for i in ids)


def test_a_worker_outlives_the_workbench_and_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_jobs(monkeypatch)
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        add_prompts(store, 2)
        jobs = Jobs(store, worker=FAKE_WORKER)
        run_id = jobs.submit("generate", generate(tmp_path, "slow-responses", 20))
        until(lambda: status(jobs, run_id) == "running" and len(jobs.metrics(run_id)) > 0)
    with Store.open(path) as store:
        jobs = Jobs(store, worker=FAKE_WORKER)
        assert jobs.show(run_id).status == "running"
        assert jobs.wait(run_id).status == "done"
        assert jobs.metrics(run_id)["fake/step"] == [(step, float(step)) for step in range(1, 21)]
        assert store.rows("SELECT count(*) FROM responses") == [(40,)]


def test_a_workbench_killed_before_it_started_the_worker_starts_it_later(
    jobs: Jobs, store: Store, tmp_path: Path
) -> None:
    run_id = jobs.submit("generate", generate(tmp_path))
    store.write("UPDATE runs SET status = 'running', stage = 'preparing' WHERE run_id = ?", [run_id])
    assert jobs.wait(run_id).status == "done"


def test_a_workbench_killed_while_ingesting_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A process that pumps is killed again and again; in the end every event is there once."""
    import subprocess

    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        add_prompts(store, 2)
    model_folder(tmp_path, "slow-responses")
    code = Path(__file__).with_name("pump_process.py")
    command = [sys.executable, str(code), str(path), model_folder(tmp_path, "slow-responses")]
    for attempt in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process:
            process.stdout.readline()
            time.sleep(0.15 + 0.1 * attempt)
            process.kill()
    done = subprocess.run([*command, "finish"], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split()[-1] == "done"
    with Store.open(path) as store:
        assert store.rows("SELECT count(*), count(DISTINCT run_id) FROM runs") == [(1, 1)]
        steps = store.rows("SELECT step FROM metrics WHERE name = 'fake/step' ORDER BY 1")
        assert [step for (step,) in steps] == list(range(1, 31))
        assert store.rows("SELECT count(*) FROM responses") == [(60,)]
