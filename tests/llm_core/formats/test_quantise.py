"""Quantised bytes, against the gguf package, and how far values move."""

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quantize

from llm_core.errors import ModelFileError
from llm_core.formats.quantise import quantise
from llm_core.formats.quants import dequantise

BLOCKS = ("Q8_0", "Q4_1", "Q4_0")


def hard_values() -> np.ndarray:
    """Rows that meet every branch of a quantiser: (many, 64) float32."""
    pick = np.random.default_rng(7)
    normal = pick.standard_normal((400, 64))
    return np.concatenate(
        [
            normal,
            normal * 1e-6,
            normal * 1e3,
            np.zeros((2, 64)),
            np.full((2, 64), -0.25),
            pick.integers(-8, 8, (100, 64)) / 2,  # codes that end in one half
            np.eye(64),
            -np.eye(64),
            pick.integers(-127, 128, (50, 64)) + 0.5,
            np.full((1, 64), 1e-41),
            np.where(pick.random((50, 64)) < 0.5, -3.0, 3.0),  # the widest value comes twice
        ]
    ).astype(np.float32)


@pytest.mark.parametrize("kind", [*BLOCKS, "BF16", "F16", "F32"])
def test_written_bytes_equal_those_of_the_reference(kind: str) -> None:
    values = hard_values()
    with np.errstate(all="ignore"):
        theirs = quantize(values, GGMLQuantizationType[kind]).view(np.uint8)
    assert np.array_equal(quantise(values, kind), theirs)


def test_not_a_number_stays_one_in_bfloat16() -> None:
    odd = np.array([[0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000]], np.uint32)
    values = odd.view(np.float32)
    back = dequantise(quantise(values, "BF16"), "BF16")
    assert np.isnan(back[0, :2]).all() and back[0, 2:].tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize(("kind", "steps"), [("Q8_0", 254), ("Q4_1", 15), ("Q4_0", 15)])
def test_values_move_by_half_a_step_at_most(kind: str, steps: int) -> None:
    values = np.random.default_rng(1).uniform(-1, 1, (300, 96)).astype(np.float32)
    moved = np.abs(dequantise(quantise(values, kind), kind) - values)
    # Q4_0 has its 16 codes from -8 to 7: the widest value of the other sign is cut by one.
    worst = 2 / steps * (1.0 if kind == "Q4_0" else 0.5)
    assert moved.max() < worst * 1.1  # the scale itself is rounded to half precision


@pytest.mark.parametrize("kind", BLOCKS)
def test_requantising_moves_values_by_the_rounding_of_the_scale(kind: str) -> None:
    values = np.random.default_rng(2).standard_normal((64, 64)).astype(np.float32)
    once = dequantise(quantise(values, kind), kind)
    moved = np.abs(dequantise(quantise(once, kind), kind) - once)
    assert moved.max() <= 2e-3 * np.abs(once).max()


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (np.zeros((2, 33)), "Q8_0", "rows of 33 values are not whole blocks of Q8_0"),
        (np.full((1, 32), np.nan), "Q8_0", "is not finite"),
        (np.full((1, 32), np.inf), "Q4_1", "is not finite"),
        (np.full((1, 32), 1e38), "Q4_0", "near 1.25e\\+37 is too large"),
        (np.full((1, 32), -1e38), "Q4_1", "too large"),
        (np.full((1, 4), 1e5), "F16", "beyond 65504 is too large for F16"),
        (np.zeros((1, 256)), "Q4_K", "Q4_K cannot be written; use one of Q8_0"),
    ],
)
def test_what_cannot_be_stored_is_named(values: np.ndarray, kind: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        quantise(values.astype(np.float32), kind)
