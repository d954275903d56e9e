"""Writing number formats: float32 rows into the blocks of Q8_0, Q4_1 and Q4_0, or into floats.

Scales and roundings are those of ggml's reference quantisers (ggml-quants.c), to the byte.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelFileError
from llm_core.formats.quants import BY_NAME, Bytes, Floats
from llm_core.formats.quants_small import Q4_0, Q4_1, Q8_0

_PIECE = 1 << 18  # values quantised at a time, so that temporaries stay in the caches


def quantise(values: Floats, kind: str) -> Bytes:
    """Store rows of values (R, columns) as `kind`: (R, bytes of a row).

    Raises `ModelFileError` where a row is not whole blocks, where a value in a block is not
    finite, where one is too large for the format, and for a format that is only read.
    """
    write = _WRITERS.get(kind)
    if write is None:
        raise ModelFileError(f"{kind} cannot be written; use one of {', '.join(_WRITERS)}")
    block = BY_NAME[kind]
    count, columns = values.shape
    if columns % block.values:
        raise ModelFileError(
            f"rows of {columns} values are not whole blocks of {kind} ({block.values} values)"
        )
    out = np.empty((count, block.row_bytes(columns)), np.uint8)
    step = max(1, _PIECE // max(columns, 1))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for start in range(0, count, step):
            part = np.ascontiguousarray(values[start : start + step], np.float32)
            if block.values > 1 and not np.isfinite(part).all():
                raise ModelFileError(
                    f"a value in rows {start} to {start + len(part)} is not finite"
                )
            blocks = write(part.reshape(-1, block.values))
            out[start : start + step] = blocks.view(np.uint8).reshape(len(part), -1)
    return out


def _inverse(scale: Floats) -> Floats:
    """1 / scale, and 0 where the scale is 0."""
    inverse: Floats = np.where(scale == 0, np.float32(0), np.float32(1) / scale)
    return inverse


def _half(scale: Floats) -> NDArray[np.float16]:
    """A column of scales (N, 1) in half precision, (N,)."""
    half = scale[:, 0].astype("<f2")
    if not np.isfinite(half).all():
        raise ModelFileError(f"a value near {np.abs(scale).max():.3g} is too large to be quantised")
    return half


def _pack(codes: Floats, most: int) -> Bytes:
    """32 codes as 16 bytes: the first half in the low nibbles. Fractions are cut off."""
    whole = codes.astype(np.uint8).clip(0, most)
    packed: Bytes = whole[:, :16] | (whole[:, 16:] << np.uint8(4))
    return packed


def _q8_0(values: Floats) -> NDArray[np.void]:
    scale = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
    codes = values * _inverse(scale)
    whole = np.trunc(codes)
    whole += np.trunc(np.float32(2) * (codes - whole))  # halves go away from zero
    blocks = np.empty(len(values), Q8_0)
    blocks["d"], blocks["q"] = _half(scale), whole.astype(np.int8)
    return blocks


def _q4_1(values: Floats) -> NDArray[np.void]:
    least = values.min(axis=1, keepdims=True)
    scale = (values.max(axis=1, keepdims=True) - least) / np.float32(15)
    codes = (values - least) * _inverse(scale) + np.float32(0.5)
    blocks = np.empty(len(values), Q4_1)
    blocks["d"], blocks["m"], blocks["q"] = _half(scale), _half(least), _pack(codes, 15)
    return blocks


def _q4_0(values: Floats) -> NDArray[np.void]:
    widest = np.take_along_axis(values, np.abs(values).argmax(axis=1)[:, None], axis=1)
    scale = widest / np.float32(-8)
    codes = values * _inverse(scale) + np.float32(8.5)
    blocks = np.empty(len(values), Q4_0)
    blocks["d"], blocks["q"] = _half(scale), _pack(codes, 15)
    return blocks


def _float32(values: Floats) -> NDArray[np.void]:
    return values.astype("<f4").view(np.void)


def _float16(values: Floats) -> NDArray[np.void]:
    half = values.astype("<f2")
    if np.isinf(half[np.isfinite(values)]).any():
        raise ModelFileError(f"a value beyond {np.finfo(np.float16).max:.5g} is too large for F16")
    return half.view(np.void)


def _bfloat16(values: Floats) -> NDArray[np.void]:
    bits = values.view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + (np.uint32(0x7FFF) + even)) >> np.uint32(16)  # to nearest, ties to even
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    rounded = np.where(np.isnan(values), quiet, rounded)
    return rounded.astype("<u2").view(np.void)


_WRITERS: dict[str, Callable[[Floats], NDArray[np.void]]] = {
    "Q8_0": _q8_0,
    "Q4_1": _q4_1,
    "Q4_0": _q4_0,
    "F32": _float32,
    "F16": _float16,
    "BF16": _bfloat16,
}
