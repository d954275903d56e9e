"""Dequantisation of the formats whose codes name whole groups of values: IQ1, IQ2 and IQ3.

A code is the place of a group of 4 or 8 levels in a grid that ggml fixed (`grids.txt`).
Every function takes the bytes of whole blocks, (N * size,), and returns their values,
(N, 256) float32, rounded exactly as ggml's reference code rounds them.
"""

import base64
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.formats.quants_small import Bytes, Floats, nibble_pairs, scale

Codes = NDArray[np.uint16]

# The levels of a grid, by its name, and how many of them a code stands for.
_LEVELS: dict[str, tuple[tuple[int, ...], int]] = {
    "IQ1_S": ((-1, 0, 1), 8),
    "IQ2_XXS": ((8, 25, 43), 8),
    "IQ2_XS": ((8, 25, 43), 8),
    "IQ2_S": ((8, 25, 43), 8),
    "IQ3_XXS": ((4, 12, 20, 28, 36, 44, 52, 62), 4),
    "IQ3_S": ((1, 3, 5, 7, 9, 11, 13, 15), 4),
}
_IQ2_XXS = np.dtype([("d", "<f2"), ("q", [("q", "u1", 4), ("s", "<u4")], 8)])
_IQ2_XS = np.dtype([("d", "<f2"), ("q", "<u2", 32), ("s", "u1", 8)])
_IQ2_S = np.dtype([("d", "<f2"), ("q", "u1", 32), ("m", "u1", 32), ("h", "u1", 8), ("s", "u1", 8)])
_IQ3_XXS = np.dtype([("d", "<f2"), ("q", "u1", 64), ("s", "<u4", 8)])
_IQ3_S = np.dtype([("d", "<f2"), ("q", "u1", 64), ("h", "u1", 8), ("m", "u1", 32), ("s", "u1", 4)])
_IQ1_S = np.dtype([("d", "<f2"), ("q", "u1", 32), ("h", "<u2", 8)])
_IQ1_M = np.dtype([("q", "u1", 32), ("h", "u1", 16), ("s", "<u2", 4)])
_BITS = np.arange(8, dtype=np.uint8)
_SEVENS = np.array([0, 7, 14, 21], np.uint32)  # shifts of four 7-bit fields
_THREES = np.array([0, 3, 6, 9], np.uint16)  # shifts of four 3-bit fields
_HALF, _QUARTER = np.float32(0.5), np.float32(0.25)
_NUDGE = np.float32(0.125)  # what IQ1 adds to a whole group, or takes away


@cache
def _grids() -> dict[str, Floats]:
    """Every grid by name, (codes, levels of a code)."""
    text = Path(__file__).with_name("grids.txt").read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    packed: dict[str, str] = {}
    for line in lines:
        name, colon, _ = line.partition(":")
        if colon:
            current = name
        packed[current] = packed.get(current, "") + ("" if colon else line)
    return {name: _unpack(name, base64.b64decode(body)) for name, body in packed.items()}


def _unpack(name: str, data: bytes) -> Floats:
    levels, group = _LEVELS[name]
    bits = 2 if len(levels) == 3 else 4
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    places = (np.frombuffer(data, np.uint8)[:, None] >> shifts) & np.uint8((1 << bits) - 1)
    grid: Floats = np.array(levels, np.float32)[places.reshape(-1, group)]
    return grid


def _signs(masks: Bytes) -> Floats:
    """Bytes (N, M) become (N, M, 8): -1 where a bit is set, the lowest first."""
    bits = (masks[..., None] >> _BITS) & np.uint8(1)
    return np.where(bits == 0, np.float32(1), np.float32(-1))


def _seven_bits(words: NDArray[np.uint32]) -> Bytes:
    """Four sign masks in the low 28 bits of a word, (N, W) to (N, 4 W).

    Seven bits are stored; the eighth makes the number of set bits even.
    """
    stored = ((words[..., None] >> _SEVENS) & np.uint32(127)).astype(np.uint8)
    odd = np.bitwise_xor.reduce((stored[..., None] >> _BITS[:7]) & np.uint8(1), axis=-1)
    masks: Bytes = stored | (odd << np.uint8(7))
    return masks.reshape(len(words), -1)


def _signed(steps: Floats, grid: Floats, masks: Bytes) -> Floats:
    """Scales (N, S), levels (N, 256 in groups) and sign masks (N, 32) give the values."""
    values = grid.reshape(len(steps), steps.shape[1], -1) * steps[:, :, None]
    return values.reshape(-1, 256) * _signs(masks).reshape(-1, 256)


def iq2_xxs(data: Bytes) -> Floats:
    """8 groups of 32: d * (s + 1/2) / 4 * level, with s of 4 bits beside four sign masks."""
    blocks = data.view(_IQ2_XXS)
    words = blocks["q"]["s"]  # (N, 8)
    steps = scale(blocks, "d") * (_HALF + (words >> 28).astype(np.float32)) * _QUARTER
    return _signed(steps, _grids()["IQ2_XXS"][blocks["q"]["q"]], _seven_bits(words))


