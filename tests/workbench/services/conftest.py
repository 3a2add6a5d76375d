"""A workspace in memory with a few prompts and responses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage import prompts, responses
from workbench.services.workspace import Workspace
from workbench.settings import Settings


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace.open(Settings(db=":memory:", annotator="ada")) as opened:
        yield opened


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """Two prompts: one with three responses of policies a, a and b, one with two of a and b."""
    store = workspace.store
    first, second = prompts.add_many(
        store,
        [[{"role": "user", "content": "Why is the sky blue?"}], [{"role": "user", "content": "Say hi."}]],
        source="test",
    )
    for prompt, policy, text in (
        (first, "a", "Light."),
        (first, "a", "Light is scattered by the air."),
        (first, "b", "Light is scattered by the air, and blue light more than red."),
        (second, "a", "Hi."),
        (second, "b", "Hello there."),
    ):
        responses.add(store, prompt, policy, text)
    return workspace
