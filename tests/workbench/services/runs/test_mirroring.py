"""Metrics reach other trackers once, and go on where they stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine.errors import UsageError, WorkbenchError
from storage import runs
from storage.errors import NotFoundError
from storage.store import Store
from workbench.services.runs.mirroring import TRACKERS, mirror, target_of

ROWS = (
    "INSERT INTO metrics SELECT 'ppo-1', seq, step, name, value, TIMESTAMP '2026-01-02' "
    "FROM (VALUES {}) t(seq, step, name, value)"
)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "study.duckdb") as store:
        folder = tmp_path / "study.runs" / "ppo-1"
        folder.mkdir(parents=True)
        runs.insert_run(store, "ppo-1", "ppo", {"name": "tuned"}, run_dir=str(folder), waits_for=None)
        measure(store, "(1, 1, 'policy/kl', 0.5), (1, 1, 'score', 2.0), (2, 2, 'score', NULL)")
        yield store


def measure(store: Store, values: str) -> None:
    store.write(ROWS.format(values))


class FakeRun:
    """What trackio and W&B give: the calls that were made."""

    def __init__(self, **how: Any) -> None:
        self.how, self.ended = how, False
        self.logged: list[tuple[dict[str, float], int]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((values, step))

    def finish(self) -> None:
        self.ended = True


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    made: list[FakeRun] = []

    def init(**how: Any) -> FakeRun:
        made.append(FakeRun(**how))
        return made[-1]

    for name in ("trackio", "wandb"):
        module = ModuleType(name)
        module.init = init  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return made


@pytest.mark.parametrize("kind", ["trackio", "wandb"])
def test_each_value_is_given_once_with_its_step(study: Store, fakes: list[FakeRun], kind: str) -> None:
    assert target_of(kind, study) == (kind, "study")
    assert mirror(study, "ppo-1", kind, "p") == 2
    assert mirror(study, "ppo-1", kind, "p") == 0
    measure(study, "(3, 3, 'score', 4.0)")
    assert mirror(study, "ppo-1", kind, "p") == 1
    assert [run.logged for run in fakes] == [[({"policy/kl": 0.5, "score": 2.0}, 1)], [({"score": 4.0}, 3)]]
    assert all(run.ended for run in fakes)
    assert {run.how["project"] for run in fakes} == {"p"}
    assert fakes[0].how["resume"] == "allow"
    assert fakes[0].how["config"] == {"name": "tuned"}
    assert mirror(study, "ppo-1", kind, "another") == 3  # another place has been given nothing


def test_what_a_tracker_has_against_it_is_a_sentence(
    study: Store, fakes: list[FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FakeRun, values: Any, step: int) -> None:
        raise RuntimeError("no network\nand more")

    with monkeypatch.context() as patch:
        patch.setattr(FakeRun, "log", broken)
        with pytest.raises(WorkbenchError, match=r"wandb did not take the metrics of ppo-1: no network$"):
            mirror(study, "ppo-1", "wandb", "p")
    assert mirror(study, "ppo-1", "wandb", "p") == 2  # nothing of it counts as given
    with pytest.raises(UsageError, match="tensorboard"):
        target_of("tensorbord", study)
    with pytest.raises(NotFoundError, match="ppo-1"):
        mirror(study, "ppo-2", "wandb", "p")


def test_a_tracker_that_is_not_installed_is_named(study: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in TRACKERS:
        monkeypatch.setitem(sys.modules, "tensorboard.summary" if kind == "tensorboard" else kind, None)
        with pytest.raises(UsageError, match=f"{kind} is not installed .*pip install {kind}"):
            mirror(study, "ppo-1", kind, "p")


def test_tensorboard_reads_what_was_written(study: Store, tmp_path: Path) -> None:
    """Its own files, read by its own reader."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    kind, place = target_of("tensorboard", study)
    assert place == str(tmp_path / "study.tensorboard")
    assert mirror(study, "ppo-1", kind, place) == 2
    (file,) = Path(place, "ppo-1").iterdir()
    found = [
        (value.tag, event.step, make_ndarray(value.tensor).item())
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]
    assert found == [("policy/kl", 1, 0.5), ("score", 1, 2.0)]
