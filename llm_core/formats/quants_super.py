"""Dequantisation of the formats whose blocks hold 256 values in groups with scales of their own.

Every function takes the bytes of whole blocks, (N * size,), and returns their values,
(N, 256) float32, rounded exactly as ggml's reference code rounds them.
"""

import numpy as np
from numpy.typing import NDArray

from llm_core.formats.quants_small import FOUR, NONLINEAR, nibble_pairs, nibbles, scale

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_PAIRS = np.array([0, 2, 4, 6], np.uint8)  # shifts of the four 2-bit fields of a byte
_POWERS = np.array([1, 3, 9, 27, 81], np.uint8)
_Q2_K = np.dtype([("s", "u1", 16), ("q", "u1", 64), ("d", "<f2"), ("m", "<f2")])
_Q3_K = np.dtype([("h", "u1", 32), ("q", "u1", 64), ("s", "u1", 12), ("d", "<f2")])
_Q4_K = np.dtype([("d", "<f2"), ("m", "<f2"), ("s", "u1", 12), ("q", "u1", (4, 32))])
_Q5_K = np.dtype(
    [("d", "<f2"), ("m", "<f2"), ("s", "u1", 12), ("h", "u1", 32), ("q", "u1", (4, 32))]
)
_Q6_K = np.dtype([("q", "u1", (2, 64)), ("h", "u1", (2, 32)), ("s", "i1", 16), ("d", "<f2")])
_IQ4_XS = np.dtype([("d", "<f2"), ("h", "<u2"), ("s", "u1", 4), ("q", "u1", (8, 16))])
_TQ1_0 = np.dtype([("q", "u1", 48), ("h", "u1", 4), ("d", "<f2")])
_TQ2_0 = np.dtype([("q", "u1", (2, 1, 32)), ("d", "<f2")])


def _two_bits(packed: Bytes) -> Bytes:
    """(N, 64) bytes become (N, 256): of each 32 bytes first all lowest fields, and so on."""
    rows = packed.reshape(-1, 2, 1, 32) >> _PAIRS[:, None]  # (N, 2, 4, 32)
    return (rows & np.uint8(3)).reshape(-1, 256)


def q2_k(data: Bytes) -> Floats:
    """16 groups of 16: d * s * q - m * t, with q of 2 bits and s, t of 4."""
    blocks = data.view(_Q2_K)
    steps = scale(blocks, "d") * (blocks["s"] & np.uint8(15)).astype(np.float32)
    floors = scale(blocks, "m") * (blocks["s"] >> FOUR).astype(np.float32)
    values = _two_bits(blocks["q"]).reshape(-1, 16, 16).astype(np.float32)
    values *= steps[:, :, None]
    values -= floors[:, :, None]
    return values.reshape(-1, 256)


def q3_k(data: Bytes) -> Floats:
    """16 groups of 16: d * (s - 32) * q, with q of 2 bits and a sign bit, s of 6 bits."""
    blocks = data.view(_Q3_K)
    packed = blocks["s"]
    low = nibbles(packed[:, :8])  # (N, 16)
    high = (packed[:, None, 8:] >> _PAIRS[:, None]) & np.uint8(3)  # (N, 4, 4)
    scales = (low | (high.reshape(-1, 16) << FOUR)).view(np.int8) - np.int8(32)
    steps = scale(blocks, "d") * scales.astype(np.float32)
    bits = blocks["h"][:, None, :] >> np.arange(8, dtype=np.uint8)[:, None]  # (N, 8, 32)
    minus = ((bits & np.uint8(1)) ^ np.uint8(1)) << 2  # a clear bit takes 4 away
    signed = _two_bits(blocks["q"]).view(np.int8) - minus.reshape(-1, 256).view(np.int8)
    values = signed.reshape(-1, 16, 16).astype(np.float32)
    return (steps[:, :, None] * values).reshape(-1, 256)


def _six_bits(packed: Bytes) -> tuple[Floats, Floats]:
    """The eight scales and eight minima of 6 bits in 12 bytes, each (N, 8)."""
    first, second, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    mask, top = np.uint8(63), np.uint8(48)
    scales = np.concatenate([first & mask, (rest & np.uint8(15)) | ((first >> 2) & top)], 1)
    floors = np.concatenate([second & mask, (rest >> FOUR) | ((second >> 2) & top)], 1)
    return scales.astype(np.float32), floors.astype(np.float32)


