"""Every command that reads works beside the process that holds the store, and says the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.share.asking import token_path_of
from storage.share.sharing import share
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge
from tests.workbench.cli.shell import Shell, one_sentence

ROOT = Path(__file__).parents[3]
READING = [
    ["policies"],
    ["info"],
    ["runs", "list"],
    ["runs", "show", "ppo-1", "--json"],
    ["report", "run", "ppo-1"],
    ["compare", "a", "b", "--items", "2"],
    ["judge", "--next", "5"],
    ["project", "list"],
    ["report", "judge"],
    ["annotators"],
    ["agreement"],
    ["leaderboard"],
    ["evaluate", "reward", "nobody"],
    ["sql", "SELECT prompt_id, text FROM responses ORDER BY ALL", "--csv"],
    ["sql", "SELECT nothing FROM responses"],
]
FILES = [
    ["export", "data", "pairs", "out1.parquet"],
    ["export", "data", "responses", "out2.csv"],
    ["export", "data", "pairs", "out3.jsonl", "--as", "trl-preference"],
    ["sql", "SELECT * FROM preference_pairs ORDER BY ALL;", "-o", "out4.csv"],
]


@pytest.fixture
def study(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    with Store.open(Path(shell.environment["WORKBENCH_DB"])) as store:
        for text in ("Say hi.", "Say bye."):
            prompt = add_prompt(store, text)
            (first,) = add_responses(store, prompt, "yes", policy="a")
            (second,) = add_responses(store, prompt, "no", policy="b")
            judge(store, prompt, {first: 1, second: 2})
        store.write(
            "INSERT INTO runs (run_id, kind, status, config, created_at) "
            "VALUES ('ppo-1', 'ppo', 'done', '{\"name\": \"tuned\"}', '2026-01-02')"
        )
        store.write("INSERT INTO metrics VALUES ('ppo-1', 1, 1, 'policy/kl', 0.25, '2026-01-02')")
    return shell


@pytest.fixture
def held(study: Shell) -> Iterator[Shell]:
    with Store.open(Path(study.environment["WORKBENCH_DB"])) as store:
        serving = share(store)
        try:
            yield study
        finally:
            serving.close()


def said(shell: Shell) -> list[tuple[int, list[str], str]]:
    """What each of the commands says, in one process for all."""
    return [
        (
            code,
            [line for line in out.splitlines() if "megabytes" not in line],  # as large as the log
            err.removeprefix("Binder Error: "),  # the kind stays behind
        )
        for code, out, err in shell.several(READING)
    ]


def wrote(shell: Shell) -> list[bytes]:
    """What each of the commands writes."""
    names = [next(name for name in command if name.startswith("out")) for command in FILES]
    for code, _, err in shell.several(FILES):
        assert code == 0, err
    return [(shell.folder / name).read_bytes() for name in names]


def test_reading_beside_a_holder_is_as_reading_alone(study: Shell) -> None:
    alone, written = said(study), wrote(study)
    with Store.open(Path(study.environment["WORKBENCH_DB"])) as store:
        serving = share(store)
        try:
            for command, expected, found in zip(READING, alone, said(study), strict=True):
                assert found == expected, command
            for command, expected, found in zip(FILES, written, wrote(study), strict=True):
                assert found == expected, command
        finally:
            serving.close()


def test_a_command_that_writes_says_who_holds_the_store(held: Shell) -> None:
    (held.folder / "more.csv").write_text("prompt\nOne more.\n")
    for command in (["import", "more.csv"], ["judge", "--rule", "concise"], ["sql", "SELECT 1", "--unlock"]):
        done = held(*command)
        assert done.returncode == 1
        assert str(os.getpid()) in done.stderr
        assert one_sentence(done.stderr)


def test_snapshot_through_a_holder(held: Shell) -> None:
    found = held.json("snapshot", "copy.duckdb")
    assert isinstance(found, dict)
    assert held("snapshot", "copy.duckdb").returncode == 2
    counted = held.json("sql", "--db", "copy.duckdb", "SELECT count(*) AS n FROM preference_pairs")
    assert counted == [{"n": 2}]


NOTEBOOK = """
import sys
import workbench
with workbench.connect(sys.argv[1]) as db:
    print(db.sql("SELECT text FROM prompts").order("text").fetchall())
    print(db.polars("SELECT count(*) AS n FROM responses").item(), db.arrow("SELECT 1 AS x").num_rows)
    for wrong in ("DELETE FROM prompts", "SELECT nothing FROM prompts", "FROM read_text('/etc/hostname')"):
        try:
            db.sql(wrong)
        except Exception as error:
            print(type(error).__module__.partition(".")[0], str(error).splitlines()[0][:40])
"""


def test_a_notebook_reads_beside_a_holder_and_alone(study: Shell) -> None:
    path = study.environment["WORKBENCH_DB"]
    command = [sys.executable, "-c", NOTEBOOK, path]

    def read() -> str:
        return subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
        ).stdout

    alone = read()
    with Store.open(Path(path)) as store:
        serving = share(store)
        try:
            beside = read()
        finally:
            serving.close()
    for text in (alone, beside):
        lines = text.splitlines()
        assert lines[:2] == ["[('Say bye.',), ('Say hi.',)]", "4 1"]
        assert [line.partition(" ")[0] for line in lines[2:]] == ["storage"] * 3
    missing = subprocess.run(
        [*command[:-1], path + "x"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert "There is no database" in missing.stderr
    assert not Path(path + "x").exists()


def test_serve_holds_the_store_and_the_duckdb_command_line_reads_it(study: Shell) -> None:
    path = Path(study.environment["WORKBENCH_DB"])
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "serve"],
        env=study.environment,
        cwd=study.folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert "is held here" in process.stderr.readline()
        for _ in range(600):
            if token_path_of(path).exists():
                break
            assert process.poll() is None
            signal.sigtimedwait([], 0.05)
        assert study.json("sql", "SELECT count(*) AS n FROM prompts") == [{"n": 2}]
        snippet = study("sql", "--how").stdout
        assert path.name in snippet
        client = shutil.which("duckdb", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if client is not None:
            statements = snippet[snippet.index("LOAD ") :].replace("run_summary", "prompts")
            done = subprocess.run(
                [client, "-csv"], input=statements, capture_output=True, text=True, check=False
            )
            assert "Say bye." in done.stdout, done.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        process.stderr.close()
    assert code == 0
    assert not token_path_of(path).exists()
    Store.open(path).close()
