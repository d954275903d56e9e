"""Weights for the kernel: moved, never rounded, checked against the config, and kept on disk."""

from pathlib import Path

import numpy as np
import pytest

from llm_core.errors import ModelFileError
from llm_core.kernels.build import KernelUnavailableError
from llm_core.kernels.pack import load_packed, pack_in_memory, pack_matrix, packed_bytes
from tests.llm_core.kernels.small import Array, Blocks, SmallCheckpoint, dequantise, quantise


def unpacked(kind: str, packed: Array, rows: int, columns: int) -> Array:
    """Weights (R, C) read out of a packed matrix one at a time, as src/api.h words the layout."""
    share, size = (1 if kind == "Q4_1" else 2), (512 if kind == "Q8_0" else 256)
    weights = np.zeros((rows, columns), dtype=np.float32)
    for row in range(rows):
        block, lane = packed[row // 16], row % 16
        for column in range(columns):
            g, inside = divmod(column, 32)
            unit = block[g // share * (64 + share * size) :][: 64 + share * size]
            halves = unit[:64].view(np.float16).reshape(2, 16)
            quants = unit[64 + g % share * size :]
            d = np.float32(halves[g % share, lane])
            if kind == "Q8_0":
                j, i = divmod(inside, 4)
                q, m = quants[(j * 16 + lane) * 4 + i], -128 * d
            else:
                j, i = divmod(inside % 16, 4)
                byte = quants[(j * 16 + lane) * 4 + i]
                q = byte & 15 if inside < 16 else byte >> 4
                m = np.float32(halves[1, lane]) if kind == "Q4_1" else -8 * d
            weights[row, column] = d * np.float32(q) + m
    return weights


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
@pytest.mark.parametrize("rows,columns", [(16, 32), (40, 96), (33, 64)])
def test_a_packed_matrix_holds_the_stored_weights(kind: str, rows: int, columns: int) -> None:
    weights = np.random.default_rng(rows).standard_normal((rows, columns), dtype=np.float32)
    blocks = Blocks(kind, quantise(kind, weights), columns)
    packed = pack_matrix(blocks)
    assert packed.shape == packed_bytes(kind, rows, columns)
    assert packed.shape[1] % 64 == 0
    np.testing.assert_array_equal(unpacked(kind, packed, rows, columns), dequantise(blocks))


def test_packed_weights_are_laid_out_once_and_mapped_again(tmp_path: Path) -> None:
    checkpoint = stored(tmp_path)
    lines: list[str] = []
    first = load_packed(checkpoint, tmp_path / "cache", lines.append)
    again = load_packed(checkpoint, tmp_path / "cache", lines.append)
    assert len(lines) == 1 and "laying out" in lines[0]
    fresh = pack_in_memory(checkpoint)
    for name, array in fresh.arrays.items():
        np.testing.assert_array_equal(first.arrays[name], array)
        np.testing.assert_array_equal(again.arrays[name], array)
        assert not again.arrays[name].flags.writeable


def test_a_damaged_or_outdated_file_is_made_again(tmp_path: Path) -> None:
    checkpoint = stored(tmp_path)
    load_packed(checkpoint, tmp_path / "cache", None)
    (path,) = (tmp_path / "cache" / "packed").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-5000] + bytes(5000))
    lines: list[str] = []
    load_packed(checkpoint, tmp_path / "cache", lines.append)
    other = stored(tmp_path, seed=1)
    packed = load_packed(other, tmp_path / "cache", lines.append)
    assert len(lines) == 2
    np.testing.assert_array_equal(packed.arrays["0.q"], pack_in_memory(other).arrays["0.q"])


def test_packed_files_of_models_that_are_gone_are_deleted(tmp_path: Path) -> None:
    gone, kept = stored(tmp_path / "gone"), stored(tmp_path / "kept")
    load_packed(gone, tmp_path, None)
    gone.source.unlink()
    load_packed(kept, tmp_path, None)
    assert len(list((tmp_path / "packed").iterdir())) == 1


def test_a_folder_that_cannot_be_written_leaves_the_weights_in_memory(tmp_path: Path) -> None:
    checkpoint = stored(tmp_path)
    (tmp_path / "packed").write_text("a file where the folder should be")
    lines: list[str] = []
    packed = load_packed(checkpoint, tmp_path, lines.append)
    assert "cannot write" in lines[-1] and len(lines) == 2
    np.testing.assert_array_equal(packed.arrays["0.q"], pack_in_memory(checkpoint).arrays["0.q"])


def test_other_kinds_of_weights_are_refused_by_name() -> None:
    with pytest.raises(KernelUnavailableError, match=r"q_proj.* is stored as F32"):
        pack_in_memory(SmallCheckpoint("F32"))
    with pytest.raises(KernelUnavailableError, match=r"embed_tokens.* is stored as F32"):
        pack_in_memory(SmallCheckpoint(table="F32"))


def test_sizes_the_kernel_does_not_run_are_refused_by_name() -> None:
    with pytest.raises(KernelUnavailableError, match="head_dim is 16"):
        pack_in_memory(SmallCheckpoint(head_dim=16))


def test_weights_that_do_not_fit_their_config_are_refused() -> None:
    checkpoint = SmallCheckpoint()
    checkpoint.config["intermediate_size"] = 192
    with pytest.raises(ModelFileError, match=r"gate_proj.*\(160, 96\).*\(192, 96\)"):
        pack_in_memory(checkpoint)


def stored(folder: Path, seed: int = 0) -> SmallCheckpoint:
    """A checkpoint whose source file exists, and differs by seed."""
    checkpoint = SmallCheckpoint(seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.source = folder / "model.gguf"
    checkpoint.source.write_bytes(bytes(10 + seed))
    return checkpoint
