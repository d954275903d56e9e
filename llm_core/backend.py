"""What the engine asks of a model: one forward pass over rows of tokens, and a cache for them.

A pass takes rows rather than a batch of sequences, so that decoding, chunked prefill, the
branches of a score and several sequences at once are one call with different indices.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from llm_core.adapters import Adapter
    from llm_core.checkpoint import Checkpoint
    from llm_core.settings import Settings

_MATRIX = "model.layers.0.self_attn.q_proj.weight"  # stored like the other matrices


@dataclass(frozen=True)
class Rows:
    """One forward pass over T rows, which may belong to several sequences.

    tokens (T,); positions (T,): rotary position of each row; slots (T,): the cache that each
    row belongs to; columns (T,): where in that cache its key and value are written. A row
    sees the columns [0, prefix) and [start, column] of its own cache; prefixes and starts (T,).
    """

    tokens: list[int]
    positions: list[int]
    slots: list[int]
    columns: list[int]
    prefixes: list[int]
    starts: list[int]

    @classmethod
    def sequence(cls, tokens: Sequence[int], at: int) -> "Rows":
        """The next tokens of one sequence whose cache holds `at` columns."""
        count = len(tokens)
        places = list(range(at, at + count))
        nothing = [0] * count
        return cls(list(tokens), places, nothing, list(places), list(nothing), list(nothing))


class KVCache(Protocol):
    """Keys and values of one token sequence, preallocated; owned by one run."""

    length: int  # columns that are valid
    capacity: int  # columns there is room for

    def truncate(self, length: int) -> None:
        """Keep the first `length` columns; the room stays."""
        ...

    def read(self, start: int, end: int) -> Any:
        """A copy of the columns [start, end), for the prefix store."""
        ...

    def write(self, block: Any, tokens: int) -> None:
        """Append a block of `tokens` columns that a cache of the same backend gave."""
        ...


class Backend(Protocol):
    """One model in memory. The caller makes sure that one `forward` runs at a time."""

    name: str  # such as "kernel avx512", "torch bfloat16", "transformers float32"
    vocabulary: int
    window: int  # tokens of prompt and reply together
    chunk: int  # tokens a prefill call should take
    invariant: bool  # the same bits whatever the chunking, batch and thread count
    column_bytes: int  # bytes that one cached token takes

    def new_cache(self, capacity: int) -> KVCache:
        """An empty cache with room for `capacity` tokens."""
        ...

    def forward(
        self,
        rows: Rows,
        caches: Sequence[KVCache],
        reads: Sequence[int],
        adapter: "Adapter | None",
        threads: int | None,
    ) -> Tensor:
        """Write the rows' keys and values; logits (len(reads), V) of the rows in `reads`.

        The logits are float32, on the CPU, and the caller's to keep. Empty `reads` skip the
        head. Each touched cache is then as long as its last written column. `threads` None
        leaves the number to the backend.
        """
        ...


def open_backend(
    model_dir: Path, settings: "Settings", report: Callable[[str], None] | None = None
) -> Backend:
    """What runs the model of a folder best: the kernel, our own decoder, or transformers.

    The kernel runs stored 4 and 8 bit weights where `dtype` is "auto" and no GPU is used;
    our decoder runs the Llama family in the number format asked for ("auto": bfloat16);
    transformers runs any other decoder. `report` gets a line before a slow first
    step, and the reason where the kernel could not be used; stderr shows them otherwise.
    Raises ModelFileError for missing, damaged and unsuitable files, ModelError for settings
    that this machine cannot follow.
    """
    from llm_core.checkpoint import open_checkpoint
    from llm_core.models.config import UnsupportedModelError

    checkpoint = open_checkpoint(model_dir)
    dtype = "bfloat16" if settings.dtype == "auto" else settings.dtype
    try:
        kernel = open_kernel(checkpoint, settings, report or _to_stderr)
        if kernel is not None:
            return kernel
        from llm_core.torch_backend import open_torch_backend

        return open_torch_backend(checkpoint, dtype, _device(settings))
    except UnsupportedModelError:
        from llm_core.transformers_backend import open_transformers_backend

        return open_transformers_backend(model_dir, dtype, _device(settings))


def open_kernel(
    checkpoint: "Checkpoint", settings: "Settings", report: Callable[[str], None]
) -> Backend | None:
    """The kernel on a checkpoint where the settings mean it and it runs here, else None.

    Compiles it and lays the weights out where that has not been done. Raises as `open_backend`
    does, and UnsupportedModelError for another architecture.
    """
    named = settings.kernel not in ("auto", "off")
    if _device(settings) != "cpu" or not (settings.dtype == "auto" or named):
        return None
    quantised = _MATRIX in checkpoint.names and checkpoint.blocks(_MATRIX) is not None
    if not named and not quantised:
        return None  # another architecture, or floats, which are never quantised unasked
    from llm_core.kernels.backend import kernel_backend

    return kernel_backend(
        checkpoint,
        cache_dir=settings.cache_dir,
        kernel=settings.kernel,
        threads=settings.threads,
        report=report,
    )


def _device(settings: "Settings") -> str:
    if settings.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return settings.device


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
