"""What goes over the pipe comes out as it went in, and what is no message is refused."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.elsewhere import agent, carrier
from engine.elsewhere.files import made, safe_path
from engine.elsewhere.messages import (
    GREETING,
    MOST,
    Alive,
    AnyMessage,
    Ask,
    Begin,
    Chunk,
    Ended,
    File,
    Given,
    Log,
    Needs,
    Refused,
    pass_greeting,
    read_message,
    write_message,
)
from engine.errors import WorkbenchError
from engine.protocol.configs import GenerateConfig
from engine.protocol.launch import Nodes
from engine.protocol.rundir import RunDir

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER, DATA = st.integers(-(2**63), 2**63 - 1), st.binary(max_size=50)
GIVEN = st.builds(Given, path=TEXT, sha256=TEXT)
MESSAGES = st.one_of(
    st.builds(
        Begin, version=TEXT, run=TEXT, folder=TEXT, launcher=TEXT, processes=NUMBER, offset=NUMBER,
        files=st.lists(GIVEN).map(tuple), have=st.dictionaries(TEXT, st.tuples(NUMBER, NUMBER)),
        nodes=st.none() | st.builds(Nodes, count=NUMBER, interface=TEXT),
        slurm=st.none() | st.dictionaries(TEXT, TEXT | st.booleans() | NUMBER),
    ),
    st.builds(Needs, st.lists(TEXT).map(tuple)),
    st.builds(Chunk, DATA, st.booleans()),
    st.builds(File, path=TEXT, changed=NUMBER, data=DATA, last=st.booleans()),
    st.builds(Ended, code=st.none() | NUMBER, words=TEXT),
    *(st.builds(kind, TEXT) for kind in (Ask, Refused)),
    st.builds(Log, DATA),
    st.builds(Alive, TEXT),
)  # fmt: skip


@given(st.lists(MESSAGES, max_size=5))
def test_messages_come_out_as_they_went_in(sent: list[AnyMessage]) -> None:
    stream = io.BytesIO()
    for message in sent:
        write_message(stream, message)
    stream.seek(0)
    assert [read_message(stream) for _ in sent] == sent
    assert read_message(stream) is None


@given(st.binary())
def test_bytes_are_a_message_or_the_end_or_refused(data: bytes) -> None:
    stream = io.BytesIO(data)
    try:
        while (message := read_message(stream)) is not None:
            assert isinstance(message, AnyMessage)
    except ValueError:
        pass


def test_a_message_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="16,777,217 bytes"):
        read_message(io.BytesIO((MOST + 1).to_bytes(4)))


@given(st.binary(max_size=200).filter(lambda printed: GREETING not in printed + GREETING[:-1]))
def test_what_a_login_prints_is_passed_over(printed: bytes) -> None:
    stream = io.BytesIO(printed + GREETING + b"rest")
    assert pass_greeting(stream) is None
    assert stream.read() == b"rest"
    assert pass_greeting(io.BytesIO(printed)) == printed.decode("utf-8", "replace").strip()


PARTS = st.sampled_from(["..", ".", "", "a", "outputs", "/", "~", "a\0", ".hidden", "config.toml"])


@given(st.lists(PARTS).map("/".join))
def test_no_path_leads_out(path: str) -> None:
    relative = safe_path(path)
    if relative is not None:
        assert not relative.is_absolute()
        assert ".." not in relative.parts
        assert str(relative) == path
        assert PurePosixPath("/run", relative).is_relative_to("/run")


@pytest.mark.parametrize(
    "path",
    [
        *("../outside", "/etc/passwd", "config.toml", "inputs/prompts.parquet", "events.jsonl", "lock", ""),
        *(
            "outputs/../../outside",
            "checkpoints/step-000001/model",
            "outputs/.hidden",
            "host.json",
            "linked/a",
        ),
    ],
)
def test_the_other_machine_writes_none_but_a_workers_files(path: str, tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", GenerateConfig(policy="p"))
    (run.path / "linked").symlink_to(run.path.parent)
    with pytest.raises(WorkbenchError):
        carrier._Incoming(run).take(File(path, 0, b"x", last=True))
    good = carrier._Incoming(run)
    good.take(File("outputs/a.parquet", 5_000, b"one ", last=False))
    assert not (run.path / "outputs/a.parquet").exists()
    good.take(File("outputs/a.parquet", 5_000, b"two", last=True))
    assert (run.path / "outputs/a.parquet").read_bytes() == b"one two"
    assert (run.path / "outputs/a.parquet").stat().st_mtime_ns == 5_000
    assert made(run) == {"outputs/a.parquet": (7, 5_000)}


@pytest.mark.parametrize("path", ["../outside", "/tmp/outside", "a/../../b"])
def test_nor_does_a_carrier_write_elsewhere_there(path: str, tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", GenerateConfig(policy="p"))
    with pytest.raises(WorkbenchError, match="lies outside"):
        agent._lay_down(run, Given(path, "0" * 64), run.config_path)
    with pytest.raises(WorkbenchError, match="is no SHA-256"):
        agent._content_name("../" + "0" * 61)


def test_a_line_that_is_longer_than_any_event_is_not_sent(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", GenerateConfig(policy="p"))
    run.events_path.write_bytes(b"{}\n" + b"x" * (MOST + 1) + b"\n{}\n")
    assert agent._new_lines(run, 0) == b"{}\n"
    assert agent._new_lines(run, 3) == b""
