"""The engine's view of the kernel: exact quantised weights, run by the compiled library."""

import ctypes
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from llm_core.backend import KVCache, Rows
from llm_core.kernels import library as c
from llm_core.kernels.build import KernelUnavailableError, Report, build_library
from llm_core.kernels.library import Array, Library, address, aligned
from llm_core.kernels.lowrank import PackedAdapter, pack_adapter
from llm_core.kernels.memory import zeroed
from llm_core.kernels.pack import PackedModel, load_packed, require_runnable
from llm_core.settings import child_environment

if TYPE_CHECKING:
    from llm_core.adapters import Adapter
    from llm_core.checkpoint import Checkpoint

TILE = 16  # columns of a cache tile
_MOST_HUGE = 96 << 20  # bytes of a cache in huge pages; a larger one may stay mostly empty
MOST_THREADS = 256
USUAL_THREADS = 8  # unless told otherwise: memory, not cores, bounds decoding beyond
_ADAPTERS_KEPT = 8


def kernel_backend(
    checkpoint: "Checkpoint",
    *,
    cache_dir: Path,
    kernel: str = "auto",
    threads: int | None = None,
    report: Report | None = None,
) -> "KernelBackend | None":
    """The kernel on a checkpoint's stored weights, None where it cannot run them here.

    `kernel` is "auto", "off" or the name of a target; `report` gets one line for each slow
    first step, and the reason where None is returned. Raises KernelUnavailableError instead
    of returning None where a target is named, and ModelFileError for damaged files.
    """
    if kernel == "off":
        return None
    try:
        require_runnable(checkpoint)
        library = Library(build_library(cache_dir, child_environment(), report))
        target = _choose(library, kernel)
        packed = load_packed(checkpoint, cache_dir, report)
        return KernelBackend(library, packed, target, threads)
    except KernelUnavailableError as err:
        if kernel != "auto":
            raise
        if report is not None:
            report(f"the decode kernel is not used: {err}")
        return None


def _choose(library: Library, kernel: str) -> str:
    """The target to run, checked against those of this machine."""
    if kernel == "auto":
        return library.targets[0]
    named = [name for name in library.targets if name == kernel or name == f"{kernel}bf16"]
    if not named:
        raise KernelUnavailableError(
            f"kernel {kernel!r} does not run on this machine: use auto, off or one of "
            f"{', '.join(library.targets)}"
        )
    return named[0]


