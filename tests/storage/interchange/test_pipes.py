"""Files that can be read once only: pipes by name, `/dev/stdin`, what a shell passes as `<(…)`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from storage import prompts
from storage.errors import ImportFileError
from storage.interchange.containers import opening
from storage.interchange.importing import import_file
from storage.store import Store

ROOT = Path(__file__).parents[3]
ROWS = '{"prompt": "Say one."}\n{"prompt": "Say two."}\n'


def test_a_named_pipe_is_read_to_its_end(store: Store, tmp_path: Path) -> None:
    pipe = tmp_path / "rows.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(ROWS))
    writer.start()
    try:
        import_file(store, pipe)
    finally:
        writer.join(timeout=30)
    assert prompts.count(store) == 2


def test_a_pipe_without_a_writer_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    monkeypatch.setattr(opening, "WRITER_WITHIN", 0.05)
    with pytest.raises(ImportFileError, match="Nothing is written into"):
        import_file(store, tmp_path / "rows.jsonl")
    with pytest.raises(ImportFileError, match="is a pipe; import it alone"):
        opening.open_source([tmp_path / "rows.jsonl", tmp_path / "rows.jsonl"])


def test_a_device_without_rows_is_told(store: Store) -> None:
    with pytest.raises(ImportFileError, match="/dev/null is empty"):
        import_file(store, Path("/dev/null"))


def test_what_has_no_end_does_not_fill_the_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImportFileError, match="/dev/zero is a device without an end"):
        import_file(store, Path("/dev/zero"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    room = shutil.disk_usage(tmp_path)
    sizes = iter([room.total, room.total, 0])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room._replace(free=next(sizes)))
    with subprocess.Popen(["yes", ROWS], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        with pytest.raises(ImportFileError, match="has room for"):
            opening._piped("the pipe", endless.stdout, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "shell", ["{import_} /dev/stdin < rows", "cat rows | {import_} /dev/stdin", "{import_} <(cat rows)"]
)
def test_what_a_shell_hands_over_is_read(tmp_path: Path, shell: str) -> None:
    (tmp_path / "rows").write_text(ROWS)
    program = (
        "import sys; from storage.store import Store; from storage.interchange.importing import import_file; "
    )
    program += "print(import_file(Store.open(sys.argv[1]), sys.argv[2]))"
    import_ = f"{sys.executable} -c '{program}' a.duckdb"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", shell.format(import_=import_)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "2 prompts added" in done.stdout
