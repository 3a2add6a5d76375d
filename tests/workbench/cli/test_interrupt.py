"""Ctrl-C: exit code 130, a job is stopped and keeps what it has, a query is given up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_an_interrupted_command_stops_its_job(tmp_path: Path, tiny_model: Path) -> None:
    environment = {**os.environ, "WORKBENCH_DB": str(tmp_path / "store.duckdb")}
    workbench = [sys.executable, "-m", "workbench"]
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Count to {number}."}) + "\n" for number in range(200))
    )
    subprocess.run([*workbench, "import", "prompts.jsonl"], cwd=tmp_path, env=environment, check=True)
    options = [
        "--policy",
        str(tiny_model),
        "--samples",
        "32",
        "--max-new-tokens",
        "200",
        "--dtype",
        "float32",
    ]
    generating = subprocess.Popen(
        [*workbench, "generate", *options],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert generating.stderr is not None
    for line in generating.stderr:
        if line.startswith("generating"):
            break
    generating.send_signal(signal.SIGINT)
    _, told = generating.communicate(timeout=120)
    assert generating.returncode == 130, told
    assert "Traceback" not in told
    assert told.endswith("Interrupted.\n")
    listed = subprocess.run(
        [*workbench, "runs", "list", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    (run,) = json.loads(listed.stdout)
    assert run["status"] == "stopped"


@pytest.mark.parametrize("output", [[], ["-o", "out.csv"]], ids=["stdout", "file"])
def test_an_interrupted_query_ends(tmp_path: Path, output: list[str]) -> None:
    endless = "SELECT count(*) FROM range(3000000) a, range(3000000) b WHERE (a.range * b.range) % 7 = 3"
    asking = subprocess.Popen(
        [sys.executable, "-m", "workbench", "--db", str(tmp_path / "store.duckdb"), "sql", endless, *output],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(3)
    asking.send_signal(signal.SIGINT)
    shown, told = asking.communicate(timeout=60)
    assert (asking.returncode, shown) == (130, ""), told
    assert "Traceback" not in told
    assert told.endswith("Interrupted.\n")
    assert not (tmp_path / "out.csv").exists()
