"""The number formats of GGUF tensors: how long their blocks are and what they mean.

A quantised row is a run of blocks, each a few scales and the packed integers they apply to.
The layouts are those of ggml (https://github.com/ggml-org/ggml, ggml-common.h); every block
is described by a numpy record, so that one expression reads a field of all blocks at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_core.errors import ModelFileError
from llm_core.formats import quants_grid as grid
from llm_core.formats import quants_small as small
from llm_core.formats import quants_super as super_

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_PIECE = 1 << 18  # values dequantised at a time, so that temporaries stay in the caches


@dataclass(frozen=True)
class Kind:
    """One number format: its ggml id, the values of a block and the bytes they take."""

    name: str
    code: int
    values: int
    size: int  # bytes

    def row_bytes(self, columns: int) -> int:
        """The bytes that a row of `columns` values takes; `columns` is whole blocks."""
        return columns // self.values * self.size


KINDS: dict[int, Kind] = {
    code: Kind(name, code, values, size)
    for name, code, values, size in (
        ("F32", 0, 1, 4),
        ("F16", 1, 1, 2),
        ("Q4_0", 2, 32, 18),
        ("Q4_1", 3, 32, 20),
        ("Q5_0", 6, 32, 22),
        ("Q5_1", 7, 32, 24),
        ("Q8_0", 8, 32, 34),
        ("Q2_K", 10, 256, 84),
        ("Q3_K", 11, 256, 110),
        ("Q4_K", 12, 256, 144),
        ("Q5_K", 13, 256, 176),
        ("Q6_K", 14, 256, 210),
        ("IQ2_XXS", 16, 256, 66),
        ("IQ2_XS", 17, 256, 74),
        ("IQ3_XXS", 18, 256, 98),
        ("IQ1_S", 19, 256, 50),
        ("IQ4_NL", 20, 32, 18),
        ("IQ3_S", 21, 256, 110),
        ("IQ2_S", 22, 256, 82),
        ("IQ4_XS", 23, 256, 136),
        ("IQ1_M", 29, 256, 56),
        ("BF16", 30, 1, 2),
        ("TQ1_0", 34, 256, 54),
        ("TQ2_0", 35, 256, 66),
        ("MXFP4", 39, 32, 17),
        ("NVFP4", 40, 64, 36),
    )
}
BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS.values()}
FLOATS = ("F32", "F16", "BF16")  # not blocks: one number after another
# Formats that exist and are refused by name: no model keeps its weights in them.
OTHERS: dict[int, str] = {
    9: "Q8_1",
    15: "Q8_K",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    41: "Q1_0",
}

_READERS: dict[str, Callable[[Bytes], Floats]] = {
    "Q4_0": small.q4_0,
    "Q4_1": small.q4_1,
    "Q5_0": small.q5_0,
    "Q5_1": small.q5_1,
    "Q8_0": small.q8_0,
    "IQ4_NL": small.iq4_nl,
    "MXFP4": small.mxfp4,
    "NVFP4": small.nvfp4,
    "Q2_K": super_.q2_k,
    "Q3_K": super_.q3_k,
    "Q4_K": super_.q4_k,
    "Q5_K": super_.q5_k,
    "Q6_K": super_.q6_k,
    "IQ4_XS": super_.iq4_xs,
    "IQ1_S": grid.iq1_s,
    "IQ1_M": grid.iq1_m,
    "IQ2_XXS": grid.iq2_xxs,
    "IQ2_XS": grid.iq2_xs,
    "IQ2_S": grid.iq2_s,
    "IQ3_XXS": grid.iq3_xxs,
    "IQ3_S": grid.iq3_s,
    "TQ1_0": super_.tq1_0,
    "TQ2_0": super_.tq2_0,
}


def dequantise(rows: Bytes, kind: str) -> Floats:
    """The values of stored rows: (R, bytes of a row) becomes (R, columns) float32.

    Raises `ModelFileError` for a format without a reader.
    """
    if kind == "F32":
        return np.ascontiguousarray(rows).view("<f4")
    if kind == "F16":
        return np.ascontiguousarray(rows).view("<f2").astype(np.float32)
    if kind == "BF16":
        return _widen(rows)
    read = _READERS.get(kind)
    if read is None:
        raise ModelFileError(
            f"the number format {kind} cannot be read; known: {', '.join(BY_NAME)}; "
            "use a file in one of them, such as Q8_0"
        )
    block = BY_NAME[kind]
    count, width = rows.shape
    columns = width // block.size * block.values
    out = np.empty((count, columns), np.float32)
    step = max(1, _PIECE // max(columns, 1))
    with np.errstate(over="ignore", invalid="ignore"):  # scales may be infinite or NaN
        for start in range(0, count, step):
            part = np.ascontiguousarray(rows[start : start + step])
            out[start : start + step] = read(part.reshape(-1)).reshape(-1, columns)
    return out


def _widen(rows: Bytes) -> Floats:
    """Bfloat16 is the upper half of a float32."""
    halves = np.ascontiguousarray(rows).view("<u2").astype(np.uint32)
    halves <<= np.uint32(16)
    return halves.view(np.float32)
