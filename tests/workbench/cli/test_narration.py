"""Progress away from a terminal."""

from __future__ import annotations

import pytest

from workbench.cli.narration import Narrator


def test_a_stage_that_ends_time_and_again_says_so_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr("workbench.cli.narration.time.monotonic", lambda: next(clock))
    narrator = Narrator()
    for _ in range(5):
        narrator.progress("evaluating", 100, 100, "%")
    narrator.progress("saving", 0, 100, "%")
    narrator.progress("evaluating", 100, 100, "%")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["evaluating  100%", "saving  0%", "evaluating  100%"]
