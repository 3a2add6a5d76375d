"""A GPU that is none: its tensors say `cuda:0`, compute on the processor, and refuse what CUDA refuses.

Unlike fake tensors they have numbers, so whole jobs run, with all that reads a number back.  What is checked
is where things are: an operation on tensors of two devices raises, but for what torch itself allows, which is
copying, a number (a tensor without dimensions) beside a tensor on a GPU, and indices from the processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
aten: Any = torch.ops.aten
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
LIKE = {
    aten.new_zeros, aten.new_ones, aten.new_full, aten.new_empty, aten.new_empty_strided,
    aten.zeros_like, aten.ones_like, aten.full_like, aten.empty_like, aten.rand_like, aten.randn_like,
}  # fmt: skip
"""Of these torch's own code names the processor, on which it believes the tensor to be."""


class OnGPU(Tensor):
    """A tensor whose numbers lie in `inner`, on the processor, and whose device is `cuda:0`.

    Torch's C++ believes it to be on the processor, for a build without CUDA takes no gradients elsewhere.
    """

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnGPU:
        made: Any = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, layout=inner.layout, requires_grad=inner.requires_grad, device=inner.device,
        )  # fmt: skip
        made.inner = inner
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def __repr__(self, **_: Any) -> str:
        return f"OnGPU({self.inner!r})"

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        copied: Tensor = aten._to_copy(self, device=CPU)
        return copied

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        if args and isinstance(args[0], Tensor):
            args, kwargs = (), {"dtype": args[0].dtype, "device": args[0].device} | kwargs
        copy = kwargs.pop("copy", False)
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)  # type: ignore[attr-defined]
        if device is not None and device.type == "cpu":
            moved: Tensor = aten._to_copy(self, dtype=dtype, device=CPU)
            return moved
        if copy or dtype not in (None, self.dtype):
            moved = aten._to_copy(self, dtype=dtype)
            return moved
        return self

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other)

    def new_tensor(self, data: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=GPU)

    def untyped_storage(self) -> Any:
        return self.inner.untyped_storage()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def tolist(self) -> Any:
        return self.inner.detach().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first.")

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> OnGPU:
        return OnGPU(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class PretendGPU(TorchDispatchMode):
    """While it is on, tensors can be made on `cuda:0`; `operations` counts what ran there."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += any(isinstance(leaf, OnGPU) for leaf in tree_flatten(args)[0])
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the processor; its result is where CUDA would have it."""
    packet = func.overloadpacket
    there = refuse_mixing(packet, args, kwargs)
    asked = kwargs.get("device")
    if asked is not None and not (there and packet in LIKE):
        there = torch.device(asked).type == "cuda"
    if asked is not None:
        kwargs = kwargs | {"device": CPU}
    inner_args, inner_kwargs = tree_map_only(OnGPU, lambda t: t.inner, (args, kwargs))
    out = func(*inner_args, **inner_kwargs)
    if not there:
        return out
    if packet is aten.to:
        return out if isinstance(out, OnGPU) else OnGPU(out)
    out = tree_map(lambda o: OnGPU(o) if isinstance(o, Tensor) and not isinstance(o, OnGPU) else o, out)
    return return_and_correct_aliasing(func, args, kwargs, out)


def refuse_mixing(packet: Any, args: Any, kwargs: Any) -> bool:
    """Whether the operation is the GPU's; raises RuntimeError where tensors lie on two devices."""
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    gpu = [t for t in tensors if isinstance(t, OnGPU)]
    if packet is aten.copy_:
        return isinstance(args[0], OnGPU)
    if packet in (aten._to_copy, aten.to) or not gpu:
        return bool(gpu)
    checked = [args[0], *args[2:]] if packet in INDEXED else tensors
    outside = [
        t
        for t in tree_flatten(checked)[0]
        if isinstance(t, Tensor) and not isinstance(t, OnGPU) and t.dim() > 0
    ]
    if outside or (packet in INDEXED and not isinstance(args[0], OnGPU)):
        shapes = [("cuda:0" if isinstance(t, OnGPU) else "cpu", tuple(t.shape)) for t in tensors]
        raise RuntimeError(
            f"Expected all tensors to be on the same device, found two devices: {packet} {shapes}"
        )
    return True


@contextmanager
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGPU]:
    """A machine whose `device="cuda"` is such a GPU."""
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr("engine.models.device._cuda", lambda chosen, wanted: GPU)
    monkeypatch.setattr("engine.models.device.describe", str)
    monkeypatch.setattr("engine.rollout.cuda_graph._Step._recorded", lambda step: step._compute)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    lifted: bool = torch._C._only_lift_cpu_tensors()  # type: ignore[attr-defined]
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    try:
        with PretendGPU() as mode:
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)  # type: ignore[attr-defined]
        torch.__future__.set_overwrite_module_params_on_conversion(before)
