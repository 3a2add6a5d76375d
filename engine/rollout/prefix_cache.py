"""Keys and values of prompts and of their samples, a prompt's kept once for several samples.

The cache consists of lines.  A line holds one prompt, and after it the tokens of up to K samples of that
prompt, interleaved: the first token of each sample, the second of each, and so on.  Attention looks at a line
as a whole, with a mask by which every sample sees the prompt and its own tokens only.  That wastes some
products, and is still faster than one sequence at a time: a processor is slow at many small products.

Shapes: L layers, P lines, K places a line, N rows (samples that go on), G key-value heads, r query heads to
each of them, d a head's size, T positions of the longest prompt, C positions for which there is room.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

QUERIES = 16
"""A line has about this many query heads to a key-value head: with more the waste outgrows the gain."""

ROOM = 64
"""Tokens of each sample that there is room for at first; later half as much again as there are."""

EMPTY = -1


class PackedPrefill:
    """Attention over prompts that are read, and their keys and values, from which a `PrefixCache` begins.

    Prompts lie end to end in everything else, [S]; here they lie under each other, padded on the right, where
    causal attention does not see the padding.
    """

    def __init__(self, lengths: Sequence[int], group: int) -> None:
        self.group = group
        length_P = torch.tensor(lengths)
        self.seen_P_T = torch.arange(max(lengths)) < length_P[:, None]
        self.position_S = self.seen_P_T.nonzero()[:, 1]
        self.last_P = length_P.cumsum(0) - 1  # places of the last tokens in [S]
        self.kept: list[Tensor] = []
        self._place_S = self.seen_P_T.flatten().nonzero()[:, 0]

    def attend(self, _layer: int, qkv_S: Tensor, scale: float) -> Tensor:
        """Keep the keys and values of the next layer, and look at them.  [S, (r+2)·G, d] → [S, G·r·d]"""
        lines, longest = self.seen_P_T.shape
        heads, size = qkv_S.shape[1] // (self.group + 2), qkv_S.shape[2]
        padded = qkv_S.new_zeros(lines * longest, *qkv_S.shape[1:]).index_copy_(0, self._place_S, qkv_S)
        query, keys, values = (
            padded.view(lines, longest, -1, size).transpose(1, 2).split((heads * self.group, heads, heads), 1)
        )
        self.kept.append(torch.stack([keys, values]))
        seen = scaled_dot_product_attention(
            query, keys, values, is_causal=True, scale=scale, enable_gqa=self.group > 1
        )
        return seen.transpose(1, 2).reshape(lines * longest, -1).index_select(0, self._place_S)


class PrefixCache:
    """The cache of a batch.  All rows are equally long beyond their prompts."""

    def __init__(
        self,
        prompts: Sequence[Tensor],  # keys and values of each layer, [2, prompts, G, T, d]
        seen_T: Tensor,  # [prompts, T] bool: what is not padding
        place_N: Sequence[int],  # which prompt each row belongs to
        group: int,  # r
    ) -> None:
        self.group = group
        self._members = lines_of(place_N, max(1, QUERIES // group))  # of each line, the row in each place
        prompt_P = torch.tensor([place_N[line[0]] for line in self._members], device=seen_T.device)
        self._seen_P_T = seen_T[prompt_P]
        both = torch.stack([layer[:, prompt_P] for layer in prompts])
        self._kept = pad(both, (0, 0, 0, ROOM * self.places))  # keys and values [L, 2, P, G, C, d]
        self._end = seen_T.shape[1]
        self._arrange()

    @property
    def lines(self) -> int:
        """P"""
        return len(self._members)

    @property
    def places(self) -> int:
        """K"""
        return len(self._members[0])

    def open(self) -> None:
        """Make room for one more token of every row, where `attend` will put it."""
        start, self._end = self._end, self._end + self.places
        have = self._kept.shape[4]
        if have < self._end:
            self._kept = pad(self._kept, (0, 0, 0, max(have // 2, ROOM * self.places)))
            self._mask = self._masked()
        self._new = self._kept[:, :, :, :, start : self._end].unbind(0)
        self._all = self._kept[:, :, :, :, : self._end].unbind(0)
        self._mask_now = None if self._mask is None else self._mask[..., : self._end]

    def spread(self, x_N: Tensor) -> Tensor:
        """Rows put in their places, [N, …] → [P·K, …]; an empty place has some row's."""
        return x_N if self._row_of_place is None else x_N.index_select(0, self._row_of_place)

    def attend(self, layer: int, qkv_PK: Tensor, scale: float) -> Tensor:
        """Keep the new keys and values of a layer and look at all of them.  [P·K, (r+2)·G, d] → [N, G·r·d]"""
        lines, places, group, size = self.lines, self.places, self.group, qkv_PK.shape[-1]
        heads = qkv_PK.shape[1] // (group + 2)
        query, new = qkv_PK.split((heads * group, 2 * heads), 1)
        self._new[layer].copy_(new.view(lines, places, 2, heads, size).permute(2, 0, 3, 1, 4))
        keys, values = self._all[layer].unbind(0)
        query = query.view(lines, places, heads, group, size).transpose(1, 2)
        seen = scaled_dot_product_attention(
            query.reshape(lines, heads, places * group, size),
            keys,
            values,
            attn_mask=self._mask_now,
            scale=scale,
        )
        seen = seen.view(lines, heads, places, group, size).transpose(1, 2)
        seen = seen.reshape(lines * places, heads * group * size)
        return seen if self._place_of_row is None else seen.index_select(0, self._place_of_row)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows, numbered anew.  Lines and places are given up once a quarter is empty."""
        number = {row: new for new, row in enumerate(rows)}
        self._members = [[number.get(row, EMPTY) for row in line] for line in self._members]
        alive = [sum(row != EMPTY for row in line) for line in self._members]
        if sum(map(bool, alive)) * max(alive) * 4 <= 3 * self.lines * self.places:
            self._compact(max(alive))
        self._arrange()

    def _compact(self, places: int) -> None:
        """Drop lines without a row, and of the others all but `places` places."""
        alive = [index for index, line in enumerate(self._members) if any(row != EMPTY for row in line)]
        chosen = [
            sorted(range(self.places), key=lambda place: self._members[line][place] == EMPTY)[:places]
            for line in alive
        ]
        line_P, place_P_K = (torch.tensor(x, device=self._kept.device) for x in (alive, chosen))
        prompt, old = self._seen_P_T.shape[1], self.places
        steps = self._kept[:, :, :, :, prompt : self._end].unflatten(
            4, (-1, old)
        )  # [L, 2, P, G, steps, K, d]
        index = place_P_K[:, None, None, :, None].expand(
            -1, steps.shape[3], steps.shape[4], -1, steps.shape[6]
        )
        steps = steps[:, :, line_P].gather(5, index.expand(*steps.shape[:2], *index.shape)).flatten(4, 5)
        self._kept = torch.cat([self._kept[:, :, line_P, :, :prompt], steps], 4)
        self._end = self._kept.shape[4]
        self._kept = pad(self._kept, (0, 0, 0, ROOM // 2 * places))
        self._members = [
            [self._members[line][place] for place in row] for line, row in zip(alive, chosen, strict=True)
        ]
        self._seen_P_T = self._seen_P_T[line_P]

    def _arrange(self) -> None:
        """Indices between rows and places, None where they are the same; and the mask."""
        flat = [row for line in self._members for row in line]
        self._row_of_place: Tensor | None = None
        self._place_of_row: Tensor | None = None
        if flat != list(range(len(flat))):
            device = self._kept.device
            self._row_of_place = torch.tensor([max(row, 0) for row in flat], device=device)
            place = {row: index for index, row in enumerate(flat) if row != EMPTY}
            self._place_of_row = torch.tensor([place[row] for row in range(len(place))], device=device)
        self._mask = self._masked()

    def _masked(self) -> Tensor | None:
        """What to add to attention's scores, [P, 1, K·r, C]; None when everything is seen."""
        if self.places == 1 and bool(self._seen_P_T.all()):
            return None
        places, prompt = self.places, self._seen_P_T.shape[1]
        number_C = torch.arange(self._kept.shape[4] - prompt, device=self._kept.device)
        own_K_C = number_C % places == torch.arange(places, device=self._kept.device)[:, None]
        seen = torch.cat(
            [self._seen_P_T[:, None].expand(-1, places, -1), own_K_C.expand(self.lines, -1, -1)], 2
        )
        mask = self._kept.new_zeros(seen.shape).masked_fill(~seen, float("-inf"))
        return mask.repeat_interleave(self.group, 1).unsqueeze(1)


def lines_of(place_N: Sequence[int], most: int) -> list[list[int]]:
    """Rows of each prompt cut into lines of at most `most` places, evenly; short lines end in EMPTY."""
    rows: dict[int, list[int]] = {}
    for row, place in enumerate(place_N):
        rows.setdefault(place, []).append(row)
    lines: list[list[int]] = []
    for members in rows.values():
        count = -(-len(members) // most)
        size = -(-len(members) // count)
        lines += [members[start : start + size] for start in range(0, len(members), size)]
    longest = max(map(len, lines))
    return [line + [EMPTY] * (longest - len(line)) for line in lines]
