"""How components and constraints become the score that policy learning maximises, with their numbers."""

from __future__ import annotations

from contextlib import suppress

from engine.errors import UsageError
from engine.protocol.rewards import Component, Constraint, parse_constraint
from workbench.services.formulas.parts import MINUS, Figures, Term, number


def score_terms(config: Figures, latest: Figures) -> list[Term]:
    """How several components, or constraints, become the score; nothing where there is one scorer alone."""
    terms = []
    parts = {n.removeprefix("reward/"): v for n, v in latest.items() if n.startswith("reward/")}
    if len(parts) > 1:
        rule = str(config.get("ensemble") or "") or "weighted sum"
        listed = ", ".join(f"{name} {number(value)}" for name, value in list(parts.items())[:6])
        terms.append(Term("s from its components", listed, rule))
    if bounds := _bounds(config):
        told = [
            f"{one.name}: λ {number(latest.get(f'multiplier/{one.name}'))}, "
            f"{number(latest.get(f'cost/{one.component.source}'))} {'≤' if one.at_most else '≥'} "
            f"{number(one.bound)}"
            for one in bounds[:4]
        ]
        terms.append(
            Term(
                f"s′ = (s {MINUS} Σ λ·excess) / (1 + Σ λ)",
                "; ".join(told),
                "constraints; λ rises while its bound is broken",
            )
        )
    return terms


def _bounds(config: Figures) -> list[Constraint]:
    """The constraints of a stored configuration."""
    single = config.get("constraint")
    bounds = (
        [Constraint(Component(str(single)), float(config.get("constraint_bound") or 0))] if single else []
    )
    with suppress(UsageError):
        bounds += [parse_constraint(str(text)) for text in config.get("constraints") or ()]
    return bounds
