"""One decoding step recorded as a CUDA graph: a replay instead of hundreds of launches.

A recording belongs to the memory of one cache, so that memory is lent to one run after
another and keeps its recordings.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llm_core.models.cache import TorchCache, static_span
from llm_core.models.decoder import BlockDeltas, Decoder

_RECORDINGS = 4  # of one slab


def static_step(
    decoder: Decoder,
    cache: TorchCache,
    token: Tensor,
    column: Tensor,
    deltas: Sequence[BlockDeltas] | None,
) -> Tensor:
    """Logits (1, V) after one token (1,) at a column (1,), all shapes fixed by the cache."""
    span = static_span(cache, column, set(decoder.config.windows))
    return decoder.logits(decoder(token, column, [span], deltas))


class StepGraph:
    """The step over one cache's memory, recorded at construction."""

    def __init__(
        self,
        decoder: Decoder,
        store: Tensor,
        column: int,
        deltas: Sequence[BlockDeltas] | None,
    ) -> None:
        cache = TorchCache(store)
        self._token = torch.zeros(1, dtype=torch.long, device=store.device)
        # The trial steps write this column, which the first real step overwrites.
        self._column = torch.full((1,), column, dtype=torch.long, device=store.device)
        self._deltas = deltas  # recorded by address: they must outlive the recording
        side = torch.cuda.Stream(store.device)  # type: ignore[no-untyped-call]  # torch is untyped
        side.wait_stream(torch.cuda.current_stream(store.device))
        with torch.cuda.stream(side):  # libraries set themselves up outside the recording
            for _ in range(2):
                static_step(decoder, cache, self._token, self._column, deltas)
        torch.cuda.current_stream(store.device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = static_step(decoder, cache, self._token, self._column, deltas)

    def __call__(self, token: int, column: int) -> Tensor:
        """Logits (1, V) on the device, valid until the next call."""
        self._token.fill_(token)
        self._column.fill_(column)
        self._graph.replay()
        return self._logits


class Slab:
    """The memory of a cache, and the steps recorded over it: one without and one per adapter.

    The last used recordings stay, for each keeps an adapter's matrices on the device.
    """

    def __init__(self, store: Tensor) -> None:
        self.store = store
        self.steps: OrderedDict[str, StepGraph] = OrderedDict()

    def step(self, key: str, record: Callable[[], StepGraph]) -> StepGraph:
        """The recording of an adapter's key, made by `record` where there is none."""
        if key not in self.steps:
            self.steps[key] = record()
        self.steps.move_to_end(key)
        if len(self.steps) > _RECORDINGS:
            self.steps.popitem(last=False)
        return self.steps[key]


class LentCache(TorchCache):
    """A cache in lent memory, which goes back to its pool with the cache's last reference."""

    def __init__(self, slab: Slab) -> None:
        super().__init__(slab.store)
        self.slab = slab


class SlabPool:
    """Memory of ended runs, with its recordings; at most `limit` slabs wait in it."""

    def __init__(self, limit: int = 4) -> None:
        self._limit = limit
        self._free: list[Slab] = []
        self._lock = threading.RLock()  # a cache may be collected inside of a call

    def take(self, capacity: int) -> Slab | None:
        """A waiting slab of exactly this many columns."""
        with self._lock:
            for slab in list(self._free):
                if slab.store.shape[3] == capacity and slab in self._free:
                    self._free.remove(slab)
                    return slab
        return None

    def lend(self, slab: Slab) -> LentCache:
        """A cache in the memory of `slab`."""
        cache = LentCache(slab)
        weakref.finalize(cache, self._give_back, slab)
        return cache

    def _give_back(self, slab: Slab) -> None:
        with self._lock:
            self._free.append(slab)
            del self._free[: -self._limit]
