"""Decoding in tensors that keep shape and address, so that a GPU records a step once and replays it.

A step of a small language model starts some thousand kernels, each of which takes longer to start than to
run; a CUDA graph starts them all at once.  What is recorded is transformers' own forward pass.  The cache has
room for the longest response from the start, a mask says what is seen of it, and the place of the next token
is a number on the device that nothing ever asks for.

Shapes: N rows (samples that go on), S ≥ N slots that are computed, T positions of the longest prompt,
C positions there is room for, d a head's size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from engine.models.lora import has_lora
from engine.models.sharding import is_sharded
from engine.rollout.generic import Prefill, last_logits, prefill

ROUND = 64
"""There is room for a multiple of so many positions: kernels like it."""

WARM_UP = 2
"""Steps before one is recorded: libraries choose kernels and take their memory in the first ones."""

Layers = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of every layer, [rows, heads, T, d]."""


def why_not_cuda_graph(model: PreTrainedModel, positions: int) -> str | None:
    """None if `Recorder` computes what the model does on `positions` positions, else half a sentence."""
    if is_sharded(model):
        return "its weights are put together anew each time, elsewhere than they were recorded"
    if not getattr(model, "_can_compile_fullgraph", False):
        return f"transformers does not say that a step of {type(model).__name__} can be recorded"
    config: Any = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    if kinds - {"full_attention", "sliding_attention"} or (window and positions > window):
        return "some of its layers do not see every position"
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"its attention is {config._attn_implementation}, which takes no mask over a cache with room"
    return None


class _GraphLayer(CacheLayerMixin):
    """The cache of one layer, [S, heads, C, d]: new keys and values go to the place that `at` holds."""

    is_compileable = True
    is_sliding = False

    def __init__(self, keys: Tensor, values: Tensor, at: Tensor) -> None:
        super().__init__()
        self.kept, self.at = (keys, values), at
        self.keys, self.values, self.is_initialized = keys, values, True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the tensors are there."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        for buffer, new in zip(self.kept, (key_states, value_states), strict=True):
            buffer.index_copy_(2, self.at, new)
        return self.kept

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_max_length(), 0

    def get_seq_length(self) -> int:
        return 0  # the mask and the positions say it, on the device

    def get_max_length(self) -> int:
        return self.kept[0].shape[2]


class _Step:
    """One more token in each of S slots: all that it reads and writes, and how it is computed."""

    def __init__(self, model: PreTrainedModel, layers: Layers, slots: int, room: int) -> None:
        device, dtype = layers[0][0].device, layers[0][0].dtype
        self._model, self._hidden = ref(model), torch.finfo(dtype).min
        self.token = torch.zeros(slots, 1, dtype=torch.long, device=device)
        self._position = torch.zeros(slots, 1, dtype=torch.long, device=device)
        self._at = torch.zeros(1, dtype=torch.long, device=device)
        self._mask = torch.zeros(slots, 1, 1, room, dtype=dtype, device=device)
        self._layers = [self._layer(layer, slots, room) for layer in layers]
        self._cache = Cache(layers=list(self._layers))
        self._replay: Callable[[], Tensor] | None = None

    def _layer(self, layer: tuple[Tensor, Tensor], slots: int, room: int) -> _GraphLayer:
        """Zeros and not whatever was in memory: what the mask hides is multiplied all the same."""
        keys, values = (x.new_zeros(slots, x.shape[1], room, x.shape[3]) for x in layer)
        return _GraphLayer(keys, values, self._at)

    @property
    def slots(self) -> int:
        return len(self.token)

    @property
    def kept(self) -> Layers:
        """Keys and values of every layer, [S, heads, C, d]."""
        return [layer.kept for layer in self._layers]

    def begin(self, layers: Layers, seen: Tensor, row_S: Tensor) -> None:
        """Stand after the prompts of the rows `row_S`; `seen` [prompts, T] is True where there is a token."""
        end, seen_S_T = seen.shape[1], seen[row_S]
        self._mask.fill_(self._hidden)
        self._mask[:, 0, 0, :end].masked_fill_(seen_S_T, 0.0)
        self._position.copy_(seen_S_T.sum(-1, keepdim=True))
        self._at.fill_(end)
        self._take(layers, row_S, end)

    def go_on_from(self, other: _Step, slot_S: Tensor) -> None:
        """Take over these slots of another step."""
        for mine, theirs in ((self._mask, other._mask), (self._position, other._position)):
            mine.copy_(theirs[slot_S])
        self._at.copy_(other._at)
        self._take(other.kept, slot_S, self._mask.shape[-1])

    def run(self) -> Tensor:
        """Logits after `token`, [S, V]; the next run overwrites them."""
        if self._replay is None:
            self._replay = self._recorded() if self.token.is_cuda else self._compute
        logits = self._replay()
        self._position.add_(1)
        self._at.add_(1)
        return logits

    def _compute(self) -> Tensor:
        """What is recorded.  Done twice it leaves what it leaves done once."""
        model = self._model()
        assert model is not None  # whoever samples holds it
        self._mask.index_fill_(3, self._at, 0.0)
        return last_logits(model, self.token, self._mask, self._position, self._cache)

    def _recorded(self) -> Callable[[], Tensor]:
        """The step as a CUDA graph; where the device refuses, the step itself."""
        try:
            graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._compute()
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                logits = self._compute()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            warnings.warn(f"Steps are not recorded as CUDA graphs, which is slower: {error}", stacklevel=2)
            return self._compute

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay

    def _take(self, layers: Layers, row_S: Tensor, end: int) -> None:
        for cached, states in zip(self.kept, layers, strict=True):
            for mine, theirs in zip(cached, states, strict=True):
                mine[:, :, :end] = theirs[row_S, :, :end]