class KernelCache:
    """Keys and values of one sequence in the kernel's layout; see lm_cache in `src/api.h`."""

    def __init__(self, backend: "KernelBackend", capacity: int) -> None:
        self.length = 0
        self.capacity = -(-max(capacity, 1) // TILE) * TILE
        self._backend = backend
        self._data = zeroed(backend.cache_bytes(self.capacity), _MOST_HUGE)
        self.handle = c.Cache(self.capacity, 0, address(self._data))

    def truncate(self, length: int) -> None:
        """Keep the first `length` columns; the room stays."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} of {self.length} columns")
        self.length = length

    def read(self, start: int, end: int) -> Array:
        """A copy of the columns [start, end) for `write`: uint8, whole tiles of 16 columns."""
        if not 0 <= start < end <= self.length:
            raise ValueError(f"cannot read columns {start} to {end} of {self.length}")
        capacity = -(-(end - start) // TILE) * TILE
        block = aligned(self._backend.cache_bytes(capacity))
        if start % TILE == 0:
            self._backend.move_tiles("read", self.handle, start, end, block)
        else:
            target = c.Cache(capacity, 0, address(block))
            self._backend.copy_columns(self.handle, start, target, 0, end - start)
        return block

    def write(self, block: Array, tokens: int) -> None:
        """Append a block of `tokens` columns that `read` of the same backend returned."""
        capacity, end = -(-tokens // TILE) * TILE, self.length + tokens
        if tokens < 1 or end > self.capacity:
            raise ValueError(f"{tokens} columns do not fit behind {self.length} of {self.capacity}")
        if block.nbytes != self._backend.cache_bytes(capacity):
            raise ValueError(f"a block of {block.nbytes} bytes does not hold {tokens} columns")
        if self.length % TILE == 0:
            self._backend.move_tiles("write", self.handle, self.length, end, block)
            self.length = end
        else:
            self.copy(c.Cache(capacity, 0, address(block)), 0, self.length, tokens)

    def copy(self, source: "c.Cache | KernelCache", start: int, to: int, count: int) -> None:
        """Copy columns [start, start + count) of `source` to column `to` of this cache.

        Rotated keys keep their positions. The cache is then at least `to + count` long.
        """
        if to < 0 or count < 1 or to + count > self.capacity:
            raise ValueError(f"{count} columns do not fit at {to} of {self.capacity}")
        handle = source.handle if isinstance(source, KernelCache) else source
        self._backend.copy_columns(handle, start, self.handle, to, count)
        self.length = max(self.length, to + count)


@dataclass(frozen=True)
class PassTimes:
    """Milliseconds of the last pass, by kind of work."""

    total: float
    project: float
    attend: float
    output: float
    feed: float
    head: float
    other: float


_TIMES = tuple(field.name for field in fields(PassTimes))


class KernelBackend:
    """One model run by the compiled kernel. One `forward` runs at a time; others wait.

    The same tokens give the same bits whatever the chunks, the batch and the threads, on one
    target of one machine.
    """

    invariant = True

    def __init__(
        self, library: Library, packed: PackedModel, target: str, threads: int | None = None
    ) -> None:
        """Raises KernelUnavailableError where the library refuses the model."""
        shape = packed.shape
        self.vocabulary = shape.vocab_size
        self.window = packed.arrays["cosine"].shape[0]
        self._timings: c.Timings | None = None
        self._library = library
        self._packed = packed
        self._threads = min(threads or min(usable_cores(), USUAL_THREADS), MOST_THREADS)
        self._most = min(max(self._threads, usable_cores()), MOST_THREADS)
        self._adapters: OrderedDict[str, PackedAdapter] = OrderedDict()
        self._lock = threading.Lock()
        self._model, self._layers = _describe(packed)
        calls = library.calls
        context = calls.lm_new(ctypes.byref(self._model), target.encode(), self._most)
        if not context:
            raise KernelUnavailableError(library.error())
        self._context = ctypes.c_void_p(context)
        self._close = weakref.finalize(self, calls.lm_free, self._context)
        self._close.atexit = False  # a thread may still be inside a pass when the process ends
        self.target = str(calls.lm_target(self._context).decode())
        self.name = f"kernel {self.target}"
        self.chunk = int(calls.lm_chunk(self._context))
        self.column_bytes = self.cache_bytes(TILE) // TILE
        self._stride = -(-self.vocabulary // TILE) * TILE

    @property
    def kinds(self) -> dict[str, str]:
        """The stored kind of each matrix, such as {"embed": "Q8_0", "0.q": "Q4_1"}."""
        return dict(self._packed.kinds)

    @property
    def times(self) -> PassTimes | None:
        """How long the last pass took, None before the first."""
        found = self._timings
        if found is None:
            return None
        return PassTimes(*(getattr(found, name) / 1e6 for name in _TIMES))

    def close(self) -> None:
        """Free the library's memory and threads after the pass that runs; no call may follow."""
        with self._lock:
            self._close()

    def new_cache(self, capacity: int) -> KVCache:
        """An empty cache with room for `capacity` tokens, rounded up to 16."""
        return KernelCache(self, capacity)

    def cache_bytes(self, capacity: int) -> int:
        """Bytes of a cache with room for `capacity` columns, a multiple of 16."""
        return int(self._library.calls.lm_cache_bytes(self._context, capacity))

    def move_tiles(
        self, way: Literal["read", "write"], cache: c.Cache, start: int, end: int, block: Array
    ) -> None:
        """Copy columns [start, end), whose start is a multiple of 16, out of a cache or into it."""
        calls = self._library.calls
        move = calls.lm_cache_read if way == "read" else calls.lm_cache_write
        self._library.check(
            move(self._context, ctypes.byref(cache), start, end, ctypes.c_void_p(address(block)))
        )

    def copy_columns(
        self, source: c.Cache, start: int, target: c.Cache, to: int, count: int
    ) -> None:
        """Copy `count` columns between two caches, or within one where they do not overlap."""
        one, other = ctypes.byref(source), ctypes.byref(target)
        calls = self._library.calls
        self._library.check(calls.lm_cache_copy(self._context, one, start, other, to, count))

    def forward(
        self,
        rows: Rows,
        caches: Sequence[KVCache],
        reads: Sequence[int],
        adapter: "Adapter | None",
        threads: int | None,
    ) -> Tensor:
        """Write the rows' keys and values; float32 logits (len(reads), V) of the rows in `reads`.

        Raises KernelError for rows that fit neither the model nor their caches.
        """
        own = [cache for cache in caches if isinstance(cache, KernelCache)]
        if len(own) != len(caches):
            raise TypeError("caches of another backend")
        table, held = _row_table(rows)
        handles = (c.Cache * max(len(own), 1))(*(cache.handle for cache in own))
        wanted = (ctypes.c_int32 * len(reads))(*reads)
        logits = torch.empty((len(reads), self._stride))
        timings = c.Timings()
        with self._lock:
            low_rank = None if adapter is None else ctypes.byref(self._adapter(adapter).handle)
            self._library.check(
                self._library.calls.lm_forward(
                    *(self._context, ctypes.byref(table), handles, len(own)),
                    *(ctypes.addressof(wanted), len(wanted), logits.data_ptr(), self._stride),
                    *(low_rank, self._thread_count(threads), ctypes.byref(timings)),
                )
            )
            self._timings = timings
        del held
        for slot, column in zip(rows.slots, rows.columns, strict=True):
            own[slot].length = max(own[slot].length, column + 1)
        return logits if self._stride == self.vocabulary else logits[:, : self.vocabulary]

    def _thread_count(self, threads: int | None) -> int:
        return min(max(threads or self._threads, 1), self._most)

    def _adapter(self, adapter: "Adapter") -> PackedAdapter:
        """The adapter in the kernel's layout, kept for the next call."""
        packed = self._adapters.get(adapter.key)
        if packed is None:
            packed = pack_adapter(adapter, self._packed)
            self._adapters[adapter.key] = packed
            while len(self._adapters) > _ADAPTERS_KEPT:
                self._adapters.popitem(last=False)
        self._adapters.move_to_end(adapter.key)
        return packed


def usable_cores() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _row_table(rows: Rows) -> tuple[c.RowTable, Any]:
    """The rows as the library reads them, and the memory that holds them."""
    count = len(rows.tokens)
    held = (ctypes.c_int32 * (6 * count))(
        *rows.tokens, *rows.positions, *rows.slots, *rows.columns, *rows.prefixes, *rows.starts
    )
    start, step = ctypes.addressof(held), 4 * count
    return c.RowTable(count, 0, *range(start, start + 6 * step, step)), held


def _describe(packed: PackedModel) -> tuple[c.Model, Any]:
    """The model as the library reads it, and the layers that it points to."""
    shape, arrays = packed.shape, packed.arrays
    layers = (c.Layer * shape.num_hidden_layers)()
    for number in range(shape.num_hidden_layers):
        layer = layers[number]
        for part in c.PARTS:
            setattr(layer, part, _matrix(packed, f"{number}.{part}"))
            setattr(layer, f"{part}_bias", address(arrays.get(f"{number}.{part}_bias")))
        for part in ("input_norm", "post_norm", "q_norm", "k_norm"):
            setattr(layer, part, address(arrays.get(f"{number}.{part}")))
        layer.window = shape.windows[number] or 0
    sizes = c.Shape(
        layers=shape.num_hidden_layers,
        hidden=shape.hidden_size,
        intermediate=shape.intermediate_size,
        heads=shape.num_attention_heads,
        kv_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        vocabulary=shape.vocab_size,
        positions=arrays["cosine"].shape[0],
        norm_eps=shape.rms_norm_eps,
        attention_scale=shape.head_dim**-0.5,
    )
    model = c.Model(
        shape=sizes,
        layers=layers,
        embed=_matrix(packed, "embed"),
        head=_matrix(packed, "head" if "head" in arrays else "embed"),
        **{name: address(arrays[name]) for name in ("final_norm", "cosine", "sine")},
    )
    return model, layers


def _matrix(packed: PackedModel, name: str) -> c.Matrix:
    rows, columns = packed.sizes[name]
    kind = c.KINDS[packed.kinds[name]]
    return c.Matrix(kind, rows, columns, 0, address(packed.arrays[name]))
