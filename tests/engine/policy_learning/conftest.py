"""Fixtures of the training loops' tests."""

from collections.abc import Iterator

import pytest

from tests.engine.chat_serving import ChatFake
from tests.engine.training.fixtures import one_thread, ppo_models  # noqa: F401


@pytest.fixture
def fake() -> Iterator[ChatFake]:
    """An endpoint that prefers the shorter of two responses."""
    server = ChatFake()
    yield server
    server.close()