class Recorder:
    """A model's steps by their number of slots: made when first needed, for one batch after another."""

    def __init__(self, model: PreTrainedModel, rows: int, positions: int) -> None:
        """For batches of at most `rows` rows, and prompt and response of at most `positions` tokens."""
        self._model, self._rows = ref(model), rows
        self._room = -(-positions // ROUND) * ROUND
        self._steps: dict[int, _Step] = {}

    def fits(self, rows: int, positions: int) -> bool:
        """Whether there is room for such batches."""
        return rows <= self._rows and positions <= self._room

    def read(self, prompts: Sequence[Sequence[int]]) -> Prefill:
        """The prompts, read by transformers."""
        return prefill(self._of(), prompts)

    def slots_for(self, rows: int) -> int:
        """All slots, half of them, a quarter, …: few enough to be worth recording."""
        slots = self._rows
        while (slots + 1) // 2 >= rows and slots > 1:
            slots = (slots + 1) // 2
        return slots

    def step_for(self, rows: int, layers: Layers) -> _Step:
        """A step with slots for these rows, of layers like these; it holds what was left in it before."""
        slots = self.slots_for(rows)
        if slots not in self._steps:
            self._steps[slots] = _Step(self._of(), layers, slots, self._room)
        return self._steps[slots]

    def _of(self) -> PreTrainedModel:
        model = self._model()
        assert model is not None
        return model


_kept: WeakKeyDictionary[PreTrainedModel, tuple[object, Recorder]] = WeakKeyDictionary()


def recorder_of(model: PreTrainedModel, rows: int, positions: int) -> Recorder:
    """The model's recorder; made anew when it is too small, or its weights have moved.

    Training changes weights where they lie, so that a policy's steps are recorded once a run.
    """
    weights = has_lora(model, active=True), [weight.data_ptr() for weight in model.parameters()]
    recorded = _kept.pop(model, None)
    if recorded is None or recorded[0] != weights or not recorded[1].fits(rows, positions):
        recorded = weights, Recorder(model, rows, positions)
    _kept[model] = recorded
    return recorded[1]


class CudaGraphDecoder:
    """A batch in the making: `logits` of the rows that go on, and one step after another."""

    def __init__(self, recorder: Recorder, prompts: Sequence[Sequence[int]], place_N: Sequence[int]) -> None:
        """After the prompts; `place_N` says from which of them each row begins."""
        read = recorder.read(prompts)
        layers = read.cache.tensors()
        self._recorder, self._step = recorder, recorder.step_for(len(place_N), layers)
        place = torch.tensor(place_N, device=read.mask.device)
        self._slot_N = torch.arange(len(place_N), device=place.device)
        self._step.begin(layers, read.mask.bool(), _filled(place, self._step.slots))
        self.logits = read.logits[place]

    def step(self, token_N: Tensor) -> None:
        """One more token of every row, [N]."""
        self._step.token.index_copy_(0, self._slot_N, token_N.unsqueeze(1))
        self.logits = self._step.run()[self._slot_N]

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows; they are computed with the others until half of the slots are free."""
        self._slot_N = self._slot_N[torch.tensor(rows, device=self._slot_N.device)]
        before = self._step
        self._step = self._recorder.step_for(len(rows), before.kept)
        if self._step is not before:
            self._step.go_on_from(before, _filled(self._slot_N, self._step.slots))
            self._slot_N = torch.arange(len(rows), device=self._slot_N.device)


def _filled(row_N: Tensor, slots: int) -> Tensor:
    """Slots beyond the rows repeat the first row.  [S]"""
    return torch.cat([row_N, row_N[:1].expand(slots - len(row_N))])
