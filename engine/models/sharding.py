"""Weights divided among the processes of a run: FSDP2, `fully_shard` of each layer (arXiv 2304.11277).

A rank keeps a part of every layer's weights, gradients and moments.  A layer is whole on a rank only while it
computes; its gradients come back summed and cut.  Embeddings, the last norm and heads stay whole on every
rank: they are read past their modules, and are a small part of a large model.

A pass through such a model is one of all ranks at once, so each has as many (`Ranks.in_step`); `gathered`
makes the weights whole for as long as a block lasts, in which a rank may do what it likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from engine.errors import UsageError
from engine.models.parts import backbone, place


def shard(model: PreTrainedModel, device: torch.device) -> None:
    """Divide the layers of a transformer among all ranks, in place; frozen weights too.

    The model may lie on the processor: a layer at a time goes to the device, and the rest of the model last.
    Raises UsageError for a model whose layers are not a list.
    """
    trunk = backbone(model)
    layers = layers_of(trunk, "they cannot be divided; set sharding to none")
    inside = {id(p) for layer in layers for p in layer.parameters()}
    outside = {p for p in trunk.parameters() if id(p) not in inside}
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
    fully_shard(trunk, mesh=mesh, ignored_params=outside, mp_policy=policy)
    place(model, device)
    for part in _parts(trunk):
        part.set_gradient_divide_factor(1.0)  # losses are divided by the whole minibatch: a sum is the mean
        part.set_force_sum_reduction_for_comms(True)


def layers_of(trunk: nn.Module, else_: str) -> list[nn.Module]:
    """The blocks of a transformer: its list of modules that holds most of the weights.

    else_: what follows for the person where there is no such list, in the UsageError.
    """
    lists = [part for part in trunk.modules() if isinstance(part, nn.ModuleList) and len(part) > 0]
    if not lists:
        raise UsageError(f"This model's layers are not a list, so {else_}.")
    sizes = [sum(p.numel() for p in layers.parameters()) for layers in lists]
    return list(lists[sizes.index(max(sizes))])


def is_sharded(module: nn.Module | None) -> bool:
    """Whether weights of the module are divided."""
    return module is not None and any(True for _ in _parts(module))


def _parts(module: nn.Module) -> Iterator[FSDPModule]:
    return (part for part in module.modules() if isinstance(part, FSDPModule))


@contextmanager
def gathered(*modules: nn.Module | None) -> Iterator[None]:
    """Inside the block all weights are whole on this rank, and a pass concerns no other; all ranks enter it.

    Nothing is learned in it.  Without divided weights it does nothing.
    """
    with ExitStack() as stack:
        for part in {id(part): part for module in modules if module for part in _parts(module)}.values():
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
            stack.callback(_divide, part)
        yield


def _divide(part: FSDPModule) -> None:
    part.reshard()
    part.set_reshard_after_forward(True, recurse=False)


def is_divided(tensor: Tensor) -> bool:
    """Whether other ranks have other parts of it."""
    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its parts; of a divided one all ranks must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def as_part_of(part: Tensor, like: Tensor) -> Tensor:
    """`part` as what this rank has of a tensor that is divided as `like` is."""
    if not isinstance(like, DTensor):
        return part
    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def add_over_ranks(x: Tensor) -> None:
    """The tensor becomes its sum over all ranks, in place."""
    dist.all_reduce(x)


class _Still(torch.autograd.Function):
    """The identity, through which no gradient goes, whatever comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.zeros_like(gradients[0])


def still(x: Tensor) -> Tensor:
    """x, with a gradient of exactly 0 behind it."""
    return cast(Tensor, _Still.apply(x))
