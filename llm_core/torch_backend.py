"""Our decoder in torch, in bfloat16 or float32, on the CPU or a CUDA device.

It runs every decoder of the Llama family that the fused kernel does not, and is what is
left where there is no compiler. On a CUDA device a step is one recorded graph.
"""

import os
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from llm_core.adapters import Adapter
from llm_core.backend import KVCache, Rows
from llm_core.errors import ModelError
from llm_core.models.cache import Span, TorchCache, make_span
from llm_core.models.decoder import BlockDeltas, Decoder
from llm_core.models.deltas import block_deltas
from llm_core.models.graph import LentCache, Slab, SlabPool, StepGraph
from llm_core.models.load import Weights, load_decoder

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_ADAPTERS = 4  # laid out at a time
_SMALLEST = 512  # columns of a cache on a CUDA device


def open_torch_backend(
    checkpoint: Weights, dtype: str = "bfloat16", device: str = "cpu"
) -> "TorchBackend":
    """Load a decoder; `device` is "cpu", "cuda", or "auto" for CUDA where there is one.

    Raises UnsupportedModelError for what the decoder does not implement, ModelFileError for
    damaged files, ModelError for a number format or device that is not there.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")
    place = pick_device(device)
    decoder = load_decoder(checkpoint, DTYPES[dtype], place)
    return TorchBackend(decoder.pack() if place.type == "cpu" else decoder, place)


def pick_device(device: str) -> torch.device:
    """The torch device of a setting; raises ModelError where there is none."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise ModelError(f"device {device!r} is unknown: use auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device 'cuda' is not there: torch finds no CUDA device; use cpu")
    return torch.device(device)


class TorchBackend:
    """One decoder in memory; see `llm_core.backend.Backend`."""

    chunk = 256
    invariant = False  # matrix libraries sum differently for different numbers of rows

    def __init__(self, decoder: Decoder, device: torch.device) -> None:
        self._decoder = decoder
        self._device = device
        self._dtype = decoder.embedding.dtype
        self._config = config = decoder.config
        self._windows = set(config.windows)
        self._threads = torch.get_num_threads()
        self._deltas: OrderedDict[str, list[BlockDeltas]] = OrderedDict()
        self._pool = SlabPool()
        self._process = os.getpid()
        place = "" if device.type == "cpu" else f" {device.type}"
        self.name = f"torch {str(self._dtype).removeprefix('torch.')}{place}"
        self.vocabulary = config.vocab_size
        self.window = config.max_position_embeddings
        columns = config.num_hidden_layers * 2 * config.keys
        self.column_bytes = columns * self._dtype.itemsize

    def new_cache(self, capacity: int) -> KVCache:
        """An empty cache with room for at least `capacity` tokens."""
        if self._device.type == "cpu":
            return TorchCache.empty(self._config, capacity, self._dtype, self._device)
        room = max(_SMALLEST, 1 << (capacity - 1).bit_length())
        slab = self._pool.take(room) or Slab(
            TorchCache.empty(self._config, room, self._dtype, self._device).store
        )
        return self._pool.lend(slab)

    def forward(
        self,
        rows: Rows,
        caches: Sequence[KVCache],
        reads: Sequence[int],
        adapter: Adapter | None,
        threads: int | None,
    ) -> Tensor:
        """See `Backend.forward`; raises ModelError for several threads in a forked process."""
        wanted = threads or self._threads
        if wanted > 1 and self._process != os.getpid():
            raise ModelError(
                "this model was loaded before the process was forked, and torch's threads do not "
                "survive that: load it in the worker, or with one thread"
            )
        if torch.get_num_threads() != wanted:  # torch keeps this number for each Python thread
            torch.set_num_threads(wanted)
        out = torch.empty(len(reads), self.vocabulary)  # unlike what inference mode makes,
        with torch.inference_mode():  # the caller may write to it
            deltas = None if adapter is None else self._laid_out(adapter)
            logits = self._step(rows, caches, adapter, deltas)
            if logits is None:
                logits = self._pass(rows, caches, reads, deltas)
            if reads:
                out.copy_(logits)
        return out

    def _step(
        self,
        rows: Rows,
        caches: Sequence[KVCache],
        adapter: Adapter | None,
        deltas: list[BlockDeltas] | None,
    ) -> Tensor | None:
        """Replay a recorded step where this is one: one plain row of a cache on the device."""
        cache = caches[rows.slots[0]]
        if not isinstance(cache, LentCache) or len(rows.tokens) != 1:
            return None
        column = rows.columns[0]
        if rows.starts[0] > rows.prefixes[0] or not column <= cache.length < cache.capacity:
            return None
        step = cache.slab.step(
            "" if adapter is None else adapter.key,
            lambda: StepGraph(self._decoder, cache.store, column, deltas),
        )
        logits = step(rows.tokens[0], column)
        cache.length = column + 1
        return logits

    def _pass(
        self,
        rows: Rows,
        caches: Sequence[KVCache],
        reads: Sequence[int],
        deltas: list[BlockDeltas] | None,
    ) -> Tensor:
        """Logits (R, V) of the rows in `reads`."""
        # Rows of one sequence lie together in the pass, whatever order they came in.
        order = sorted(range(len(rows.slots)), key=rows.slots.__getitem__)
        tokens = torch.tensor([rows.tokens[row] for row in order], device=self._device)
        positions = torch.tensor([rows.positions[row] for row in order], device=self._device)
        spans = self._spans(rows, order, caches)
        hidden: Tensor = self._decoder(tokens, positions, spans, deltas)
        for span in spans:
            span.cache.length = span.end
        if not reads:
            return hidden[:0]
        place = {row: index for index, row in enumerate(order)}
        return self._decoder.logits(hidden[[place[row] for row in reads]])

    def _spans(self, rows: Rows, order: list[int], caches: Sequence[KVCache]) -> list[Span]:
        mine: dict[int, list[int]] = {}
        for row in order:
            mine.setdefault(rows.slots[row], []).append(row)
        spans = []
        for slot, own in mine.items():
            cache = caches[slot]
            assert isinstance(cache, TorchCache), "a cache of another backend"
            columns, prefixes, starts = (
                [source[row] for row in own]
                for source in (rows.columns, rows.prefixes, rows.starts)
            )
            spans.append(make_span(cache, columns, prefixes, starts, self._windows))
        return spans

    def _laid_out(self, adapter: Adapter) -> list[BlockDeltas]:
        if adapter.key not in self._deltas:
            made = block_deltas(adapter, self._config, self._dtype, self._device)
            self._deltas[adapter.key] = made
        self._deltas.move_to_end(adapter.key)
        if len(self._deltas) > _ADAPTERS:
            self._deltas.popitem(last=False)
        return self._deltas[adapter.key]
