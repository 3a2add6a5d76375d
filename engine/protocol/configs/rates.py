"""Learning rates where none is given: they depend on what is trained and on the objective.

| objective | every weight | where it is from |
| --- | --- | --- |
| policy learning, critic | 1e-5 | InstructGPT's value function, 9e-6 up to 6B (arXiv 2203.02155, app. C.4); Huang et al. take 3e-6 for 1B – 6.9B (arXiv 2403.17031, table 5), Ahmadian et al. 1e-6 for 7B (arXiv 2402.14740) |
| imitation (SFT) | 1e-5 | InstructGPT, 9.65e-6 for 1.3B and 6B (app. C.1) |
| imitation beside preferences (CPO, ORPO) | 1e-5 | CPO, 1e-4 with adapters for 13B (arXiv 2401.08417, §4.1); ORPO, 8e-6 for 7B (arXiv 2403.07691, app. C) |
| preferences alone (DPO, SimPO, KTO) | 2e-6 | 1e-6 for 2.8B – 6B (Rafailov et al., arXiv 2305.18290, app. B), 3e-7 – 1e-6 for DPO and SimPO at 7B – 8B (arXiv 2405.14734, app. B); small models bear more |
| reward model | 2e-5 | InstructGPT, 9e-6 at batches of 64 prompts (app. C.2); twice that is what docs/benchmarks.md measures |

Adapters take ten times the rate of every weight, whatever their rank (Schulman et al., "LoRA without regret",
Thinking Machines, 2025).
"""  # noqa: E501

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

Objective = Literal["policy", "critic", "sft", "dpo", "reward"]

EVERY_WEIGHT: dict[Objective, float] = {
    "policy": 1e-5,
    "critic": 1e-5,
    "sft": 1e-5,
    "dpo": 2e-6,
    "reward": 2e-5,
}
ADAPTERS = 10.0  # times the rate of every weight


def learning_rate(given: float, objective: Objective, tuning: str) -> float:
    """The rate given, or that of the objective and of what is trained when 0 is given.

    A head on a frozen trunk is fitted without one; what `auto` compares takes each its own.
    """
    if given:
        return given
    return EVERY_WEIGHT[objective] * (ADAPTERS if tuning == "lora" else 1.0)


def described(what: str, objective: Objective) -> str:
    """The sentence of a configuration's field."""
    full, lora = (learning_rate(0.0, objective, tuning) for tuning in ("full", "lora"))
    return f"{what}; 0 takes {_short(lora)} with lora and {_short(full)} with full."


def _short(rate: float) -> str:
    return f"{rate:.0e}".replace("e-0", "e-")


ImitationRate = Annotated[float, Meta(ge=0, description=described("Peak learning rate of Adam", "sft"))]
PreferenceRate = Annotated[float, Meta(ge=0, description=described("Peak learning rate of Adam", "dpo"))]
