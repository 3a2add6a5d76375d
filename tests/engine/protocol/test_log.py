"""The event log: what one process appends, another reads whole and once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.protocol.events import Envelope, Event, Failed, Finished, Message, Metrics, Progress, Started
from engine.protocol.log import EventLog, encode_line, tail

finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=30)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Metrics, step=st.integers(0, 2**53), values=st.dictionaries(words, finite, max_size=4)),
    st.builds(Progress, stage=words, done=finite, total=st.none() | finite, unit=words),
    st.builds(Message, level=st.sampled_from(["info", "warning"]), text=words),
    st.builds(Failed, reason=words),
    st.builds(Finished, summary=st.dictionaries(words, finite | words | st.integers(0, 10), max_size=3)),
    st.builds(Started, pid=st.integers(1, 2**22), device=words),
)
garbage = st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"") + b"\n")


def stamped(said: list[Event]) -> list[Envelope]:
    return [Envelope(seq=i, at=float(i), event=event) for i, event in enumerate(said, 1)]  # type: ignore[arg-type]


def read_all(path: Path, offset: int = 0, limit: int = 2**20) -> tuple[list[Envelope], int, int]:
    found: list[Envelope] = []
    unreadable = 0
    while True:
        part = tail(path, offset, limit=limit)
        found += part.envelopes
        unreadable += part.unreadable
        if part.offset == offset:
            return found, offset, unreadable
        offset = part.offset


@settings(max_examples=60, deadline=None)
@given(said=st.lists(events, max_size=6), cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_any_split_of_the_bytes_gives_the_same_envelopes(
    tmp_path_factory: pytest.TempPathFactory, said: list[Event], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    envelopes = stamped(said)
    data = b"".join(encode_line(envelope) for envelope in envelopes)
    found: list[Envelope] = []
    offset = 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        path.write_bytes(data[:cut])
        part = tail(path, offset)
        found += part.envelopes
        offset = part.offset
        assert part.unreadable == 0
    assert found == envelopes
    assert offset == len(data)


@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(st.one_of(events, garbage), max_size=8))
def test_garbage_lines_are_counted_and_the_rest_is_read(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[Event | bytes]
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    envelopes = stamped([piece for piece in pieces if not isinstance(piece, bytes)])
    waiting = iter(envelopes)
    path.write_bytes(
        b"".join(piece if isinstance(piece, bytes) else encode_line(next(waiting)) for piece in pieces)
    )
    found, offset, unreadable = read_all(path)
    assert found == envelopes
    assert offset == path.stat().st_size
    assert unreadable == sum(isinstance(piece, bytes) and bool(piece.strip()) for piece in pieces)


def test_a_line_longer_than_any_event_does_not_hold_up_the_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    envelope = Envelope(seq=1, at=0.0, event=Failed(reason="x"))
    path.write_bytes(b"z" * 1000 + b"\n" + encode_line(envelope))
    found, _, unreadable = read_all(path, limit=256)
    assert found == [envelope]
    assert unreadable >= 1


def test_missing_file_has_no_events(tmp_path: Path) -> None:
    assert tail(tmp_path / "none") == ([], 0, 0)


@pytest.mark.parametrize(
    "torn", [b"{", b'{"seq":3,"at":1.0,"event":{"type":"fin', b"\xff\xfe", b"x" * 200_000]
)
def test_a_torn_end_is_cut_and_the_sequence_goes_on(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append(Message(level="info", text="one"))
        log.append(Message(level="info", text="two"))
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(torn)
    assert tail(path).offset == whole
    with EventLog(path) as log:
        assert log.append(Failed(reason="three")).seq == 3
    assert [envelope.seq for envelope in tail(path).envelopes] == [1, 2, 3]
    assert tail(path).unreadable == 0


def test_a_log_of_nothing_but_half_a_line_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"seq":1')
    with EventLog(path) as log:
        assert log.append(Failed(reason="x")).seq == 1
    assert len(tail(path).envelopes) == 1


def test_a_failed_write_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append(Failed(reason="one"))
        before = path.read_bytes()
        real = __import__("os").pwrite
        calls = []

        def full_disk(fd: int, data: bytes, offset: int) -> int:
            calls.append(1)
            if len(calls) > 1:
                raise OSError(28, "No space left on device")
            return real(fd, data[:5], offset)

        monkeypatch.setattr("engine.protocol.log.os.pwrite", full_disk)
        with pytest.raises(OSError, match="No space"):
            log.append(Failed(reason="two"))
        assert path.read_bytes() == before
        monkeypatch.undo()
        assert log.append(Failed(reason="two")).seq == 2


def test_numbers_that_are_not_finite_and_lone_surrogates_survive_the_trip(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append(Metrics(step=1, values={"a": math.nan, "b": math.inf, "c": 1.5}))
        log.append(Failed(reason="broken \ud800 text"))
    first, second = tail(path).envelopes
    assert isinstance(first.event, Metrics)
    assert first.event.values == {"a": None, "b": None, "c": 1.5}
    assert isinstance(second.event, Failed)
    assert second.event.reason == "broken ? text"


def test_numpy_scalars_are_numbers(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append(Metrics(step=1, values={"a": np.float32(0.5)}))  # type: ignore[dict-item]
    event = tail(path).envelopes[0].event
    assert isinstance(event, Metrics)
    assert event.values == {"a": 0.5}


def test_the_file_is_private(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl"):
        assert (tmp_path / "events.jsonl").stat().st_mode & 0o777 == 0o600
