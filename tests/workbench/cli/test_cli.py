"""The command line as a program: what lands on stdout and stderr, and the exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workbench.cli.shell import PAIRS, Shell, one_sentence
from workbench.__main__ import _opens_application

COMMANDS = [
    [],
    *(["import"], ["export"], ["export", "data"], ["export", "onnx"], ["generate"], ["judge"], ["train"]),
    *(["train", "reward"], ["train", "ppo"], ["score"], ["compare"], ["sql"], ["runs"], ["runs", "list"]),
    *(["runs", "show"], ["runs", "stop"], ["runs", "resume"], ["runs", "pause"], ["policies"], ["info"]),
    *(["serve"], ["snapshot"], ["assign"], ["merge"], ["bundle"], ["unbundle"]),
    *(
        ["demo"],
        ["report"],
        ["report", "reward"],
        ["report", "run"],
        ["report", "judge"],
        ["judge", "ai"],
        ["doctor"],
        ["evaluate"],
        ["evaluate", "reward"],
    ),
    *(["register"], ["register", "reward-model"]),
    *(["train", kind] for kind in ("sft", "dpo", "grpo", "rloo", "best-of-n")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from workbench.cli import run

    assert run([*command, "--help"]) == 0
    assert "Usage: workbench" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "opens"),
    [
        ([], (True, None)),
        (["--db", "x"], (True, "x")),
        (["--db=x"], (True, "x")),
        (["--db"], (False, None)),
        (["--help"], (False, None)),
        (["info"], (False, None)),
        (["--db", "x", "info"], (False, None)),
    ],
)
def test_what_opens_the_application(arguments: list[str], opens: tuple[bool, str | None]) -> None:
    assert _opens_application(arguments) == opens


def test_without_a_terminal_the_application_says_so(workbench: Shell) -> None:
    done = workbench()
    assert (done.returncode, done.stdout) == (2, "")
    assert one_sentence(done.stderr)


def test_import_is_told_and_adds_nothing_twice(workbench: Shell) -> None:
    (workbench.folder / "pairs.csv").write_text(PAIRS)
    first = workbench("import", "pairs.csv")
    assert first.returncode == 0
    assert "2 prompts added" in first.stdout
    again = workbench.json("import", "pairs.csv")
    assert isinstance(again, dict)
    assert again["prompts"] == {"added": 0, "already_there": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["import", "missing.csv"], 1, "missing.csv"),
        (["import", "pairs.csv", "--column", "chosen"], 2, "ROLE=COLUMN"),
        (["import"], 2, "--help"),
        (["imprt"], 2, "import"),
        (["judge"], 2, "--list"),
        (["judge", "--rule", "consise"], 2, "concise"),
        (["sql", "SELEC 1"], 2, "syntax error"),
        (["sql", "SELECT * FROM prompt"], 1, "prompt"),
        (["sql", "DELETE FROM prompts"], 2, "--unlock"),
        (["sql", "SELECT 1", "--json", "--csv"], 2, "--csv"),
        (["compare", "x", "y"], 1, "x"),
        (["score", "-r", "rm"], 1, "rm"),
        (["runs", "show", "ppo-1"], 1, "ppo-1"),
        (["generate"], 2, "policy"),
        (["generate", "--policy", "smollm2", "--samples", "many"], 2, "whole number"),
        (["generate", "--policy", "smollm2", "--samples", "0"], 2, "at least 1"),
        (["train", "reward", "--name", "x", "--tuning", "ful"], 2, "full"),
        (["train", "ppo", "--name", "x", "--reward-model", "nothing"], 2, "nothing"),
        (["export", "data", "nothing", "x.csv"], 1, "nothing"),
        (["export", "data", "pairs", "x.csv", "--as", "trl-preferences"], 1, "trl-preference"),
        (["export", "data", "pairs", "x.csv", "--anonymous"], 2, "--as FORMAT"),
        (["export", "onnx", "nothing"], 2, "nothing"),
        (["sql", "--jsn", "SELECT 1"], 2, "--jsn"),
        (["sql", "--jsn"], 2, "--jsn"),
        (["sql", "SELECT 1", "-o", "missing/x.csv"], 2, "there is no folder"),
        (["sql", "SELECT 1", "-o", "x.xls"], 2, ".parquet"),
        (["info", "--db", ""], 2, "--db"),
        (["info", "--db", "pairs.csv"], 1, "pairs.csv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_goes_wrong_is_one_sentence(
    filled: Shell,
    arguments: list[str],
    code: int,
    part: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from workbench.cli import run

    monkeypatch.chdir(filled.folder)
    for name, value in filled.environment.items():
        monkeypatch.setenv(name, value)
    assert run(arguments) == code
    told = capsys.readouterr()
    assert one_sentence(told.err), told.err
    assert part in told.err
    assert told.out == ""


def test_debug_shows_the_traceback(filled: Shell) -> None:
    done = filled("import", "missing.csv", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_rules_judge_and_are_listed(workbench: Shell) -> None:
    (workbench.folder / "pairs.csv").write_text(PAIRS)
    workbench("import", "pairs.csv")
    assert workbench.json("judge", "--rule", "concise", "--rule", "rule:polite") == {
        "concise": 2,
        "rule:polite": 2,
    }
    assert workbench.json("judge", "--rule", "concise") == {"concise": 0}
    assert "rule:on_topic" in workbench("judge", "--list").stdout


def test_the_order_of_the_queue_is_kept_and_shown(workbench: Shell) -> None:
    (workbench.folder / "pairs.csv").write_text(PAIRS)
    workbench("import", "pairs.csv")
    assert "random" in workbench("judge", "--order", "random").stderr
    assert {row["prompt_id"][0] for row in workbench.json("judge", "--next", "9")} == {"p"}
    told = workbench("judge", "--order", "disagreement", "--next", "1")
    assert told.returncode == 2
    assert "There is no order “disagreement”" in told.stderr


def test_a_locale_without_utf8_is_no_error(filled: Shell) -> None:
    filled.environment["PYTHONIOENCODING"] = "ascii"
    try:
        told = filled.json("sql", "SELECT 'é … 😀' AS a")
        table = filled("sql", "SELECT 'é' AS a")
    finally:
        del filled.environment["PYTHONIOENCODING"]
    assert told == [{"a": "é … 😀"}]
    assert table.returncode == 0
    assert "\\u00e9" in table.stdout


WATCHED = """
import json, os, sys
from pathlib import Path
os.umask(0o022)
import workbench.cli, workbench.__main__
from storage.store import Store
def run(arguments):
    with Store.open("store.duckdb") as store:
        cursor = store.new_cursor()
        cursor.execute("CREATE TABLE mine AS SELECT 1")
        cursor.execute("SET memory_limit = '40MB'")
        cursor.execute("CREATE TEMP TABLE large AS SELECT range, hash(range) AS h FROM range(4000000)")
        print(json.dumps({str(path): path.stat().st_mode & 0o777 for path in Path().rglob("*")}))
    return 0
