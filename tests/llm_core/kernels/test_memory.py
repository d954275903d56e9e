"""Memory for weights and caches: zeroed, aligned, in huge pages only where that is wanted."""

import sys
from pathlib import Path

import numpy as np
import pytest

from llm_core.kernels.mapped import ArraySpec, read_mapped, write_mapped
from llm_core.kernels.memory import HUGE, LEAST, zeroed


@pytest.mark.parametrize("size", [1, 4097, LEAST, LEAST + 12345])
@pytest.mark.parametrize("most", [0, 1 << 30])
def test_memory_is_zeroed_aligned_and_whole(size: int, most: int) -> None:
    made = zeroed(size, most)
    assert made.shape == (size,) and made.dtype == np.uint8 and not made.any()
    assert made.ctypes.data % 64 == 0
    made[:] = 7
    assert made[-1] == 7


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux alone")
def test_large_memory_begins_at_a_huge_page_up_to_the_bound() -> None:
    held = [zeroed(LEAST, LEAST) for _ in range(4)]
    assert all(made.ctypes.data % HUGE == 0 for made in held)
    small = [zeroed(LEAST + 1, LEAST) for _ in range(4)]
    assert any(made.ctypes.data % HUGE for made in small)


def test_a_large_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).integers(0, 256, LEAST + 999, dtype=np.uint8)
    spec = ArraySpec("weights", "uint8", weights.shape, lambda: weights)
    write_mapped(tmp_path / "packed", "key", {}, [spec])
    read = read_mapped(tmp_path / "packed", "key")
    assert read is not None
    np.testing.assert_array_equal(read[1]["weights"], weights)
    assert not read[1]["weights"].flags.writeable
