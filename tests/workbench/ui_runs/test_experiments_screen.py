"""The screen of experiments: figures of the store, another judge, a file that is run, a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import experiments
from storage.store import Store
from tests.workbench.services.test_experiments import measured  # noqa: F401
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from workbench.screens.experiments import ExperimentsScreen, RunFileScreen
from workbench.screens.rank.screen import RankScreen
from workbench.services.workspace import Workspace
from workbench.settings import Settings


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace whose store the test may fill; the fixture `store` is that of `measured`."""
    return Workspace.open(Settings(db=str(tmp_path / "study.duckdb"), annotator="ada"))


@pytest.fixture
def store(workspace: Workspace) -> Store:
    store = workspace.store
    store.write(
        "INSERT INTO artifacts (artifact_id, kind, name, path) VALUES ('f0', 'reward_model', 'rm', '/rm')"
    )
    return store


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_arms_stand_beside_each_other(
    workspace: Workspace,
    measured: Store,  # noqa: F811
    size: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(workspace, size) as (app, pilot):
        app.action_experiments()
        await until(pilot, lambda: isinstance(app.screen, ExperimentsScreen) and "row beats" in shown(app))
        screen = app.screen
        assert isinstance(screen, ExperimentsScreen)
        assert screen.result is not None
        lines = shown(app).splitlines()
        arm = next(arm for arm in screen.result.arms if arm.arm == "b|<i>")
        assert arm.gain is not None
        assert arm.gain.high is not None
        (line,) = [line for line in lines if "b|<i>" in line and "2/2" in line]
        assert f"{arm.gain.mean:+.2f}" in line
        assert f"{arm.gain.high:+.2f})" in line  # nothing is cut off
        assert line.rstrip(" │▏").endswith("–")  # the seconds of runs that never began
        assert any(line.strip(" │▏").startswith("clip") for line in lines)
        await pilot.press("w")
        await until(pilot, lambda: (tmp_path / "e" / "report.md").exists())
        await pilot.press("j")
        await until(pilot, lambda: app.screen is not screen)
        await pilot.press("home", "enter")  # people
        await until(pilot, lambda: "Nothing has been compared by people yet" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen)
    workspace.close()


async def test_a_file_that_cannot_be_run_says_why_and_stays(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "methods.toml"
    path.write_text('name = "m"\njudge = "people"\n[methods.pppo]\n')
    async with opened(workspace, NARROW) as (app, pilot):
        app.action_experiments()
        await until(pilot, lambda: "There is no experiment yet" in shown(app))
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, RunFileScreen))
        app.screen.query_one("Input").value = str(path)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: "there is no method “pppo”" in " ".join(shown(app).split()))
        assert isinstance(app.screen, RunFileScreen)
    workspace.close()


async def test_r_brings_the_answers_to_the_rank_screen(
    workspace: Workspace,
    measured: Store,  # noqa: F811
) -> None:
    text = 'name = "e"\nseeds = [0, 1]\njudge = "people"\n[settings]\npolicy = "base"\nreward_model = "rm"\n'
    experiments.put(measured, "e", f'{text}[methods]\na = {{method = "ppo"}}\n', "people")
    async with opened(workspace, NARROW) as (app, pilot):
        app.action_experiments()
        await until(pilot, lambda: "It waits for people" in " ".join(shown(app).split()))
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, RankScreen) and app.screen.item is not None)
        active = workspace.judging.projects.current()
        assert active is not None
        assert (active.name, active.project.annotators) == ("e", ("ada",))
    workspace.close()