def _affine_groups(blocks: NDArray[np.void], codes: Bytes) -> Floats:
    """8 groups of 32: d * s * q - m * t; `codes` is (N, 8, 32)."""
    scales, floors = _six_bits(blocks["s"])
    values = codes.astype(np.float32)
    values *= (scale(blocks, "d") * scales)[:, :, None]
    values -= (scale(blocks, "m") * floors)[:, :, None]
    return values.reshape(-1, 256)


def q4_k(data: Bytes) -> Floats:
    """8 groups of 32: d * s * q - m * t, with q of 4 bits and s, t of 6."""
    blocks = data.view(_Q4_K)
    return _affine_groups(blocks, nibbles(blocks["q"]).reshape(-1, 8, 32))


def q5_k(data: Bytes) -> Floats:
    """8 groups of 32: d * s * q - m * t, with q of 5 bits and s, t of 6."""
    blocks = data.view(_Q5_K)
    bits = blocks["h"][:, None, :] >> np.arange(8, dtype=np.uint8)[:, None]  # (N, 8, 32)
    codes: Bytes = nibbles(blocks["q"]).reshape(-1, 8, 32) | ((bits & np.uint8(1)) << FOUR)
    return _affine_groups(blocks, codes)


def q6_k(data: Bytes) -> Floats:
    """16 groups of 16: d * s * (q - 32), with q of 6 bits and s of 8."""
    blocks = data.view(_Q6_K)
    steps = scale(blocks, "d") * blocks["s"].astype(np.float32)
    low = nibbles(blocks["q"]).reshape(-1, 2, 4, 32)
    high = (blocks["h"][:, :, None, :] >> _PAIRS[:, None]) & np.uint8(3)  # (N, 2, 4, 32)
    signed = (low | (high << FOUR)).view(np.int8) - np.int8(32)
    values = signed.reshape(-1, 16, 16).astype(np.float32)
    return (steps[:, :, None] * values).reshape(-1, 256)


def iq4_xs(data: Bytes) -> Floats:
    """8 groups of 32: d * (s - 32) * table[q], with q of 4 bits and s of 6."""
    blocks = data.view(_IQ4_XS)
    low = nibble_pairs(blocks["s"]).astype(np.uint8)  # (N, 8)
    high = (blocks["h"][:, None] >> np.arange(0, 16, 2, dtype=np.uint16)) & np.uint16(3)
    scales = (low | (high.astype(np.uint8) << FOUR)).view(np.int8) - np.int8(32)
    steps = scale(blocks, "d") * scales.astype(np.float32)
    values: Floats = NONLINEAR[nibbles(blocks["q"])]  # (N, 8, 32)
    values *= steps[:, :, None]
    return values.reshape(-1, 256)


def tq1_0(data: Bytes) -> Floats:
    """256 values d * (-1, 0 or 1): five base-3 digits a byte, the last 16 four a byte."""
    blocks = data.view(_TQ1_0)
    parts = []
    for packed, digits in (
        (blocks["q"][:, :32], 5),
        (blocks["q"][:, 32:], 5),
        (blocks["h"], 4),
    ):
        # A byte is a fraction of 256: times a power of 3 drops the digits before, modulo 256.
        rest = packed[:, None, :] * _POWERS[:digits, None]
        parts.append(rest.reshape(len(blocks), -1))
    digits_of = (np.concatenate(parts, axis=1).astype(np.uint16) * 3) >> 8
    return scale(blocks, "d") * (digits_of.astype(np.float32) - np.float32(1))


def tq2_0(data: Bytes) -> Floats:
    """256 values d * (q - 1), q of 2 bits."""
    blocks = data.view(_TQ2_0)
    codes = (blocks["q"] >> _PAIRS[:, None]) & np.uint8(3)  # (N, 2, 4, 32)
    return scale(blocks, "d") * (codes.reshape(-1, 256).astype(np.float32) - np.float32(1))
