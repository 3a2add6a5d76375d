"""Which preset fits a sample of rows: by columns and by what they hold."""

from __future__ import annotations

from collections.abc import Sequence

from storage.interchange.mapping.language import parse_path
from storage.interchange.mapping.profile import Column, Row, profile
from storage.interchange.presets.catalogue import PRESETS
from storage.interchange.presets.preset import Preset


def fitting(rows: Sequence[Row]) -> Preset | None:
    """The preset that fits and asks for most; None where none does."""
    columns = {str(c.path): c for c in profile(rows)}
    presets = [p for p in PRESETS if fits(p, columns) and (p.holds is None or p.holds(rows))]
    return max(presets, key=lambda preset: len(preset.needs), default=None)


def fits(preset: Preset, columns: dict[str, Column]) -> bool:
    """Whether a file has the columns that a data set of this preset has, and none that tells it apart."""
    return (
        all(_meets(need, columns) for need in preset.needs)
        and not any(c in columns for c in preset.without)
        and all(mark in text for column, mark in preset.marks for text in columns[column].texts)
    )


def _meets(need: str, columns: dict[str, Column]) -> bool:
    path, _, kinds = need.partition(":")
    if path.startswith("*"):  # a column whose name ends so
        return any(len(c.path.steps) == 1 and c.name.endswith(path[1:]) for c in columns.values())
    column = columns.get(str(parse_path(path)))
    if column is None:
        return False
    return not kinds or column.kind in kinds.split("|")
