"""What a judge does, counted: how often its orders disagree, which place it prefers, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from engine.judging.question import JudgeAnswer


@dataclass
class JudgeTally:
    """Counts over judgements, of two answers each."""

    judgements: int = 0
    ties: int = 0
    disagreements: int = 0
    chosen_first: int = 0  # answers that prefer what stood first, of …
    chosen: int = 0  # … those that prefer one
    mass: float = 0.0
    with_mass: int = 0
    tokens: int = 0
    cost: float = 0.0
    cached: int = 0

    def add(self, straight: JudgeAnswer, turned: JudgeAnswer, verdict: int) -> None:
        """Count a judgement."""
        self.judgements += 1
        self.ties += verdict == 0
        self.disagreements += straight.said != -turned.said
        for answer in (straight, turned):
            self.chosen_first += answer.said == 1
            self.chosen += answer.said != 0
            self.cost += answer.cost or 0.0
            self.cached += answer.cached
            self.tokens += (answer.tokens_in or 0) + (answer.tokens_out or 0)
            if answer.mass is not None:
                self.mass += answer.mass
                self.with_mass += 1

    def figures(self) -> dict[str, float | None]:
        """Metrics so far: shares of judgements, `first` of answers that prefer one."""
        count = self.judgements
        return {
            "judge/orders_disagree": self.disagreements / count if count else None,
            "judge/ties": self.ties / count if count else None,
            "judge/first": self.chosen_first / self.chosen if self.chosen else None,
            "judge/mass": self.mass / self.with_mass if self.with_mass else None,
            "judge/cost": self.cost,
        }

    def summary(self, asked: int) -> dict[str, float | int | str | None]:
        """What a run says at its end; `asked` is how many pairs its last process asked of."""
        figures = self.figures()
        shares = {
            name.removeprefix("judge/"): value for name, value in figures.items() if name != "judge/cost"
        }
        rounded = {name: None if value is None else round(value, 4) for name, value in shares.items()}
        return {
            "judgements": self.judgements,
            "asked": asked,
            **rounded,
            "tokens": self.tokens,
            "cost": round(self.cost, 6),
            "from_cache": self.cached,
        }
