"""Every number format read from random blocks, against the gguf package to the last bit."""

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

from llm_core.errors import ModelFileError
from llm_core.formats.quants import BY_NAME, KINDS, OTHERS, dequantise


def random_rows(kind: str, rows: int, blocks: int, seed: int = 0) -> np.ndarray:
    size = BY_NAME[kind].size * blocks
    return np.random.default_rng(seed).integers(0, 256, (rows, size), dtype=np.uint8)


@pytest.mark.parametrize("kind", BY_NAME)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_random_blocks_have_the_values_of_the_reference(kind: str) -> None:
    rows = random_rows(kind, rows=61, blocks=24)
    with np.errstate(all="ignore"):  # random scales are NaN or infinite at times
        theirs = dequantize(rows, GGMLQuantizationType[kind])
    ours = dequantise(rows, kind)
    assert ours.dtype == np.float32 and ours.shape == theirs.shape
    # As integers: signs of zero and NaN patterns count too.
    assert np.array_equal(ours.view(np.uint32), theirs.view(np.uint32))
    assert np.isfinite(ours).mean() > 0.5


@pytest.mark.parametrize("kind", ["Q4_1", "Q6_K"])
def test_a_matrix_read_in_pieces_equals_its_rows_read_alone(kind: str) -> None:
    rows = random_rows(kind, rows=1100, blocks=4096 // BY_NAME[kind].values)  # several pieces
    whole = dequantise(rows, kind)
    for row in (0, 255, 256, 257, 1099):
        alone = dequantise(rows[row : row + 1], kind)
        assert np.array_equal(whole[row : row + 1].view(np.uint32), alone.view(np.uint32))


def test_block_sizes_equal_those_of_the_reference() -> None:
    for code, kind in KINDS.items():
        assert GGMLQuantizationType(code).name == kind.name
        assert GGML_QUANT_SIZES[GGMLQuantizationType(code)] == (kind.values, kind.size)
    for code, name in OTHERS.items():
        assert GGMLQuantizationType(code).name == name
    assert {int(kind) for kind in GGMLQuantizationType} == KINDS.keys() | OTHERS.keys()


def test_a_format_without_a_reader_is_named() -> None:
    with pytest.raises(ModelFileError, match=r"Q8_K cannot be read; known: F32, F16"):
        dequantise(np.zeros((1, 292), np.uint8), "Q8_K")
