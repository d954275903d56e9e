"""The file of mapped arrays: exact, read-only, and absent where it is damaged."""

import os
from pathlib import Path

import numpy as np
import pytest

from llm_core.kernels.mapped import ALIGNMENT, ArraySpec, read_mapped, write_mapped

WEIGHTS = np.arange(3 * 5000, dtype=np.float32).reshape(3, 5000)
BYTES = np.arange(7, dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    specs = [
        ArraySpec("weights", "float32", (3, 5000), lambda: WEIGHTS),
        ArraySpec("bytes", "uint8", (7,), lambda: BYTES),
    ]
    write_mapped(tmp_path / "packed", "key", {"layers": 2}, specs)
    return tmp_path / "packed"


def test_arrays_come_back_aligned_and_read_only(path: Path) -> None:
    read = read_mapped(path, "key")
    assert read is not None
    meta, arrays = read
    assert meta == {"layers": 2}
    np.testing.assert_array_equal(arrays["weights"], WEIGHTS)
    np.testing.assert_array_equal(arrays["bytes"], BYTES)
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in arrays.values())
    with pytest.raises(ValueError, match="read-only"):
        arrays["weights"][0, 0] = 1


def test_another_key_or_no_file_reads_as_absent(path: Path) -> None:
    assert read_mapped(path, "other") is None
    assert read_mapped(path.with_name("nothing"), "key") is None


def test_a_copy_with_another_time_stamp_is_hashed_and_taken(path: Path) -> None:
    os.utime(path, ns=(1, 1))
    assert read_mapped(path, "key") is not None


def test_any_damaged_byte_reads_as_absent(path: Path) -> None:
    whole = path.read_bytes()
    meta = whole.index(b'"layers": 2') + 10
    for at in (0, 9, 20, meta, ALIGNMENT + 5, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert read_mapped(path, "key") is None, at
    for size in (0, 10, ALIGNMENT, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert read_mapped(path, "key") is None, size


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    wrong = ArraySpec("weights", "float32", (4,), lambda: np.zeros(3, np.float32))
    with pytest.raises(AssertionError, match="not as announced"):
        write_mapped(tmp_path / "packed", "key", {}, [wrong])
    assert list(tmp_path.iterdir()) == []
