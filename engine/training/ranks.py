"""The processes that train one model together, each on a device of its own; usually there is one.

Data parallelism: every process (a rank) has all weights, works on its share of the prompts, and what a step
needs of the whole batch is put together, so that advantages, whitening, β and every figure are those of one
process.  Gradients are added up in float32 before the norm is clipped; losses are divided by the whole
minibatch, so a sum is the gradient.  All ranks then take the same step and hold the same weights, or each
its part of them (`engine.models.sharding`).

`torchrun` starts the processes and says in the environment which is which.  Rank 0 writes events,
checkpoints and artifacts; the others work in a folder of their own that nobody reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.errors import WorkbenchError
from engine.models.sharding import is_sharded
from engine.protocol.processes import MEETING, local_rank, lost, processes_here, rank_of_process, world_size
from engine.training.optimiser import MasterAdam

T = TypeVar("T")
BUCKET = 16 * 2**20
"""Gradients are added up so many numbers at a time."""


@dataclass(frozen=True)
class Ranks:
    """Which process this is, from 0, and how many there are."""

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """What of `items` this rank works on: one in `world`, beginning with its own place."""
        return list(items[self.rank :: self.world])

    def gather(self, mine: Any, kind: type[T]) -> list[T]:
        """What every rank has, in the order of ranks; `kind` is the type that msgspec makes of each."""
        if self.world == 1:
            return [mine]
        sent = torch.frombuffer(bytearray(msgspec.json.encode(mine)), dtype=torch.uint8).to(_device())
        sizes = [torch.zeros(1, dtype=torch.long, device=sent.device) for _ in range(self.world)]
        _run(dist.all_gather, sizes, torch.tensor([len(sent)], device=sent.device))
        longest = max(int(size) for size in sizes)
        parts = [torch.zeros(longest, dtype=torch.uint8, device=sent.device) for _ in range(self.world)]
        padded = torch.cat([sent, sent.new_zeros(longest - len(sent))])
        _run(dist.all_gather, parts, padded)
        raw = [part[: int(size)].cpu().numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]
        return [msgspec.json.decode(each, type=kind) for each in raw]

    def merged(self, mine: dict[str, Tensor]) -> dict[str, Tensor]:
        """The float32 tensors that all ranks have, by name."""
        if self.world == 1:
            return mine
        lists = {name: tensor.tolist() for name, tensor in mine.items()}
        return {
            name: torch.tensor(values)
            for theirs in self.gather(lists, dict[str, list[Any]])
            for name, values in theirs.items()
        }

    def add(self, *tensors: Tensor) -> None:
        """Each tensor becomes, in place, its sum over all ranks."""
        if self.world == 1:
            return
        for tensor in tensors:
            moved = tensor.to(_device())
            _run(dist.all_reduce, moved)
            if moved is not tensor:
                tensor.copy_(moved)

    def in_step(
        self, parts: Iterable[T], idle: Callable[[], object], *modules: nn.Module | None
    ) -> Iterator[T]:
        """What this rank works on; where the modules' weights are divided, `idle` follows until every rank
        has worked as often: a pass through divided weights is one of all ranks.
        """
        if not any(map(is_sharded, modules)):
            yield from parts
            return
        mine = list(parts)
        most = max(self.gather(len(mine), int))
        yield from mine
        for _ in range(most - len(mine)):
            idle()

    def agreed(self, flag: bool) -> bool:
        """What rank 0 says."""
        return self.gather(flag, bool)[0]

    def add_gradients(self, optimisers: Iterable[MasterAdam]) -> None:
        """Gradients of all whole masters become their sums; one that no rank has a gradient of keeps none."""
        if self.world == 1:
            return
        masters = [
            master
            for optimiser in optimisers
            for name, master in optimiser.masters.items()
            if name not in optimiser.divided  # which come added up
        ]
        there = torch.tensor([float(master.grad is not None) for master in masters])
        self.add(there)
        bucket: list[Tensor] = []
        for master, count in zip(masters, there.tolist(), strict=True):
            if not count:
                continue
            if master.grad is None:
                master.grad = torch.zeros_like(master)
            bucket.append(master.grad)
            if sum(grad.numel() for grad in bucket) >= BUCKET:
                self._add_flat(bucket)
                bucket = []
        self._add_flat(bucket)

    def _add_flat(self, gradients: Sequence[Tensor]) -> None:
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.add(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def check_same(self, optimisers: Iterable[MasterAdam]) -> None:
        """That all ranks hold the same weights, divided ones aside.  Raises WorkbenchError if they do not."""
        if self.world == 1:
            return
        mine = [
            float(master.detach().double().square().sum())
            for optimiser in optimisers
            for name, master in optimiser.masters.items()
            if name not in optimiser.divided
        ]
        if any(other != mine for other in self.gather(mine, list[float])):
            raise WorkbenchError(
                "The processes of this run do not hold the same weights, so what they would train is no "
                "model; resume the run, and use the same device everywhere."
            )


ALONE = Ranks()


def current() -> Ranks:
    """The ranks of this process; the first call joins the others."""
    return ALONE if world_size() == 1 else _joined()


@cache
def _joined() -> Ranks:
    on_gpu = torch.cuda.is_available() and torch.cuda.device_count() >= processes_here()
    if on_gpu:
        torch.cuda.set_device(local_rank())
    meeting = os.environ.get(MEETING)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=f"file://{meeting}" if meeting else "env://",
        rank=rank_of_process(),
        world_size=world_size(),
    )
    return Ranks(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Part from the other processes; nothing without them."""
    if world_size() > 1 and _joined.cache_info().currsize:
        dist.destroy_process_group()
        _joined.cache_clear()


def _device() -> torch.device:
    """Where tensors lie that are sent."""
    return torch.device("cuda", local_rank()) if dist.get_backend() == "nccl" else torch.device("cpu")


def _run(collective: Any, *arguments: Any) -> None:
    """A collective operation.  Raises RankLostError when another process has gone."""
    try:
        collective(*arguments)
    except RuntimeError as error:
        raise lost(error) from error
