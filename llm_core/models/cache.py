"""Keys and values of one sequence, and what the rows of a pass see of them.

All layers lie in one preallocated tensor, handed to the decoder as an argument: a step
writes its own columns in place, and dropping a suffix only changes a number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llm_core.models.attention import additive, attend, range_mask
from llm_core.models.config import DecoderConfig


class TorchCache:
    """Room for `capacity` columns of keys and values in every layer, in one tensor."""

    def __init__(self, store: Tensor) -> None:
        self.store = store  # (L, 2, G, C, D)
        self.layers = [(layer[0], layer[1]) for layer in store]  # views (G, C, D)
        self.length = 0
        self.capacity = store.shape[3]

    @classmethod
    def empty(
        cls, config: DecoderConfig, capacity: int, dtype: torch.dtype, device: torch.device
    ) -> "TorchCache":
        """A cache of its own room; zeros, since a masked NaN would still spoil a sum."""
        shape = (config.num_hidden_layers, 2, config.num_key_value_heads, capacity, config.head_dim)
        return cls(torch.zeros(shape, dtype=dtype, device=device))

    def truncate(self, length: int) -> None:
        """Keep the first `length` columns; the room stays."""
        self.length = min(self.length, length)

    def read(self, start: int, end: int) -> Tensor:
        """A copy (L, 2, G, end - start, D) of the columns [start, end)."""
        if not 0 <= start <= end <= self.length:
            raise ValueError(f"columns {start} to {end} of a cache that holds {self.length}")
        return self.store[:, :, :, start:end].clone()

    def write(self, block: Tensor, tokens: int) -> None:
        """Append the first `tokens` columns of what a cache of the same model gave."""
        end = self.length + tokens
        if end > self.capacity:
            raise ValueError(f"{end} columns do not fit a cache with room for {self.capacity}")
        self.store[:, :, :, self.length : end] = block[:, :, :, :tokens]
        self.length = end


@dataclass(frozen=True)
class View:
    """The columns [first, end) that rows look at, and an additive mask over them.

    Without a mask a row sees all of them, or with `causal` those up to its own.
    """

    first: int
    end: int
    mask: Tensor | None = None
    causal: bool = False


@dataclass(frozen=True)
class Span:
    """The rows of one sequence in a pass: where their keys go, and what they see.

    rows: how many; columns: a slice, or indices (T,), of the cache; end: behind the last of
    them; views: one for each window of the layers.
    """

    cache: TorchCache
    rows: int
    columns: slice | Tensor
    end: int
    views: dict[int | None, View]

    def attend(self, layer: int, window: int | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k and v (G, T, D), then attention of q (H, T, D): (H, T, D)."""
        keys, values = self.cache.layers[layer]
        if isinstance(self.columns, slice):
            keys[:, self.columns] = k
            values[:, self.columns] = v
        else:
            keys.index_copy_(1, self.columns, k)
            values.index_copy_(1, self.columns, v)
        view = self.views[window]
        seen = slice(view.first, view.end)
        return attend(q[None], keys[None, :, seen], values[None, :, seen], view.mask, view.causal)[
            0
        ]


def make_span(
    cache: TorchCache,
    columns: Sequence[int],
    prefixes: Sequence[int],
    starts: Sequence[int],
    windows: Iterable[int | None],
) -> Span:
    """The span of rows that see [0, prefix) and [start, column]; all four lists (T,).

    Raises ValueError where a column lies outside the cache, or behind columns never written.
    """
    first, last = min(columns), max(columns)
    if not 0 <= first <= cache.length or last >= cache.capacity:
        raise ValueError(
            f"columns {first} to {last} do not follow {cache.length} of {cache.capacity} columns"
        )
    in_order = list(columns) == list(range(first, last + 1))
    ranges = zip(starts, prefixes, columns, strict=True)
    plain = in_order and all(start <= prefix <= column + 1 for start, prefix, column in ranges)
    device = cache.store.device
    places = [torch.tensor(list(x), device=device) for x in (prefixes, starts, columns)]  # (T,)

    def view(window: int | None) -> View:
        if plain and first == last:
            return View(max(0, last + 1 - window) if window else 0, last + 1)
        if plain and first == 0 and (window is None or window > last):
            return View(0, last + 1, causal=True)
        mask = range_mask(places[0], places[1], places[2], last + 1, window)
        return View(0, last + 1, additive(mask, cache.store.dtype))

    where = slice(first, last + 1) if in_order else places[2]
    return Span(cache, len(columns), where, last + 1, {window: view(window) for window in windows})


def static_span(cache: TorchCache, column: Tensor, windows: Iterable[int | None]) -> Span:
    """The span of one plain row at `column` (1,), with shapes that do not depend on it.

    It looks at all of the cache's room under a mask, so that a recorded step can be replayed.
    """
    nothing = torch.zeros_like(column)

    def view(window: int | None) -> View:
        mask = range_mask(nothing, nothing, column, cache.capacity, window)
        return View(0, cache.capacity, additive(mask, cache.store.dtype))

    return Span(cache, 1, column, cache.capacity, {window: view(window) for window in windows})
