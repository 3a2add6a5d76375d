"""Formulas of reward models with numbers: what a judged step teaches."""

from __future__ import annotations

from workbench.services.formulas.parts import MINUS, Figures, Term, number, percent


def process_reward(config: Figures, latest: Figures) -> tuple[str, list[Term]]:
    """A process reward model."""
    neutral = {"good": "good", "bad": "bad", "left_out": "left out"}.get(str(config.get("neutral")), "good")
    return "Process reward model", [
        Term(
            f"L = {MINUS}Σ log σ(±r) + s·|w|²,  r = w·features at a step's end + b",
            f"a neutral step is {neutral}",
            "+ for a good step, − for a bad one; s is the strength of least log-loss on prompts left out",
        ),
        Term(
            "held out",
            f"log-loss {number(latest.get('heldout/log_loss'))}, "
            f"accuracy {percent(latest.get('heldout/accuracy'))} a step; the more frequent label "
            f"{percent(latest.get('heldout/majority'))}",
            f"first wrong step found in {percent(latest.get('heldout/first_wrong'))} of the responses",
        ),
    ]
