"""Whatever a job leaves is there whole or not at all."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from engine.errors import WorkbenchError
from engine.files import sweep, write_atomic, writing_file, writing_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def break_off(path: Path, folder: Path, error: Exception) -> None:
    """Half a file in the place of `path`, or half a folder in that of `folder`; then the error."""
    if path.is_file():
        with writing_file(path) as new:
            new.write_bytes(b"half")
            raise error
    with writing_folder(folder) as new:
        (new / "weights").write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), RuntimeError("(os error 28)"), KeyError("x")])
def test_what_breaks_leaves_what_was_there(tmp_path: Path, error: Exception) -> None:
    path, folder = tmp_path / "a.parquet", tmp_path / "model"
    write_atomic(path, b"old")
    with writing_folder(folder) as temporary:
        (temporary / "weights").write_bytes(b"old")
    told = KeyError if isinstance(error, KeyError) else WorkbenchError
    for target in (path, tmp_path / "none"):
        with pytest.raises(told, match=r"^'x'$|The disk is full: .*(parquet|model) was not written"):
            break_off(target, folder, error)
    assert (path.read_bytes(), (folder / "weights").read_bytes()) == (b"old", b"old")
    assert names(tmp_path) == ["a.parquet", "model"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    for left in (
        "traces/.step-1.parquet.7.tmp",
        "checkpoints/.step-000001.x.tmp/state.json",
        ".model.y.tmp/a",
    ):
        (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / left).touch()
    (tmp_path / ".inputs.json.8.tmp").touch()  # the workbench may be writing it
    sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".inputs.json.8.tmp"]