def iq2_xs(data: Bytes) -> Floats:
    """16 groups of 16: d * (s + 1/2) / 4 * level; a code is 9 bits, its signs are 7."""
    blocks = data.view(_IQ2_XS)
    codes = blocks["q"]
    steps = scale(blocks, "d") * (_HALF + nibble_pairs(blocks["s"])) * _QUARTER
    masks = _seven_bits((codes >> 9).astype(np.uint32))[:, ::4]  # one of each word's four
    return _signed(steps, _grids()["IQ2_XS"][codes & np.uint16(511)], masks)


def iq2_s(data: Bytes) -> Floats:
    """16 groups of 16: d * (s + 1/2) / 4 * level; the upper 2 bits of codes lie together."""
    blocks = data.view(_IQ2_S)
    steps = scale(blocks, "d") * (_HALF + nibble_pairs(blocks["s"])) * _QUARTER
    codes = _with_high(blocks["q"], blocks["h"], np.array([0, 2, 4, 6], np.uint8), 3)
    return _signed(steps, _grids()["IQ2_S"][codes], blocks["m"])


def iq3_xxs(data: Bytes) -> Floats:
    """8 groups of 32: d * (s + 1/2) / 2 * level, with s of 4 bits beside four sign masks."""
    blocks = data.view(_IQ3_XXS)
    words = blocks["s"]
    steps = scale(blocks, "d") * (_HALF + (words >> 28).astype(np.float32)) * _HALF
    return _signed(steps, _grids()["IQ3_XXS"][blocks["q"]], _seven_bits(words))


def iq3_s(data: Bytes) -> Floats:
    """8 groups of 32: d * (1 + 2 s) * level; the ninth bits of codes lie together."""
    blocks = data.view(_IQ3_S)
    steps = scale(blocks, "d") * (np.float32(1) + np.float32(2) * nibble_pairs(blocks["s"]))
    codes = _with_high(blocks["q"], blocks["h"], _BITS, 1)
    return _signed(steps, _grids()["IQ3_S"][codes], blocks["m"])


def iq1_s(data: Bytes) -> Floats:
    """8 groups of 32: d * (2 s + 1) * (level -1, 0 or 1, plus or minus 1/8)."""
    blocks = data.view(_IQ1_S)
    high: Codes = blocks["h"]  # (N, 8): four 3-bit parts of codes, the scale, the side of the nudge
    scales: Codes = high >> np.uint16(12)
    steps = scale(blocks, "d") * _odd(scales)
    nudges = np.where(high & np.uint16(0x8000), -_NUDGE, _NUDGE)
    codes = _with_high(blocks["q"], high, _THREES, 7)
    return _nudged(steps, codes, nudges)


def iq1_m(data: Bytes) -> Floats:
    """16 groups of 16: as IQ1_S, with a nudge for each 8 values and d spread over 4 words."""
    blocks = data.view(_IQ1_M)
    words, high = blocks["s"], blocks["h"]
    top = (words >> 12) << np.array([0, 4, 8, 12], np.uint16)  # a quarter of d in each
    wide: Floats = np.bitwise_or.reduce(top, axis=1, keepdims=True).view("<f2").astype(np.float32)
    scales: Codes = (words[:, :, None] >> _THREES).reshape(-1, 16)
    steps = wide * _odd(scales)
    sides = (high[:, :, None] >> np.array([3, 7], np.uint8)).reshape(-1, 32) & np.uint8(1)
    nudges = np.where(sides, -_NUDGE, _NUDGE)
    codes = _with_high(blocks["q"], high, np.array([0, 4], np.uint8), 7)
    return _nudged(steps, codes, nudges)


def _with_high(low: Bytes, packed: NDArray[Any], shifts: NDArray[Any], mask: int) -> Codes:
    """Codes of more than 8 bits: their low bytes (N, C), and the rest packed beside them."""
    rest: Codes = ((packed[:, :, None] >> shifts) & packed.dtype.type(mask)).astype(np.uint16)
    codes: Codes = low | (rest.reshape(low.shape) << np.uint16(8))
    return codes


def _odd(words: Codes) -> Floats:
    """2 s + 1 of the 3-bit numbers in the lowest bits."""
    return np.float32(2) * (words & np.uint16(7)).astype(np.float32) + np.float32(1)


def _nudged(steps: Floats, codes: Codes, nudges: Floats) -> Floats:
    """Scales (N, S), codes (N, 32) and nudges (N, 8 or 32) give the values."""
    levels = _grids()["IQ1_S"][codes].reshape(len(steps), nudges.shape[1], -1)
    values = (levels + nudges[:, :, None]).reshape(len(steps), steps.shape[1], -1)
    return (values * steps[:, :, None]).reshape(-1, 256)
