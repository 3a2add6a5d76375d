"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685), injected in place: the model keeps its class.

y = W x + (α / r) · B A x, with A random, B zero, and so no change at the start.  The base weights are frozen
and may be bfloat16; the adapters are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from engine.errors import UsageError
from engine.models.four_bit import put_back
from engine.models.norm import freeze_norms
from engine.models.parts import arguments, backbone, probe_tokens

ADAPTER = "default"


class _Product(torch.autograd.Function):
    """x Wᵀ + b + (α / r)·x Aᵀ Bᵀ over rows x [M, D], W and b frozen: a pass for each product and no more.

    W may be in 4 bits; it is put back for each product.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, factor: float
    ) -> Tensor:
        down, up = down.to(x.dtype), (up * factor).to(x.dtype)
        middle = torch.mm(x, down.T)
        ctx.save_for_backward(x, weight, down, up, middle)
        ctx.factor = factor
        return nn.functional.linear(x, put_back(weight), bias).addmm_(middle, up.T)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, down, up, middle = ctx.saved_tensors
        d_y = gradients[0]
        d_middle = torch.mm(d_y, up)
        d_x = torch.mm(d_y, put_back(weight)).addmm_(d_middle, down) if ctx.needs_input_grad[0] else None
        d_down = torch.mm(d_middle.T, x).float()
        d_up = torch.mm(d_y.T, middle).float().mul_(ctx.factor)
        return d_x, None, None, d_down, d_up, None


class Adapted(LoraLinear):
    """peft's adapted linear layer, computed with fewer passes over its output.

    peft multiplies the adapters' full-width output by α/r and adds it in another pass; here the factor is in
    B, the sum is part of the product, and so is the sum of the two gradients of x.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x Wᵀ + b + factor · x Aᵀ Bᵀ (Hu et al. 2021, equation 3).  [..., in] → [..., out]"""
        base = cast(nn.Linear, self.get_base_layer())
        if self._disable_adapters:
            output: Tensor = base(x)
            return output
        down, up = (cast(nn.Linear, part[ADAPTER]).weight for part in (self.lora_A, self.lora_B))
        rows, factor = x.flatten(0, -2), self.scaling[ADAPTER]
        y = cast(Tensor, _Product.apply(rows, base.weight, base.bias, down, up, factor))
        return y.view(*x.shape[:-1], -1)


def add_lora(model: PreTrainedModel, rank: int, seed: int = 0, alpha: int | None = None) -> PreTrainedModel:
    """Adapt every linear layer of the transformer blocks that can be; α is 2·rank unless given.

    The same model is returned.  Its other parameters are frozen, a reward model's head excepted.
    `left_out` says what has no adapters.  Raises UsageError when nothing can have any.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Shown the model itself, peft takes a full name such as layers.0.mlp.down_proj for fused experts.
        holder = nn.ModuleDict({"whole": model})
        for turned, names in _adaptable(model).items():
            config = LoraConfig(
                r=rank, lora_alpha=2 * rank if alpha is None else alpha, lora_dropout=0.0,
                target_modules=[f"whole.{name}" for name in names], fan_in_fan_out=turned,
            )  # fmt: skip
            inject_adapter_in_model(config, holder)
    for layer in _layers(model):
        if type(layer.get_base_layer()) is nn.Linear:
            layer.__class__ = Adapted
    for name, parameter in model.named_parameters():
        adapter = "lora_" in name
        parameter.requires_grad_(adapter or name.startswith(("score.", "classifier.")))
        if adapter:
            parameter.data = parameter.data.to(device=device, dtype=torch.float32)
    freeze_norms(model)
    return model.eval()


def has_lora(model: nn.Module, *, active: bool = False) -> bool:
    """Whether there are adapters; with `active`, adapters that are not switched off."""
    return any(not (active and layer._disable_adapters) for layer in _layers(model))


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """Inside the block the model is its frozen base: the reference policy, at no cost of memory."""
    layers = _layers(model)
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


class Adapters(NamedTuple):
    """The adapters of one layer, by the names of their parameters."""

    layer: LoraLinear
    down: str  # A [r, D]
    up: str  # B [F, r]


def adapters_of(model: nn.Module) -> dict[str, Adapters]:
    """The adapters of each adapted layer, by its name."""
    return {
        name: Adapters(module, f"{name}.lora_A.{ADAPTER}.weight", f"{name}.lora_B.{ADAPTER}.weight")
        for name, module in model.named_modules()
        if isinstance(module, LoraLinear)
    }


@torch.no_grad()
def fused(weight: Tensor, adapters: Adapters, masters: Mapping[str, Tensor]) -> Tensor:
    """W + (α / r) B A in float32, on the processor; `masters` take the place of parameters by name."""
    layer = adapters.layer
    down = masters.get(adapters.down, cast(nn.Linear, layer.lora_A[ADAPTER]).weight).cpu().float()
    up = masters.get(adapters.up, cast(nn.Linear, layer.lora_B[ADAPTER]).weight).cpu().float()
    delta = (up @ down) * layer.scaling[ADAPTER]
    return weight.float() + (delta.T if layer.fan_in_fan_out else delta)


