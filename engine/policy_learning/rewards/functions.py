"""Rewards that are functions: how they are found and what they are asked.  Torch-free.

A function is asked by the names of its parameters: `prompt`, `response`, `reference` (the prompt's reference
answer, or None) and `metadata` (its metadata, a dictionary), of which it has any; the first two may have
other names.  One that has `prompts` and `responses` is given lists of a whole batch, `references` and
`metadata` among them if it has them, and gives a list of scores.  One that has `seconds` is told how many it
has for a response, and keeps to them by itself.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.errors import UsageError, line_of
from engine.protocol.plugins import load, plugged
from engine.protocol.rewards import PLUGIN, VERIFY
from engine.protocol.suggest import did_you_mean
from engine.wording import counted


class Item(NamedTuple):
    """What a function sees of one response."""

    prompt: str
    response: str
    reference: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class RewardFunction:
    """A function by the name it was given, ready to be asked."""

    source: str
    function: Callable[..., Any]
    extra: tuple[str, ...]  # parameters beside prompt and response
    batched: bool
    seconds: float = 0.0  # for a response, as told to a function that wants to know; 0 is no limit

    @property
    def keeps_time(self) -> bool:
        """Whether it keeps to its seconds by itself, so that nobody need end it."""
        return "seconds" in self.extra

    @classmethod
    def found(cls, source: str, seconds: float = 0.0) -> RewardFunction:
        """The function `package.module:function`, `plugin:NAME` or `verify:NAME`.  Raises UsageError."""
        function = import_function(source)
        try:
            names = list(inspect.signature(function).parameters)
        except (TypeError, ValueError):  # of a built-in, which does not say
            names = []
        batched = {"prompts", "responses"} <= set(names)
        wanted = ("references" if batched else "reference", "metadata", "seconds")
        return cls(source, function, tuple(name for name in wanted if name in names), batched, seconds)

    def scores(self, items: Sequence[Item]) -> list[float]:
        """A finite score of each.  Raises UsageError, naming the function."""
        where = f"The reward function {self.source}"
        try:
            given = self._batch(items) if self.batched else [self._single(item) for item in items]
            scores = [float(score) for score in given]
        except (Exception, SystemExit) as error:  # the person's own code may raise anything
            raise UsageError(f"{where} failed ({type(error).__name__}: {line_of(error)}).") from error
        if len(scores) != len(items):
            raise UsageError(
                f"{where} gave {counted(len(scores), 'score')} for {counted(len(items), 'response')}."
            )
        for score in scores:
            if not math.isfinite(score):
                raise UsageError(f"{where} gave {score}; it must give a finite number for every response.")
        return scores

    def _single(self, item: Item) -> Any:
        known = {"reference": item.reference, "metadata": item.metadata or {}, "seconds": self.seconds}
        return self.function(item.prompt, item.response, **{name: known[name] for name in self.extra})

    def _batch(self, items: Sequence[Item]) -> Any:
        known = {
            "references": [item.reference for item in items],
            "metadata": [item.metadata or {} for item in items],
            "seconds": self.seconds,
        }
        return self.function(
            prompts=[item.prompt for item in items],
            responses=[item.response for item in items],
            **{name: known[name] for name in self.extra},
        )


def import_function(path: str) -> Callable[..., Any]:
    """The function `package.module:function` of an installed package or one on PYTHONPATH, `plugin:NAME`, or
    a verifier, `verify:NAME`.  Raises UsageError naming the path, or what the verifier needs.
    """
    module_name, _, name = path.partition(":")
    if module_name == PLUGIN:
        return _plugged_function(name)
    if module_name == VERIFY:
        return _verifier(name)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the module's own code may raise anything
        raise UsageError(
            f"The reward function {path} cannot be imported ({type(error).__name__}: {line_of(error)}); "
            "install its package, or put its folder on PYTHONPATH."
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"The reward function {path} does not exist: {module_name} has no function {name}.")
    reward: Callable[..., Any] = function
    return reward


def _verifier(name: str) -> Callable[..., Any]:
    from engine.policy_learning.rewards.verifiers import READY, VERIFIERS

    if name not in VERIFIERS:
        raise UsageError(f"There is no verifier “{name}”. {did_you_mean(name, VERIFIERS)}")
    READY.get(name, lambda: None)()
    return VERIFIERS[name]


def _plugged_function(name: str) -> Callable[..., Any]:
    known = plugged("rewards")
    if name not in known:
        raise UsageError(f"There is no plugin with a reward “{name}”. {did_you_mean(name, known)}")
    function: Callable[..., Any] = load("rewards", name)
    if not callable(function):
        raise UsageError(f"The reward “{name}” of a plugin is not a function; correct its entry point.")
    return function