workbench.cli.run = run
sys.argv = ["workbench", "info"]
workbench.__main__.main()
"""


def test_whatever_a_command_makes_is_private_from_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    modes = json.loads(done.stdout)
    assert any(name.startswith("store.duckdb.tmp/") for name in modes)
    assert modes["store.duckdb.wal"] == 0o600
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


def test_closed_streams_are_no_error(filled: Shell) -> None:
    command = f'exec "{sys.executable}" -m workbench sql "SELECT 1" >&- 2>&-'
    done = subprocess.run(["sh", "-c", command], env=filled.environment, cwd=filled.folder, check=False)
    assert done.returncode == 0


def test_export_and_info_and_lists_are_json(filled: Shell) -> None:
    assert filled.json("export", "data", "pairs", "out.jsonl") == {
        "what": "pairs",
        "path": "out.jsonl",
        "rows": 2,
    }
    assert filled.json("export", "data", "pairs", "out", "--as", "arena") == {
        "what": "pairs",
        "path": "out",
        "rows": 2,
        "format": "arena",
        "left_out": {},
    }
    info = filled.json("info")
    assert isinstance(info, dict)
    assert info["count"]["prompts"] == 2
    assert filled.json("runs", "list") == []
    policies = filled.json("policies")
    assert isinstance(policies, dict)
    assert policies["reward_models"] == []


def test_a_second_process_is_told_who_holds_the_store(filled: Shell) -> None:
    from storage.store import Store

    with Store.open(Path(filled.environment["WORKBENCH_DB"])):
        done = filled("policies")
        asked = filled("sql", "SELECT 1")
    assert (done.returncode, asked.returncode) == (1, 1)
    assert str(os.getpid()) in done.stderr
    assert str(os.getpid()) in asked.stderr
    assert one_sentence(done.stderr)


def test_hostile_text_does_not_reach_a_terminal(filled: Shell) -> None:
    """Run on a pseudo-terminal, every output form leaves out the escape that the imported file held."""
    for form in ([], ["--csv"], ["--json"]):
        query = "SELECT text, chr(155) || '31m' AS c1, chr(8238) AS \"\x1b[31m\u202e\" FROM responses"
        shown = _on_a_terminal(filled, "sql", query, *form)
        assert "Never." in shown
        assert [code for code in ("\x1b[31m", "\x9b", "\u202e") if code in shown] == []


def _on_a_terminal(shell: Shell, *arguments: str) -> str:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=shell.environment,
        cwd=shell.folder,
    )
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    assert process.wait() == 0
    return b"".join(parts).decode()


def test_the_doctor_names_what_is_amiss(workbench: Shell) -> None:
    from storage import runs
    from storage.store import Store

    missing = workbench("doctor")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "There is no database" in missing.stderr
    path = Path(workbench.environment["WORKBENCH_DB"])
    with Store.open(path) as store:
        assert store.runs_root is not None
        (store.runs_root / "generate-1").mkdir()
    sound = workbench("doctor")
    assert (sound.returncode, sound.stdout, sound.stderr) == (0, "", "Nothing is wrong.\n")
    with Store.open(path) as store:
        runs.insert_run(store, "generate-1", "generate", {}, run_dir=f"{store.runs_root}/generate-1")
        runs.update_run(store, "generate-1", status="running", pid=2**22 + 1, pid_started=1.0)
    done = workbench("doctor")
    assert done.returncode == 1
    assert "Run generate-1 is marked running and its worker is gone" in done.stdout
