"""Ctrl-C stops the running job properly: exit code 130, the run is stopped and keeps what it has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path


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
    listed = subprocess.run(
        [*workbench, "runs", "list", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    (run,) = json.loads(listed.stdout)
    assert run["status"] == "stopped"
