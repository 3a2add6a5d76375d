"""What policy learning maximises, as a configuration writes it.

A component is `NAME*WEIGHT`, where NAME is a registered reward model, `NAME/CRITERION` for one criterion of
it, `package.module:function` for a plain Python function `(prompt, response) -> float`, `plugin:NAME` for
the one that a plugin gives, `verify:NAME` for a check of the prompt's reference answer or metadata, or
`judge:FILE.toml` for a judge (`engine.protocol.reward_judge`).  The weight is 1 when it is not written.

A constraint is `NAME <= BOUND` or `NAME >= BOUND`, of the mean of what NAME gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from engine.errors import UsageError

PLUGIN, VERIFY, JUDGE = "plugin", "verify", "judge"
ENSEMBLE = r"^(minimum|mean-(variance|deviation)(:\d+(\.\d+)?)?)?\Z"
ENSEMBLE_FORM = {"form": "nothing, minimum, mean-variance:λ such as mean-variance:0.5, or mean-deviation:κ"}
_MODEL = re.compile(r"\w[\w .+-]{0,79}(/\w[\w .+-]*)?")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_CONSTRAINT = re.compile(r"(.+?)\s*(<=|>=)\s*([^<>=]+)", re.DOTALL)
_JUDGE_NAME = re.compile(r"\w[\w +-]{0,79}")


@dataclass(frozen=True)
class Component:
    """One term of the reward."""

    source: str  # as written, without the weight, of a judge judge:NAME; the name it is logged under
    weight: float = 1.0
    file: str = ""  # of a judge, as written

    @property
    def is_model(self) -> bool:
        """Whether it names a reward model, rather than a function of Python or a judge."""
        return ":" not in self.source

    @property
    def is_function(self) -> bool:
        """Whether it names a function of Python (`module:function`)."""
        return not self.is_model and not self.file

    @property
    def model(self) -> str:
        """Name of the reward model."""
        return self.source.partition("/")[0]

    @property
    def criterion(self) -> str:
        """Name of the criterion, empty for the model's first."""
        return self.source.partition("/")[2]

    @property
    def role(self) -> str:
        """The name under which a run's inputs list the component's model, or keep a judge's file."""
        return self.source.replace(":", " ") if self.file else f"reward:{self.model}"


@dataclass(frozen=True)
class Ensemble:
    """How the members of an ensemble become one score: as Coste et al. have it (arXiv 2310.02743), or by the
    deviation of their differences within a prompt.
    """

    kind: Literal["minimum", "mean-variance", "mean-deviation"]
    penalty: float = 0.0  # λ of mean − λ·variance, κ of mean − κ·deviation

    @classmethod
    def parse(cls, text: str) -> Ensemble | None:
        """`minimum`, `mean-variance:0.5`, `mean-deviation:1`; None for an empty text."""
        if not text:
            return None
        kind, _, penalty = text.partition(":")
        if kind == "minimum":
            return cls("minimum")
        return cls("mean-deviation" if kind == "mean-deviation" else "mean-variance", float(penalty or 1.0))


@dataclass(frozen=True)
class Constraint:
    """A bound of the mean of a component."""

    component: Component
    bound: float
    at_most: bool = True  # else at least

    @property
    def name(self) -> str:
        """The name that its multiplier is logged under."""
        return self.component.source if self.at_most else f"{self.component.source} >="

    @property
    def sign(self) -> int:
        """What turns (value − bound) into what is too much: 1, or −1 where it must be at least the bound."""
        return 1 if self.at_most else -1


def parse_component(text: str) -> Component:
    """A component as a person writes it.  Raises UsageError."""
    source, star, written = text.strip().rpartition("*")
    if not star:
        source, written = text.strip(), "1"
    source = source.strip()
    try:
        weight = float(written)
    except ValueError:
        raise UsageError(f"The weight in the reward “{text}” is not a number; write NAME*0.5.") from None
    if weight != weight or abs(weight) == float("inf"):
        raise UsageError(f"The weight in the reward “{text}” must be finite.")
    if source.startswith(f"{JUDGE}:"):
        return _judge(source, weight)
    if not (_FUNCTION if ":" in source else _MODEL).fullmatch(source):
        raise UsageError(
            f"“{text}” is not a reward; write the name of a reward model, NAME/CRITERION or "
            "package.module:function, plugin:NAME or judge:FILE.toml, with *WEIGHT behind it if wanted."
        )
    return Component(source, weight)


def _judge(source: str, weight: float) -> Component:
    file = source.removeprefix(f"{JUDGE}:").strip()
    path = PurePath(file)
    if path.suffix.lower() != ".toml" or not _JUDGE_NAME.fullmatch(path.stem):
        raise UsageError(
            f"“{source}” names no judge; write judge:FILE.toml, the file's name of letters, digits, spaces "
            "and _ + -."
        )
    return Component(f"{JUDGE}:{path.stem}", weight, file)


def parse_constraint(text: str) -> Constraint:
    """A constraint as a person writes it, NAME <= BOUND or NAME >= BOUND.  Raises UsageError."""
    found = _CONSTRAINT.fullmatch(text.strip())
    try:
        bound = float(found[3]) if found else math.nan
    except ValueError:
        bound = math.nan
    if found is None or not math.isfinite(bound):
        raise UsageError(f"“{text}” is not a constraint; write NAME <= BOUND or NAME >= BOUND.")
    component = parse_component(found[1])
    if component.weight != 1:
        raise UsageError(
            f"The constraint “{text}” bounds what {component.source} gives; leave the weight out."
        )
    return Constraint(component, bound, found[2] == "<=")


def components_of(reward_model: str, rewards: Sequence[str]) -> list[Component]:
    """Everything that is maximised: the reward model with weight 1, then the other components.

    Raises UsageError when there is nothing, or one thing twice.
    """
    components = [Component(reward_model)] if reward_model else []
    components += [parse_component(text) for text in rewards]
    if not components:
        raise UsageError("There is nothing to maximise; give reward_model, or components as rewards.")
    for component in components:
        if [other.source for other in components].count(component.source) > 1:
            raise UsageError(f"The reward “{component.source}” is named twice; give it one weight.")
    return components
