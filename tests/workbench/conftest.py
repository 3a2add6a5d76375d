"""The application survives its own faults, so tests must look for them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

from workbench.services.faults import logger


class Faults(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def faults(request: pytest.FixtureRequest) -> Iterator[list[logging.LogRecord]]:
    """Faults of the program told during the test; any fails a test that is not marked `faults`."""
    handler = Faults()
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)
    if handler.records and request.node.get_closest_marker("faults") is None:
        told = "\n\n".join(logging.Formatter().format(record) for record in handler.records)
        pytest.fail(f"the application told faults of its own:\n{told}", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def sheets_parsed_once() -> Iterator[None]:
    """A style sheet is parsed once for each theme: the application opens some thousand times."""
    parse, parsed = Stylesheet._parse_rules, dict[Any, list[RuleSet]]()

    def parse_once(self: Stylesheet, *sheet: Any, **how: Any) -> list[RuleSet]:
        key = (frozenset(self._variables.items()), sheet, tuple(how.items()))
        if key not in parsed:
            parsed[key] = parse(self, *sheet, **how)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield
