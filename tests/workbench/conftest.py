"""The application survives its own faults, so tests must look for them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

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
