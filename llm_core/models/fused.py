"""Attention of packed texts in one C++ call, for bfloat16 on processors with AVX-512 BF16.

A third of the time that torch takes for short texts, and no padding. The source is compiled
once a machine, as the decode kernel is; where that cannot be, `open_fused` gives None and
`attend_padded` does the work.
"""

import ctypes
import platform
from collections.abc import Callable, Sequence
from ctypes import c_float, c_int32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_core.kernels.build import KernelUnavailableError, build_library
from llm_core.models.encoder import attend_padded
from llm_core.settings import child_environment

SOURCES = Path(__file__).parent / "native"
_ALONE = 1 << 16  # scores up to which one thread is done before a second has started


class FusedAttention:
    """What `Encoder` takes as its attention; safe to share between threads.

    Other dtypes than bfloat16, and head widths that the library does not know, go to torch.
    """

    def __init__(self, library: Path) -> None:
        self._library: Any = ctypes.CDLL(str(library))
        self._library.encoder_supported.argtypes = [c_int32]
        self._library.encoder_attend.argtypes = [
            *(c_void_p, c_void_p, c_void_p, c_int32, c_int32, c_int32, c_float, c_int32)
        ]

    def supports(self, width: int) -> bool:
        """Say whether heads of `width` channels are computed here on this processor."""
        return bool(self._library.encoder_supported(width))

    def __call__(self, qkv: Tensor, lengths: Sequence[int], heads: int) -> Tensor:
        """(N, 3 C) to (N, C); the threads are those of torch."""
        width = qkv.shape[1] // (3 * heads)
        if qkv.dtype != torch.bfloat16 or not qkv.is_contiguous() or not self.supports(width):
            return attend_padded(qkv, lengths, heads)
        out = torch.empty(len(qkv), heads * width, dtype=qkv.dtype)
        ends = np.cumsum(lengths, dtype=np.int32)
        scores = heads * sum(length * length for length in lengths)
        threads = torch.get_num_threads() if scores > _ALONE else 1
        failed = self._library.encoder_attend(
            *(qkv.data_ptr(), out.data_ptr(), ends.ctypes.data, len(ends)),
            *(heads, width, width**-0.5, threads),
        )
        if failed:
            raise MemoryError("attention has no memory for its scores")
        return out


def open_fused(
    cache_dir: Path, report: Callable[[str], None] | None = None
) -> FusedAttention | None:
    """The library, compiled into `cache_dir` where it is not there yet, None without one.

    `report` gets a line before a compilation.
    """
    if platform.system() != "Linux" or platform.machine().lower() not in ("x86_64", "amd64"):
        return None

    def say(_line: str) -> None:
        if report is not None:
            report("compiling the attention of the embeddings (once) ...")

    try:
        return FusedAttention(build_library(cache_dir, child_environment(), say, SOURCES))
    except (KernelUnavailableError, OSError):  # OSError: a library that cannot be loaded
        return None
