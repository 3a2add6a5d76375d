"""What the doctor finds, and what it puts right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage.care.doctor import is_whole_safetensors, look_at_files, look_inside
from storage.errors import NotADatabaseError
from storage.store import Store
from tests.storage.builders import add_prompt
from tests.storage.file.test_recovery import killed, log_of, prompts_in  # noqa: F401


def damage(path: Path) -> bytes:
    """Change one byte in the middle of the log's entries; the whole log before that."""
    content = bytearray(log_of(path).read_bytes())
    at = 8
    while at < len(content) // 2:
        at += 16 + int.from_bytes(content[at : at + 8], "little")
    content[at + 16] ^= 255
    log_of(path).write_bytes(content)
    return bytes(content)


def test_a_sound_store_has_nothing(killed: Path) -> None:  # noqa: F811
    assert list(look_at_files(killed, repair=True)) == []
    with Store.open(killed) as store:
        assert list(look_inside(store)) == []


def test_a_damaged_log_is_kept_and_cut(killed: Path) -> None:  # noqa: F811
    content = damage(killed)
    (found,) = look_at_files(killed, repair=False)
    assert "is damaged at byte" in found.sentence
    assert log_of(killed).read_bytes() == content
    with pytest.raises(NotADatabaseError):
        Store.open(killed)
    (mended,) = look_at_files(killed, repair=True)
    assert mended.repaired
    (copy,) = killed.parent.glob("*.kept-*")
    assert copy.read_bytes() == content
    assert str(copy) in mended.sentence
    with Store.open(killed) as store:
        assert 0 < prompts_in(store) < 30
        assert list(look_inside(store)) == []


def test_what_killed_processes_left_goes_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    Store.open(path).close()
    left = tmp_path / ".a.duckdb.0123456789abcdef.building"
    left.touch()
    other = tmp_path / ".b.duckdb.0123456789abcdef.building"
    other.touch()
    (found,) = look_at_files(path, repair=False)
    assert not found.repaired
    assert left.exists()
    (found,) = look_at_files(path, repair=True)
    assert found.repaired
    assert not left.exists()
    assert other.exists()


def sentences(store: Store) -> str:
    return "\n".join(finding.sentence for finding in look_inside(store))


def test_damage_in_a_block_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        values = "SELECT 'q' || range, repeat(md5(range::VARCHAR), 20), '[]' FROM range(20000)"
        store.write(f"INSERT INTO prompts (prompt_id, text, messages) {values}")
    content = bytearray(path.read_bytes())
    with Store.open(path) as store:
        row = store.row("SELECT max(block_id) FROM pragma_storage_info('prompts') WHERE column_name = 'text'")
    assert row is not None
    start = 12288 + int(row[0]) * 262144
    content[start + 100_000 : start + 100_100] = bytes(100)
    path.write_bytes(content)
    with Store.open(path) as store:
        assert "The table prompts cannot be read whole" in sentences(store)


def test_rows_artifacts_and_runs_are_looked_at(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        prompt = add_prompt(store)
        assert sentences(store) == ""
        cursor = store.cursor()
        cursor.execute(
            "INSERT INTO scores (response_id, reward_model_id, score, backend) VALUES ('r1', 'f1', 1, 't')"
        )
        assert store.runs_root is not None
        (store.runs_root / "stray").mkdir()
        (store.runs_root / "stray" / "config.toml").touch()
        model = tmp_path / "model"
        model.mkdir()
        (model / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      torn")
        for kind, name, path in (
            ("policy", "gone", tmp_path / "gone"),
            ("policy", "torn", model),
            ("checkpoint", "5", tmp_path / "given-up"),
        ):
            cursor.execute(
                "INSERT INTO artifacts (artifact_id, kind, name, path) VALUES (?, ?, ?, ?)",
                [name, kind, name, str(path)],
            )
        found = sentences(store)
        assert "Rows of scores belong to responses that are not there: 1." in found
        assert "The files of policy gone are gone" in found
        assert "model.safetensors is not whole; policy torn cannot be loaded" in found
        assert "stray belongs to no run" in found
        assert "checkpoint" not in found  # a run gives up old ones
        assert prompt


def test_a_safetensors_file_is_as_long_as_it_says(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(8)
    file = tmp_path / "a.safetensors"
    for content, good in (
        (whole, True),
        (whole[:-1], False),
        (whole[:20], False),
        (b"", False),
        (b"x" * 99, False),
    ):
        file.write_bytes(content)
        assert is_whole_safetensors(file) == good
