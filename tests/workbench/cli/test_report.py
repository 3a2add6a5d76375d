"""`workbench report reward`: the table for people, JSON for programs, what is told when there is nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from storage.store import Store
from tests.workbench.cli.shell import Shell
from tests.workbench.ui_report.stores import MODEL, fill


def test_a_report_on_stdout(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.environment["COLUMNS"] = "80"
    with Store.open(tmp_path / "store.duckdb") as store:
        fill(store)
    done = shell("report", "reward", MODEL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line.split()[1] for line in lines if line.startswith("── ")]
    assert titles == ["Overview", "Calibration", "Length", "People", "Learning", "Policies", "Most"]
    told = cast("dict[str, Any]", shell.json("report", "reward", MODEL))
    figures = told["figures"]
    for name in ("accuracy", "longer", "policy", "person", "log_loss", "longer_wins"):
        assert f"{figures[name]['value']:.3f}" in done.stdout, name
    assert told["basis"]["splits_known"] is True
    assert told["missing"] == ""
    other = shell("report", "reward", MODEL, "--criterion", "brief")
    assert "Nobody has judged" in other.stdout
    missing = shell("report", "reward", "concise")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "did you mean" in missing.stderr
