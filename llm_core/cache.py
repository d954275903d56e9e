"""Key-value caches that grow in place, fork by prefix, and are kept for the next prompt.

transformers' own dynamic cache concatenates every layer at every token; these layers write
into spare room, so a step costs only its own columns and dropping a suffix costs nothing.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_SPARE = 256  # tokens of room added when a buffer is full


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers' hook
    """One layer's keys and values, (1, kv_heads, length, head_dim), in buffers with room."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers is untyped here
        self._room: tuple[Tensor, Tensor] | None = None
        self._length = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append new columns (1, kv_heads, T, head_dim); returns all of them."""
        end = self._length + key_states.shape[2]
        keys, values = self._reserve(end, key_states)
        keys[:, :, self._length : end] = key_states
        values[:, :, self._length : end] = value_states
        self.truncate(end)
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self) -> int:
        """Number of tokens held."""
        return self._length

    def truncate(self, length: int) -> None:
        """Forget every column from `length` on; the room stays."""
        self._length = length
        if self._room is not None:
            self.keys, self.values = (side[:, :, :length] for side in self._room)
            self.is_initialized = True

    def copy(self, length: int) -> "GrowingLayer":
        """A separate layer that holds the first `length` columns."""
        twin = GrowingLayer()
        if self._room is not None and length:
            keys, values = (side[:, :, :length] for side in self._room)
            twin.update(keys, values)
        return twin

    def _reserve(self, end: int, like: Tensor) -> tuple[Tensor, Tensor]:
        if self._room is None or self._room[0].shape[2] < end:
            shape = (1, like.shape[1], end + _SPARE, like.shape[3])
            room = like.new_empty(shape), like.new_empty(shape)
            if self._room is not None:
                for new, old in zip(room, self._room, strict=True):
                    new[:, :, : self._length] = old[:, :, : self._length]
            self._room = room
        return self._room


class TokenCache(Cache):
    """The cache of one token sequence; `tokens` names what the columns stand for."""

    def __init__(self, depth: int) -> None:
        self._own = [GrowingLayer() for _ in range(depth)]
        super().__init__(layers=list(self._own))
        self.tokens: list[int] = []
        self.aligned = 0  # leading columns that were computed on the prefill grid

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens."""
        for layer in self._own:
            layer.truncate(length)
        del self.tokens[length:]
        self.aligned = min(self.aligned, length)

    def fork(self, length: int) -> "TokenCache":
        """A separate cache that holds the first `length` tokens."""
        twin = TokenCache(0)
        twin._own = [layer.copy(length) for layer in self._own]
        twin.layers = list(twin._own)
        twin.tokens = self.tokens[:length]
        twin.aligned = min(self.aligned, length)
        return twin


class PrefixStore:
    """The caches of the last few prompts, at most `limit` tokens in all.

    Stored caches are never written to again: a prompt gets its own copy of the prefix. The
    caller holds the engine's lock.
    """

    def __init__(self, entries: int = 4, limit: int = 8192) -> None:
        self._entries = entries
        self._limit = limit
        self._caches: OrderedDict[int, TokenCache] = OrderedDict()
        self._next = 0

    def match(self, tokens: Sequence[int], grid: int | None) -> TokenCache | None:
        """The longest stored prefix of `tokens` (a multiple of `grid`, when given), copied."""
        best, key = 0, None
        for number, cache in self._caches.items():
            shared = common_prefix(cache.tokens, tokens)
            if grid is not None:
                shared = min(shared, cache.aligned) // grid * grid
            if shared > best:
                best, key = shared, number
        if key is None:
            return None
        self._caches.move_to_end(key)
        return self._caches[key].fork(best)

    def keep(self, cache: TokenCache) -> None:
        """Store `cache`, dropping what it extends and then the least recently used."""
        for number, old in list(self._caches.items()):
            if common_prefix(old.tokens, cache.tokens) == len(old.tokens):
                del self._caches[number]
        self._caches[self._next] = cache
        self._next += 1
        while len(self._caches) > self._entries or self._total() > self._limit:
            self._caches.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._caches.clear()

    def _total(self) -> int:
        return sum(len(cache.tokens) for cache in self._caches.values())


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
