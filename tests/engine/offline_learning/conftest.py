"""Fixtures of the training loops' tests."""

from tests.engine.training.fixtures import one_thread, ppo_models  # noqa: F401
