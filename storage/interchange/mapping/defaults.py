"""What a person says about a whole file, where its rows do not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Defaults:
    """What the user says about a whole file."""

    policy: str = "imported"  # of responses whose file names none
    annotator: str = "imported"  # of judgements whose file names none
    annotator_prefix: str = ""  # before the names of columns that are one annotator each
    criterion: str = "overall"
