"""Adam over float32 master weights, and the learning-rate schedules."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.models.rounding import generator_for, to_bfloat16


class MasterAdam:
    """AdamW whose weights are float32 even when the model computes in bfloat16.

    A trained parameter in bfloat16 has a float32 master: gradients are added up and steps taken there, and
    the stochastically rounded result is copied into the model (`engine.models.rounding` says why).  So
    forward and backward need no cast (on a CPU autocast takes twice as long), and steps smaller than a
    bfloat16 digit are not lost.  A float32 parameter is its own master.
    """

    def __init__(self, module: nn.Module, *, eps: float, weight_decay: float = 0.0) -> None:
        self.working = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.masters = {
            name: p if p.dtype == torch.float32 else p.detach().float().requires_grad_()
            for name, p in self.working.items()
        }
        self._steps = 0
        self._adam = torch.optim.AdamW(
            self.masters.values(), lr=0.0, eps=eps, weight_decay=weight_decay, fused=True
        )

    @property
    def steps(self) -> int:
        """Steps taken since the first start of the run."""
        return self._steps

    def accumulate(self) -> None:
        """Add the model's gradients to the masters'; call after every backward pass."""
        for name, parameter in self.working.items():
            master = self.masters[name]
            if master is parameter or parameter.grad is None:
                continue
            gradient = parameter.grad.float()
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            parameter.grad = None

    def clip(self, max_norm: float) -> float:
        """Scale the accumulated gradients so that their norm is at most `max_norm`; the norm before that."""
        return float(torch.nn.utils.clip_grad_norm_(self.masters.values(), max_norm))

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One step with the accumulated gradients, which are dropped."""
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.step()
        self._steps += 1
        self.zero_grad()
        self._publish()

    def zero_grad(self) -> None:
        """Drop the accumulated gradients."""
        self._adam.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _publish(self) -> None:
        for name, parameter in self.working.items():
            if self.masters[name] is not parameter:
                generator = generator_for(name, self._steps, parameter.device)
                to_bfloat16(self.masters[name], generator, out=parameter.data)

    def tensors(self) -> dict[str, Tensor]:
        """Master weights and moments by name, for a checkpoint."""
        tensors = {f"weight.{name}": master.detach() for name, master in self.masters.items()}
        tensors["steps"] = torch.tensor(self._steps)
        for name, master in self.masters.items():
            for part, value in self._adam.state.get(master, {}).items():
                tensors[f"{part}.{name}"] = value
        return tensors

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave.  Raises KeyError when a weight is missing."""
        self._steps = int(tensors["steps"])
        for name, master in self.masters.items():
            master.copy_(tensors[f"weight.{name}"])
            state = {
                part: tensors[f"{part}.{name}"].to(master.device).clone()
                for part in ("step", "exp_avg", "exp_avg_sq")
                if f"{part}.{name}" in tensors
            }
            if state:
                self._adam.state[master] = state
        self._publish()


def warmup_then_linear(step: int, total: int, warmup: int, peak: float) -> float:
    """Learning rate of step `step` (from 0): up to `peak` over `warmup` steps, then down to 0 at `total`."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * max(0.0, (total - step) / max(1, total - warmup))


def annealed(step: int, total: int, peak: float) -> float:
    """Learning rate of step `step` (from 0), annealed linearly to 0 at `total`."""
    return peak * (1 - step / total)
