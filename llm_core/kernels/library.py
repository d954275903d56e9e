"""The kernel's C interface, as `src/api.h` declares it, for ctypes.

Arrays handed over must outlive the calls that use them; numpy and ctypes own them here.
"""

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from llm_core.kernels.build import KernelUnavailableError

API_VERSION = 2
KINDS = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 8}
PARTS = ("q", "k", "v", "o", "gate", "up", "down")

Array = np.ndarray[Any, np.dtype[Any]]


class Matrix(ctypes.Structure):
    """lm_matrix: a packed weight."""

    _fields_ = [
        ("kind", c_int32),
        ("rows", c_int32),
        ("columns", c_int32),
        ("reserved", c_int32),
        ("data", c_void_p),
    ]


class Shape(ctypes.Structure):
    """lm_shape: the sizes of a model."""

    _fields_ = [
        *((name, c_int32) for name in ("layers", "hidden", "intermediate", "heads", "kv_heads")),
        *((name, c_int32) for name in ("head_dim", "vocabulary", "positions")),
        ("norm_eps", c_float),
        ("attention_scale", c_float),
    ]


class Layer(ctypes.Structure):
    """lm_layer: the weights of one layer."""

    _fields_ = [
        *((name, Matrix) for name in PARTS),
        *((name, c_void_p) for name in ("input_norm", "post_norm", "q_norm", "k_norm")),
        *((f"{name}_bias", c_void_p) for name in PARTS),
        ("window", c_int32),
        ("reserved", c_int32),
    ]


class Model(ctypes.Structure):
    """lm_model: everything that is read during a pass."""

    _fields_ = [
        ("shape", Shape),
        ("layers", POINTER(Layer)),
        ("embed", Matrix),
        ("head", Matrix),
        ("final_norm", c_void_p),
        ("cosine", c_void_p),
        ("sine", c_void_p),
    ]


class Pair(ctypes.Structure):
    """lm_pair: the two factors of one weight's low-rank change."""

    _fields_ = [
        *((name, c_void_p) for name in ("a", "b", "steps")),
        ("scale", c_float),
        ("reserved", c_int32),
    ]


class LowRank(ctypes.Structure):
    """lm_adapter."""

    _fields_ = [("rank", c_int32), ("reserved", c_int32), ("pairs", POINTER(Pair))]


class Cache(ctypes.Structure):
    """lm_cache: keys and values of one sequence."""

    _fields_ = [("capacity", c_int32), ("reserved", c_int32), ("data", c_void_p)]


class RowTable(ctypes.Structure):
    """lm_rows: the rows of a pass."""

    _fields_ = [
        ("count", c_int32),
        ("reserved", c_int32),
        *((name, c_void_p) for name in ("tokens", "positions", "slots")),
        *((name, c_void_p) for name in ("columns", "prefixes", "starts")),
    ]


class Timings(ctypes.Structure):
    """lm_timings: nanoseconds of one pass by kind of work."""

    _fields_ = [
        *((name, c_int64) for name in ("total", "project", "attend", "output")),
        *((name, c_int64) for name in ("feed", "head", "other")),
    ]


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "lm_version": (c_int32, []),
    "lm_error": (c_char_p, []),
    "lm_targets": (c_char_p, []),
    "lm_matrix_bytes": (c_size_t, [c_int32, c_int32, c_int32]),
    "lm_matrix_row": (c_int32, [POINTER(Matrix), c_int32, POINTER(c_float)]),
    "lm_new": (c_void_p, [POINTER(Model), c_char_p, c_int32]),
    "lm_free": (None, [c_void_p]),
    "lm_target": (c_char_p, [c_void_p]),
    "lm_chunk": (c_int32, [c_void_p]),
    "lm_cache_bytes": (c_size_t, [c_void_p, c_int32]),
    "lm_cache_read": (c_int32, [c_void_p, POINTER(Cache), c_int32, c_int32, c_void_p]),
    "lm_cache_write": (c_int32, [c_void_p, POINTER(Cache), c_int32, c_int32, c_void_p]),
    "lm_cache_copy": (
        c_int32,
        [c_void_p, POINTER(Cache), c_int32, POINTER(Cache), c_int32, c_int32],
    ),
    "lm_forward": (
        c_int32,
        [
            *(c_void_p, POINTER(RowTable), c_void_p, c_int32, c_void_p, c_int32),
            *(c_void_p, c_size_t, POINTER(LowRank), c_int32, POINTER(Timings)),
        ],
    ),
}


class KernelError(RuntimeError):
    """The kernel refused a call: a bug of ours, told in its own words."""


class Library:
    """A loaded kernel library; calls release the interpreter's lock while they run."""

    def __init__(self, path: Path) -> None:
        """Load `path`. Raises KernelUnavailableError where it is none of our libraries."""
        try:
            self.calls: Any = ctypes.CDLL(str(path))
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(self.calls, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as err:
            raise KernelUnavailableError(f"{path} cannot be loaded ({err}); remove it") from err
        found = self.calls.lm_version()
        if found != API_VERSION:
            raise KernelUnavailableError(
                f"{path} has interface {found}, not {API_VERSION}; remove it"
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """The instruction sets that this machine runs, best first."""
        return tuple(self.calls.lm_targets().decode().split())

    def error(self) -> str:
        """Why the last call of this thread failed."""
        return str(self.calls.lm_error().decode(errors="replace"))

    def check(self, status: int) -> None:
        """Raise KernelError unless a call returned 0."""
        if status != 0:
            raise KernelError(self.error())


def address(array: Array | None) -> int | None:
    """Where a contiguous array's data lie; None stays None."""
    return None if array is None else int(array.ctypes.data)


def aligned(size: int, alignment: int = 64) -> Array:
    """A zeroed uint8 array (size,) at a multiple of `alignment`; pages untouched cost nothing."""
    raw = np.zeros(size + alignment, dtype=np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + size]
