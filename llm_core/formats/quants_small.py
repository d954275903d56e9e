"""Dequantisation of the formats whose blocks hold 32 values and one scale, and of NVFP4.

Every function takes the bytes of whole blocks, (N * size,), and returns their values,
(N, 32) float32, NVFP4's (N, 64), rounded exactly as ggml's reference code rounds them.
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_LOW = np.uint8(15)
_E4M3_NAN = 0x7F
FOUR = np.uint8(4)
_BITS = np.arange(32, dtype=np.uint32)
Q4_0 = np.dtype([("d", "<f2"), ("q", "u1", 16)])
Q4_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)])
Q5_0 = np.dtype([("d", "<f2"), ("h", "<u4"), ("q", "u1", 16)])
Q5_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("h", "<u4"), ("q", "u1", 16)])
Q8_0 = np.dtype([("d", "<f2"), ("q", "i1", 32)])
NVFP4 = np.dtype([("s", "u1", 4), ("q", "u1", (4, 8))])
MXFP4 = np.dtype([("e", "u1"), ("q", "u1", 16)])
# Values a 4-bit code stands for: denser around zero, where weights are.
NONLINEAR = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
# Twice the values of a 4-bit float with two bits of exponent (OCP MX, section 5.3.3).
_E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)


def nibbles(packed: Bytes) -> Bytes:
    """Low halves, then high halves: (..., n) bytes become (..., 2n) values below 16."""
    parts: list[Bytes] = [packed & _LOW, packed >> FOUR]
    return np.concatenate(parts, axis=-1)


def nibble_pairs(packed: Bytes) -> Floats:
    """The low and the high half of each byte in turn: (N, n) bytes become (N, 2n) floats."""
    pairs: Bytes = np.stack([packed & _LOW, packed >> FOUR], axis=-1)
    return pairs.reshape(len(packed), -1).astype(np.float32)


def scale(blocks: NDArray[np.void], field: str) -> Floats:
    """A half-precision field of every block as a float32 column, (N, 1)."""
    column: Floats = blocks[field].astype(np.float32)[:, None]
    return column


def _fifth_bits(blocks: NDArray[np.void]) -> Bytes:
    high = (blocks["h"].astype(np.uint32)[:, None] >> _BITS) & np.uint32(1)  # (N, 32)
    codes: Bytes = nibbles(blocks["q"]) | (high.astype(np.uint8) << FOUR)
    return codes


def q4_0(data: Bytes) -> Floats:
    """Values d * (q - 8), q of 4 bits."""
    blocks = data.view(Q4_0)
    signed = nibbles(blocks["q"]).view(np.int8) - np.int8(8)
    return scale(blocks, "d") * signed.astype(np.float32)


def q4_1(data: Bytes) -> Floats:
    """Values d * q + m, q of 4 bits."""
    blocks = data.view(Q4_1)
    values = nibbles(blocks["q"]).astype(np.float32)
    values *= scale(blocks, "d")
    values += scale(blocks, "m")
    return values


def q5_0(data: Bytes) -> Floats:
    """Values d * (q - 16), q of 5 bits: the fifth bits lie together."""
    blocks = data.view(Q5_0)
    signed = _fifth_bits(blocks).view(np.int8) - np.int8(16)
    return scale(blocks, "d") * signed.astype(np.float32)


def q5_1(data: Bytes) -> Floats:
    """Values d * q + m, q of 5 bits: the fifth bits lie together."""
    blocks = data.view(Q5_1)
    values = _fifth_bits(blocks).astype(np.float32)
    values *= scale(blocks, "d")
    values += scale(blocks, "m")
    return values


def q8_0(data: Bytes) -> Floats:
    """Values d * q, q a signed byte."""
    blocks = data.view(Q8_0)
    values = blocks["q"].astype(np.float32)
    values *= scale(blocks, "d")
    return values


def iq4_nl(data: Bytes) -> Floats:
    """Values d * table[q], q of 4 bits."""
    blocks = data.view(Q4_0)
    return scale(blocks, "d") * NONLINEAR[nibbles(blocks["q"])]


def mxfp4(data: Bytes) -> Floats:
    """Values 2**(e - 127) * float4[q]: a power of two as the only scale."""
    blocks = data.view(MXFP4)
    half = np.ldexp(np.float32(1), blocks["e"].astype(np.int32) - 128)  # the table is doubled
    return half.astype(np.float32)[:, None] * _E2M1[nibbles(blocks["q"])]


def nvfp4(data: Bytes) -> Floats:
    """4 groups of 16: s * float4[q], s an 8-bit float without a sign (four bits of exponent)."""
    blocks = data.view(NVFP4)
    codes = blocks["s"]
    exponent = ((codes >> 3) & _LOW).astype(np.int32)
    fraction = (codes & np.uint8(7)).astype(np.float32)
    whole = np.where(exponent == 0, fraction, fraction + np.float32(8))  # eighths
    steps = np.ldexp(whole, np.maximum(exponent, 1) - 11)  # bias 7, eighths, the doubled table
    steps[codes == _E4M3_NAN] = 0
    values: Floats = steps.astype(np.float32)[:, :, None] * _E2M1[nibbles(blocks["q"])]
    return values.reshape(-1, 64)
