"""Asking torch without importing it: the answer is kept, and goes with what it depends on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.protocol import processor
from engine.protocol.processor import Processor, ask

ANSWER = (
    '{"instructions":"AVX2","cpu_dtype":"float32","device":"cuda:0","device_name":"cuda:0 X",'
    '"device_dtype":"bfloat16","gflops":50.0}'
)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A probe that notes each time it is asked, and a cache of its own; the file of notes."""
    pytest.importorskip("torch")
    notes = tmp_path / "asked"
    code = f"open({str(notes)!r}, 'a').write('.'); print({ANSWER!r})"
    monkeypatch.setattr(processor, "PROBE", (sys.executable, "-c", code))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    return notes


def test_a_machine_is_asked_once(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask()
    assert first is not None
    assert first.instructions == "AVX2"
    assert ask() == first
    assert asked.read_text() == "."
    ask(again=True)
    assert asked.read_text() == ".."
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2_VNNI")  # another answer may be true now
    ask()
    assert asked.read_text() == "..."


def test_a_broken_answer_is_none_and_is_not_kept(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in ("print('no')", "raise SystemExit(3)"):
        monkeypatch.setattr(processor, "PROBE", (sys.executable, "-c", code))
        assert ask() is None
    assert not list((asked.parent / "cache").rglob("*.json"))


def test_a_torn_file_is_asked_again(asked: Path) -> None:
    ask()
    (kept,) = (asked.parent / "cache").rglob("*.json")
    kept.write_text(ANSWER[:20])
    assert ask() is not None
    assert asked.read_text() == ".."


def test_what_auto_leads_to() -> None:
    found = Processor(
        instructions="AVX2",
        cpu_dtype="float32",
        device="cuda:0",
        device_name="",
        device_dtype="bfloat16",
        gflops=1,
    )
    assert [found.dtype("auto", device) for device in ("auto", "cpu", "cuda:1", "mps")] == [
        "bfloat16", "float32", "bfloat16", "float32",
    ]  # fmt: skip
    assert found.dtype("float32", "auto") == "float32"
    assert [found.place(device) for device in ("auto", "cpu", "cuda:1")] == ["cuda", "cpu", "cuda"]
