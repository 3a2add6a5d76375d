"""The export job: verified files only, with the numbers; nothing left of those that failed."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.errors import UsageError, VerificationError
from engine.jobs import export_onnx
from engine.onnx.agreement import kendall_tau
from engine.protocol.configs import ExportConfig
from engine.protocol.events import Artifact, Event, Finished, Message
from engine.scoring import Precision, graph
from tests.engine.training.runs import chat, make_run

CONFIG = ExportConfig(reward_model="tiny", samples=8, tau_int8=-1.0, device="cpu")
ROWS = [
    {"response_id": f"r{n}", "prompt_id": "p", "messages": chat("Why?"), "text": "because " * n}
    for n in range(12)
]


def run_export(
    path: Path, model: Path, config: ExportConfig = CONFIG, rows: list[dict] = ROWS
) -> tuple[Path, list[Event]]:
    run = make_run(path, config, {"reward_model": model}, {"responses": rows})
    return run.path, list(export_onnx.run(config, run))


@pytest.fixture
def quick_export(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies a graph that was exported before instead of exporting again."""
    exported = tiny_onnx / "fp32.onnx"
    monkeypatch.setattr(
        export_onnx,
        "export",
        lambda model, layers, folder, precision: shutil.copyfile(exported, folder / f"{precision}.onnx"),
    )


@pytest.mark.usefixtures("quick_export")
def test_both_files_are_verified_and_registered(tiny_reward: Path, tmp_path: Path) -> None:
    folder, events = run_export(tmp_path / "run", tiny_reward)
    artifacts = {event.name: event for event in events if isinstance(event, Artifact)}
    assert {name: artifact.path for name, artifact in artifacts.items()} == {
        "fp32": "onnx/fp32.onnx",
        "int8": "onnx/int8.onnx",
    }
    assert artifacts["fp32"].details["max_difference"] < 1e-4
    assert artifacts["fp32"].details["kendall_tau"] == 1.0
    assert artifacts["fp32"].details["samples"] == 8
    names = {file.name for file in (folder / "onnx").iterdir()}
    assert names >= {"fp32.onnx", "int8.onnx", "config.json", "tokenizer.json", "chat_template.jinja"}
    assert names >= {"head.safetensors", "reward.json"}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (folder / "onnx").iterdir())
    assert isinstance(events[-1], Finished)
    assert not (folder / ".onnx.tmp").exists()


@pytest.mark.usefixtures("quick_export")
def test_fp32_beyond_the_tolerance_fails_with_the_numbers(
    tiny_reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = export_onnx.onnx_scores
    monkeypatch.setattr(export_onnx, "onnx_scores", lambda *arguments: honest(*arguments) + 0.25)
    with pytest.raises(VerificationError, match=r"largest difference 0\.25, mean 0\.25, 0\.001 allowed"):
        run_export(tmp_path / "run", tiny_reward)
    assert not (tmp_path / "run" / "onnx").exists()
    assert not (tmp_path / "run" / ".onnx.tmp").exists()


@pytest.mark.usefixtures("quick_export")
def test_scores_that_are_not_numbers_fail(
    tiny_reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        export_onnx, "onnx_scores", lambda folder, precision, samples: np.full(len(samples), np.nan)
    )
    with pytest.raises(VerificationError, match="disagrees"):
        run_export(tmp_path / "run", tiny_reward)


@pytest.mark.usefixtures("quick_export")
def test_int8_that_ranks_differently_is_not_registered(
    tiny_reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = export_onnx.onnx_scores

    def reversed_int8(folder: Path, precision: Precision, samples: list) -> np.ndarray:
        found = honest(folder, precision, samples)
        return -found if precision == "int8" else found

    monkeypatch.setattr(export_onnx, "onnx_scores", reversed_int8)
    config = msgspec.structs.replace(CONFIG, tau_int8=0.9)
    folder, events = run_export(tmp_path / "run", tiny_reward, config)
    assert [event.name for event in events if isinstance(event, Artifact)] == ["fp32"]
    again, warning = [event for event in events if isinstance(event, Message)]
    assert (again.level, warning.level) == ("info", "warning")
    assert "trying again" in again.text
    assert "0.9 wanted; largest difference" in warning.text
    assert not (folder / "onnx" / "int8.onnx").exists()


@pytest.mark.usefixtures("quick_export")
def test_float32_that_ranks_differently_fails(
    tiny_reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = export_onnx.onnx_scores
    monkeypatch.setattr(export_onnx, "onnx_scores", lambda *arguments: -honest(*arguments))
    with pytest.raises(VerificationError, match=r"Kendall τ -1\.000, 0\.99 wanted"):
        run_export(tmp_path / "run", tiny_reward, msgspec.structs.replace(CONFIG, tolerance=100.0))


@pytest.mark.usefixtures("quick_export")
def test_int8_is_written_more_carefully_before_it_is_given_up(
    tiny_reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, asked = export_onnx.onnx_scores, []

    def wrong_once(folder: Path, precision: Precision, samples: list) -> np.ndarray:
        asked.append(precision)
        found = honest(folder, precision, samples)
        return -found if asked == ["fp32", "int8"] else found

    monkeypatch.setattr(export_onnx, "onnx_scores", wrong_once)
    folder, events = run_export(tmp_path / "run", tiny_reward, msgspec.structs.replace(CONFIG, tau_int8=0.3))
    assert [event.name for event in events if isinstance(event, Artifact)] == ["fp32", "int8"]
    assert asked == ["fp32", "int8", "int8"]
    nodes = onnx.load(folder / "onnx" / "int8.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("MatMulIntegerToFloat") == 2 * 3  # of each layer: output, gate, up


@pytest.mark.usefixtures("quick_export")
def test_where_hidden_tokens_are_seen_they_are_hidden_further(
    tiny_reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "HIDDEN", 0.0)  # as if visible scores were as low as hidden ones
    folder, events = run_export(tmp_path / "run", tiny_reward)
    assert [event.name for event in events if isinstance(event, Artifact)] == ["fp32", "int8"]
    (again,) = [event.text for event in events if isinstance(event, Message)]
    assert "0.001 allowed; trying again with hidden tokens further away" in again
    for name in ("fp32", "int8"):
        described = {
            entry.key: entry.value for entry in onnx.load(folder / "onnx" / f"{name}.onnx").metadata_props
        }
        assert described["hidden"] == "-1e+30"


def test_too_few_responses_to_verify_on(tiny_reward: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not 1; generate or import"):
        run_export(tmp_path / "run", tiny_reward, rows=ROWS[:1])


@given(
    arrays(float, st.shared(st.integers(2, 12), key="n"), elements=st.integers(-3, 3).map(float)), st.data()
)
def test_kendall_tau_is_that_of_counting_pairs(first: np.ndarray, data: st.DataObject) -> None:
    second = data.draw(arrays(float, len(first), elements=st.integers(-3, 3).map(float)))
    pairs = [(i, j) for i in range(len(first)) for j in range(i)]
    agree = sum(np.sign(first[i] - first[j]) * np.sign(second[i] - second[j]) for i, j in pairs)
    a, b = (sum(values[i] != values[j] for i, j in pairs) for values in (first, second))
    if a and b:
        assert kendall_tau(first, second) == pytest.approx(agree / (a * b) ** 0.5)
    assert kendall_tau(first, first) == 1.0
    assert kendall_tau(first, np.zeros_like(first)) == (0.0 if a else 1.0)
