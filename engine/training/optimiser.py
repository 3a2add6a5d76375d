"""Adam over float32 master weights, and the learning-rate schedules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from engine.models.rounding import generator_for, to_bfloat16
from engine.models.sharding import add_over_ranks, as_part_of, is_divided, own_part, whole


class MasterAdam:
    """AdamW whose weights are float32 even when the model computes in bfloat16.

    A trained parameter in bfloat16 has a float32 master: gradients are added up and steps taken there, and
    the stochastically rounded result is copied into the model (`engine.models.rounding` says why).  So
    forward and backward need no cast (on a CPU autocast takes twice as long), and steps smaller than a
    bfloat16 digit are not lost.  A float32 parameter is its own master.  Of weights that are divided among
    ranks (`engine.models.sharding`) masters, gradients and moments are this rank's parts.
    """

    def __init__(self, module: nn.Module, *, eps: float, weight_decay: float = 0.0) -> None:
        self.working = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.divided = {name for name, p in self.working.items() if is_divided(p)}
        self.masters = {name: _master(p) for name, p in self.working.items()}
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
            gradient = own_part(parameter.grad).float()
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            parameter.grad = None

    def clip(self, max_norm: float) -> float:
        """Scale the accumulated gradients so that their norm is at most `max_norm`; the norm before that."""
        return clip_together([self], max_norm)

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
            working = own_part(parameter.detach())
            if working.dtype == torch.bfloat16:
                generator = generator_for(name, self._steps, parameter.device)
                to_bfloat16(self.masters[name], generator, out=working)

    def tensors(self) -> dict[str, Tensor]:
        """Master weights and moments by name, for a checkpoint; of divided ones this rank's parts."""
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
            master.copy_(own_part(tensors[f"weight.{name}"]))
            state = {
                part: own_part(tensors[f"{part}.{name}"]).to(master.device).clone()
                for part in ("step", "exp_avg", "exp_avg_sq")
                if f"{part}.{name}" in tensors
            }
            if state:
                self._adam.state[master] = state
        self._publish()

    def divided_tensors(self, *, filled: bool = False) -> dict[str, Tensor]:
        """What `tensors` gives, each as a part of the whole; `filled`: moments before the first step too."""
        found = self.tensors()
        if filled:
            for name, master in self.masters.items():
                found.setdefault(f"step.{name}", torch.zeros(()))
                for part in ("exp_avg", "exp_avg_sq"):
                    found.setdefault(f"{part}.{name}", torch.zeros_like(master))
        return {key: self._divided(key, value) for key, value in found.items()}

    def _divided(self, key: str, value: Tensor) -> Tensor:
        part, _, name = key.partition(".")
        if name not in self.divided or part == "step":
            return value
        return as_part_of(value.detach(), self.working[name].detach())


class WholeMasters(Mapping[str, Tensor]):
    """Master weights by name, each put together from all ranks when it is asked for, by all of them."""

    def __init__(self, optimiser: MasterAdam, others: Mapping[str, Tensor] | None = None) -> None:
        """`others` stand beside the optimiser's, and in their place."""
        self._optimiser, self._others = optimiser, others or {}

    def __getitem__(self, name: str) -> Tensor:
        if name in self._others:
            return self._others[name]
        master = self._optimiser.masters[name]
        if name not in self._optimiser.divided:
            return master
        return whole(as_part_of(master.detach(), self._optimiser.working[name].detach()))

    def __iter__(self) -> Iterator[str]:
        return iter({**self._optimiser.masters, **self._others})

    def __len__(self) -> int:
        return len({**self._optimiser.masters, **self._others})


def _master(parameter: nn.Parameter) -> Tensor:
    """float32 weights to take steps on, which are the parameter's own where it is float32."""
    if parameter.dtype != torch.float32:
        return own_part(parameter.detach()).float().requires_grad_()
    if is_divided(parameter):
        return own_part(parameter.detach()).requires_grad_()  # another tensor on the same memory
    return parameter


@torch.no_grad()
def clip_together(optimisers: Iterable[MasterAdam], max_norm: float) -> float:
    """Scale all accumulated gradients so that their norm together is at most `max_norm`; the norm before."""
    optimisers = list(optimisers)
    if not any(optimiser.divided for optimiser in optimisers):
        masters = [master for optimiser in optimisers for master in optimiser.masters.values()]
        return float(torch.nn.utils.clip_grad_norm_(masters, max_norm))
    squares = {True: 0.0, False: 0.0}
    gradients = []
    for optimiser in optimisers:
        for name, master in optimiser.masters.items():
            if master.grad is not None:
                squares[name in optimiser.divided] += float(master.grad.double().square().sum())
                gradients.append(master.grad)
    elsewhere = torch.tensor([squares[True]], dtype=torch.float64, device=_communicates_on(gradients))
    add_over_ranks(elsewhere)
    norm = (float(elsewhere) + squares[False]) ** 0.5
    factor = min(1.0, max_norm / (norm + 1e-6))  # as torch's clip_grad_norm_
    for gradient in gradients:
        gradient.mul_(factor)
    return norm


def _communicates_on(gradients: list[Tensor]) -> torch.device:
    return gradients[0].device if gradients else torch.device("cpu")


def warmup_then_linear(step: int, total: int, warmup: int, peak: float) -> float:
    """Learning rate of step `step` (from 0): up to `peak` over `warmup` steps, then down to 0 at `total`."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * max(0.0, (total - step) / max(1, total - warmup))


def annealed(step: int, total: int, peak: float) -> float:
    """Learning rate of step `step` (from 0), annealed linearly to 0 at `total`."""
    return peak * (1 - step / total)
