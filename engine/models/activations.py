"""What the layers of a transformer keep of a forward pass for the backward one.

`recompute` keeps the input of each layer and computes the rest again when its gradients are taken (Chen et
al. 2016, arXiv 1604.06174): a third more operations, and of what lies within layers only one layer's is
there at a time.  `offload` does the same and holds the inputs in the processor's memory meanwhile.

The checkpoint lies within a layer's own forward, so that the hooks of divided weights
(`engine.models.sharding`) stay outside of it: a layer is put together once for its backward pass, recomputed
or not, and every rank does the same operations with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from engine.errors import UsageError
from engine.models.sharding import layers_of

Activations = Literal["keep", "recompute", "offload"]


def keep_of_passes(trunk: nn.Module, activations: Activations, device: torch.device) -> None:
    """Say, before the first pass, what the layers of a trunk keep; in place, and of passes with gradients.

    Raises UsageError on a device that has nowhere else to put them, and where there are no layers to go by.
    """
    if activations == "keep":
        return
    if activations == "offload" and device.type != "cuda":
        raise UsageError(
            f"activations is offload, which moves them off a GPU, and the device is {device.type}: nothing "
            "would be saved; choose recompute."
        )
    layers = layers_of(trunk, "what they keep cannot be chosen; set activations to keep")
    for layer in {id(layer): layer for layer in layers}.values():  # some models use one several times
        layer.forward = _recomputed(layer.forward, trunk.config, away=activations == "offload")


def _recomputed(forward: Callable[..., Any], config: Any, *, away: bool) -> Callable[..., Any]:
    """A layer's forward that keeps its hidden states alone.

    What else it is given is one for all layers, or small, and held as it is.
    """

    @wraps(forward)
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        hidden, *rest = args or (kwargs.pop("hidden_states"),)
        if (
            kwargs.get("past_key_values") is not None
        ):  # of a model that makes one unasked: it would grow twice
            kwargs["past_key_values"] = None
        attention = config._attn_implementation  # of this pass; the backward pass comes when it is over

        def compute(hidden: Tensor) -> Any:
            with _attending(config, attention):
                return forward(hidden, *rest, **kwargs)

        # Nothing in a layer is random: dropout is off in training too.
        with _kept(away=away):
            return checkpoint(compute, hidden, use_reentrant=False, preserve_rng_state=False)

    return recomputed


def _kept(*, away: bool) -> AbstractContextManager[None]:
    manager: AbstractContextManager[None] = save_on_cpu(pin_memory=True) if away else nullcontext()
    return manager


@contextmanager
def _attending(config: Any, implementation: str) -> Iterator[None]:
    before = config._attn_implementation
    if before == implementation:
        yield
        return
    config._attn_implementation = implementation
    try:
        yield
    finally:
        config._attn_implementation = before
