"""The examples in the docstrings of the objectives are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import engine.objectives

MODULES = sorted(path.stem for path in Path(engine.objectives.__path__[0]).glob("[a-z]*.py"))
WITHOUT = {"logprobs", "ranking"}
"""Of heads and rankings, for which an example would be longer than the code."""


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"engine.objectives.{name}"))
    assert found.failed == 0
    assert (found.attempted == 0) is (name in WITHOUT)
