"""The run directory: layout, privacy, configuration, checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UsageError, WorkbenchError
from engine.protocol.building import build
from engine.protocol.catalog import JOBS
from engine.protocol.configs import GenerateConfig
from engine.protocol.rundir import Inputs, ModelRef, RunDir, checkpoint_step
from tests.engine.protocol.test_catalog import REQUIRED


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(
        tmp_path / "runs" / "generate-1", GenerateConfig(policy="smollm2", stop=("\n", 'a"b'))
    )


@pytest.mark.parametrize("kind", JOBS)
def test_configurations_survive_the_trip_through_toml(tmp_path: Path, kind: str) -> None:
    config = build(JOBS[kind].config, REQUIRED[kind])
    assert RunDir.create(tmp_path / kind, config).read_config() == (kind, config)


def test_folders_and_files_are_private(run: RunDir) -> None:
    run.write_inputs(Inputs())
    run.output_path("responses", 1)
    run.trace_path(1)
    for path in run.path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert run.path.stat().st_mode & 0o777 == 0o700


def test_inputs_survive_the_trip(run: RunDir) -> None:
    inputs = Inputs(
        models={"policy": ModelRef(name="mine", folder="/models/mine")},
        tables={"prompts": Path("inputs/prompts.parquet")},
        data_hash="abc",
    )
    run.write_inputs(inputs)
    assert run.inputs == inputs
    assert run.table("prompts") == run.path / "inputs" / "prompts.parquet"
    assert run.model("policy").folder == "/models/mine"
    with pytest.raises(WorkbenchError, match="no input table “rankings”"):
        run.table("rankings")
    with pytest.raises(WorkbenchError, match="names no reward model"):
        run.model("reward_model")


def test_a_run_directory_is_never_taken_over(run: RunDir) -> None:
    with pytest.raises(WorkbenchError, match="exists already"):
        RunDir.create(run.path, GenerateConfig(policy="other"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('kind = "generate"\npolicy = "p"\ntemprature = 1.0\n', "Did you mean “temperature”?"),
        ('kind = "generate"\npolicy = "p"\nsamples = "4"\n', "samples must be a whole number"),
        ('kind = "nonsense"\n', "known kinds are generate"),
        ("policy = ", "is not valid TOML"),
    ],
)
def test_a_wrong_configuration_gets_a_sentence(run: RunDir, text: str, sentence: str) -> None:
    run.config_path.write_text(text)
    with pytest.raises(UsageError) as caught:
        run.read_config()
    assert str(run.config_path) in str(caught.value)
    assert sentence in str(caught.value)


def test_missing_files_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        RunDir(tmp_path).read_config()
    with pytest.raises(WorkbenchError, match="has not been prepared"):
        _ = RunDir(tmp_path).inputs


def test_only_complete_checkpoints_count_and_two_are_kept(run: RunDir) -> None:
    assert run.latest_checkpoint() is None
    for step in (1, 2, 10):
        with run.writing_checkpoint(step) as folder:
            (folder / "weights").write_text(str(step))
    with pytest.raises(RuntimeError), run.writing_checkpoint(11):
        raise RuntimeError("killed half-way")
    latest = run.latest_checkpoint()
    assert latest is not None
    assert (checkpoint_step(latest), (latest / "weights").read_text()) == (10, "10")
    assert [checkpoint_step(path) for path in run.checkpoints()] == [2, 10]


def test_a_checkpoint_can_be_written_again(run: RunDir) -> None:
    for text in ("old", "new"):
        with run.writing_checkpoint(3) as folder:
            (folder / "weights").write_text(text)
    assert (run.checkpoint_dir(3) / "weights").read_text() == "new"


def test_paths_of_events_are_relative(run: RunDir) -> None:
    assert run.relative(run.output_path("scores", 2)) == "outputs/scores-000002.parquet"
