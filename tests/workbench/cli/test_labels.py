"""`workbench annotators`, `agreement`, `disagreements`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from tests.workbench.cli.shell import Shell
from tests.workbench.services.labels.test_labels import fill
from tests.workbench.services.labels.test_leaderboard import compete
from workbench.services.workspace import Workspace
from workbench.settings import Settings


def test_annotators_their_agreement_and_where_they_differ(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.environment["COLUMNS"] = "200"
    nothing = shell("annotators")
    assert nothing.returncode == 0
    assert "Nobody has judged by “overall” yet" in nothing.stderr
    with Workspace.open(Settings(db=str(tmp_path / "store.duckdb"), annotator="ana")) as workspace:
        fill(workspace, prompts=6)
    done = shell("annotators")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["ana", "ben", "cat", "rule:longest"]
    told = cast("dict[str, Any]", shell.json("annotators"))
    assert told["fit"]["driven_by"] == "people"
    assert f"{100 * told['annotators'][0]['accuracy']:.0f}% (" in done.stdout
    assert "* measured against" in done.stderr
    couples = cast("dict[str, Any]", shell.json("agreement"))["couples"]
    assert len(couples) == 6
    assert "Krippendorff" in shell("agreement", "--weekly").stdout
    rows = cast("list[dict[str, Any]]", shell.json("disagreements"))
    assert all(row["contradicted"] > 0 for row in rows)
    wrong = shell("agreement", "--criterion", "overal")
    assert wrong.returncode == 2
    assert "Did you mean “overall”?" in wrong.stderr


def test_the_leaderboard(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    with Workspace.open(Settings(db=str(tmp_path / "store.duckdb"), annotator="ana")) as workspace:
        compete(workspace, 5)
    done = shell("leaderboard", "--matrix")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[2:5]] == ["a", "b", "c"]
    assert "100% of 5" in done.stdout
    assert "That is little: with 5 prompts" in done.stderr
    told = cast("dict[str, Any]", shell.json("leaderboard", "--raw"))
    assert told["length"] is None
    assert told["standings"][0]["low"] < told["standings"][0]["strength"]
