"""Which files are offered for import, by their names."""

from __future__ import annotations

import pytest

from storage.interchange.endings import ENDINGS, is_readable


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        *((f"data{ending}", True) for ending in ENDINGS),
        *(("DATA.JSONL", True), ("a.csv.gz", True), (".hidden.json", False), ("README", False)),
        *(("json", False), ("deck.cards", True), ("deck.card", False), ("photo.png", False)),
    ],
)
def test_endings_of_readers_and_of_plugins_are_offered(
    name: str, readable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.interchange.containers.plugged.plugged", lambda _: {"cards": "a reader"})
    assert is_readable(name) == readable
