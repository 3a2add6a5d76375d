"""What a step of policy learning is checked for between its measuring and its update."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import WorkbenchError
from engine.policy_learning.record import keep_batch
from engine.policy_learning.rollout import Measured, Rollout, Targets
from engine.policy_learning.state import State
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Event, Message
from engine.protocol.rundir import RunDir
from engine.training.guards import collapsed
from engine.wording import counted


def check_bound(
    run: RunDir,
    step: int,
    rollout: Rollout,
    measured: Measured,
    targets: Targets,
    config: PolicyLearningConfig,
) -> None:
    """Keep the batch and raise WorkbenchError where the KL exceeds `kl_bound` nats a response."""
    kl = targets.kl_a_response
    if kl <= config.kl_bound:
        return
    where = keep_batch(run, step, rollout, measured, targets, {"reason": f"kl {kl}"})
    raise WorkbenchError(
        f"The policy has left its bound: KL {kl:.1f} nats a response at step {step}, and kl_bound is "
        f"{config.kl_bound:g}; the batch is in {where}. Raise beta, or lower learning_rate or kl_target."
    )


def tell_cut(state: State, measured: Measured) -> Iterator[Event]:
    """Say once that a reward model does not read all of a response; the metric `policy/cut` says how many."""
    cut = int(measured.cut.sum())
    if cut and "cut" not in state.told:
        state.told.append("cut")
        yield Message(
            level="warning",
            text=f"Of the {counted(len(measured.cut), 'response')} of step {state.step + 1}, {cut} "
            f"{'is' if cut == 1 else 'are'}, with the prompt, longer than a reward model reads, and scored "
            "by a part; lower max_new_tokens.",
        )


def check_collapse(
    run: RunDir,
    state: State,
    metrics: dict[str, float],
    rollout: Rollout,
    measured: Measured,
    targets: Targets,
    config: PolicyLearningConfig,
) -> Iterator[Event]:
    """Warn once, or stop, when length or entropy have fallen to a share of what they were; keep the batch."""
    for name in ("length", "entropy"):
        collapse = collapsed(name, metrics[f"policy/{name}"], state.first[name], config.collapse_share)
        if collapse is None or config.collapse == "ignore" or name in state.told:
            continue
        step = state.step + 1
        where = keep_batch(run, step, rollout, measured, targets, {"reason": f"collapsed {name}"})
        sentence = f"At step {step} {collapse}; the batch is in {where}. Raise beta, or lower learning_rate."
        if config.collapse == "stop":
            raise WorkbenchError(sentence)
        state.told.append(name)
        yield Message(level="warning", text=sentence)