def base_linear(layer: nn.Module) -> nn.Linear:
    """A linear layer itself, or the one below its adapter.  Raises TypeError for anything else."""
    base = layer.get_base_layer() if isinstance(layer, LoraLinear) else layer
    if type(base) is not nn.Linear:
        raise TypeError(f"{type(base).__name__} is not a plain linear layer")
    return base


def adapter_of(layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """A [r, D] and (α / r)·B [F, r] of a layer's adapter; None where there is none or it is switched off."""
    if not isinstance(layer, LoraLinear) or layer._disable_adapters:
        return None
    down, up = (cast(nn.Linear, part[ADAPTER]).weight.detach() for part in (layer.lora_A, layer.lora_B))
    return down, up * layer.scaling[ADAPTER]


def _layers(model: nn.Module) -> list[LoraLinear]:
    return [module for module in model.modules() if isinstance(module, LoraLinear)]


def left_out(model: PreTrainedModel) -> str | None:
    """A sentence when a good part of the transformer has no adapters, as fused experts have none."""
    trunk = backbone(model)
    matrices = {name: p for name, p in trunk.named_parameters() if p.dim() >= 2 and "lora_" not in name}
    embeddings = {id(p) for m in trunk.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    rest = {name: p.numel() for name, p in matrices.items() if id(p) not in embeddings}
    bare = {name: size for name, size in rest.items() if ".base_layer." not in name}
    share = sum(bare.values()) / max(1, sum(rest.values()))
    if share < LEAST_BARE:
        return None
    largest = max(bare, key=lambda name: bare[name]).rpartition(".")[2]
    return (
        f"Adapters reach {1 - share:.0%} of the transformer's weights: layers such as {largest} are not "
        "plain linear layers and stay as they are. Set tuning to full to train all of it."
    )


LEAST_BARE = 0.05


def _adaptable(model: PreTrainedModel) -> dict[bool, list[str]]:
    """Full names of the layers inside the transformer that adapters can be put on, heads left out.

    By whether their weights lie turned round, as GPT-2's do.  A layer counts when the forward pass calls it:
    of one whose weight is read past its forward (Mamba's Δ projection) the adapter would never be seen, and
    an image tower hears no text.  Raises UsageError when there is none.
    """
    layers: dict[str, nn.Module] = {
        name: module
        for name, module in model.named_modules()
        if _is_product(module) and not name.startswith(("score", "classifier"))
    }
    inside = {id(module) for module in backbone(model).modules()}
    layers = {name: module for name, module in layers.items() if id(module) in inside}
    called = _called(model, layers)
    names: dict[bool, list[str]] = {}
    for name, module in layers.items():
        parent = model.get_submodule(name.rpartition(".")[0])
        if _kind(name) in called and not _kernel_reads(parent, name):
            names.setdefault(isinstance(module, Conv1D), []).append(name)
    if not names:
        raise UsageError(
            f"{model.config.model_type} has no linear layers that adapters fit; set tuning to full."
        )
    return names


@torch.no_grad()
def _is_product(module: nn.Module) -> bool:
    """Whether a layer is W x + b; of a class derived from the plain one its numbers say so."""
    if type(module) in (nn.Linear, Conv1D):
        return True
    if not isinstance(module, nn.Linear):
        return False
    x = torch.linspace(-1, 1, module.in_features, dtype=module.weight.dtype, device=module.weight.device)
    expected = nn.functional.linear(x[None], module.weight, module.bias)
    try:
        output: Any = module(x[None])
    except Exception:  # it takes another shape, or more than one
        return False
    if not isinstance(output, Tensor) or output.shape != expected.shape:  # a router
        return False
    return torch.allclose(output, expected, rtol=1e-2, atol=1e-3)


def _kind(name: str) -> str:
    """A layer's name without its numbers: of many experts few are called by a short text."""
    return ".".join(part for part in name.split(".") if not part.isdigit())


@torch.no_grad()
def _called(model: PreTrainedModel, layers: dict[str, nn.Module]) -> set[str]:
    """Kinds of layers that a forward pass calls."""
    called: set[str] = set()

    def listening(kind: str) -> Callable[..., None]:
        return lambda *_: called.add(kind)

    handles = [layer.register_forward_pre_hook(listening(_kind(name))) for name, layer in layers.items()]
    trunk = backbone(model)
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in arguments(trunk) else {}
    ids = torch.tensor([probe_tokens(model, 8)], device=next(model.parameters()).device)
    try:
        trunk(input_ids=ids, **options)
    finally:
        for handle in handles:
            handle.remove()
    return called


def _kernel_reads(parent: nn.Module, name: str) -> bool:
    """Whether a kernel may read the weight past its layer's forward: the way out of a state-space mixer."""
    return name.endswith("out_proj") and hasattr(parent, "A_log") and hasattr(parent, "D")
