"""The packaged model is converted once, whole or not at all; its answers make sense."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from engine.errors import ModelFilesError, WorkbenchError
from engine.models import catalogue
from engine.models.catalogue import resolve_model, resolving
from engine.models.policy import load_policy
from engine.protocol.events import Progress
from engine.rollout import response_text, sample
from engine.text import Tokeniser


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "9.9")
    monkeypatch.setattr(catalogue, "_packaged_gguf", lambda: Path("fake.gguf"))
    return tmp_path / "models"


def test_two_at_once_convert_once(cache: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversions: list[Path] = []

    def convert(source: Path, destination: Path, report: catalogue.OnProgress) -> None:
        conversions.append(source)
        assert not (cache / "smollm2-9.9").exists()
        shutil.copytree(tiny_model, destination, dirs_exist_ok=True)

    monkeypatch.setattr(catalogue, "_convert_gguf", convert)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(resolve_model("smollm2"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cache / "smollm2-9.9"] * 3
    assert len(conversions) == 1
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_conversion_that_fails_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(source: Path, destination: Path, report: catalogue.OnProgress) -> None:
        (destination / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(catalogue, "_convert_gguf", full_disk)
    (cache / ".smollm2-9.9.killed.tmp").mkdir(parents=True)  # of a conversion that was killed
    with pytest.raises(WorkbenchError, match="disk is full"):
        resolve_model("smollm2")
    assert [path.name for path in cache.iterdir()] == [".smollm2.lock"]


def test_without_the_package_it_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelFilesError, match="make install"):
        resolve_model("smollm2")
    kept = tmp_path / "models" / "smollm2-0.1"
    kept.mkdir()
    (kept / "config.json").write_text("{}")
    assert resolve_model("smollm2") == kept


def test_progress_becomes_events_and_errors_pass(
    cache: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(source: Path, destination: Path, report: catalogue.OnProgress) -> None:
        report("converting", 0.5)
        shutil.copytree(tiny_model, destination, dirs_exist_ok=True)

    monkeypatch.setattr(catalogue, "_convert_gguf", convert)
    assert list(resolving("smollm2")) == [Progress(stage="converting", done=50, total=100, unit="%")]
    with pytest.raises(WorkbenchError, match="no model folder"):
        list(resolving("/nowhere"))


@pytest.mark.real
def test_the_real_model_answers_sensibly(smollm2: Path) -> None:
    # its two best first tokens are nearer to each other than bfloat16's digits
    model, tokeniser = load_policy(smollm2, "float32"), Tokeniser.from_folder(smollm2)
    prompt = tokeniser.encode_prompt([{"role": "user", "content": "What is the capital of France?"}])
    (batch,) = sample(
        model, tokeniser, [prompt], samples=1, temperature=0.0, max_new_tokens=16, stop_ids=tokeniser.stop_ids
    )
    assert "Paris" in response_text(tokeniser, batch.responses[0])
    assert batch.responses[0].stopped
