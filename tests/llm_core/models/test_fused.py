"""The compiled attention of packed texts: equal to torch, whatever runs beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from llm_core.models.encoder import attend_padded
from llm_core.models.fused import FusedAttention, open_fused

LENGTHS = [1, 2, 17, 63, 64, 65, 170, 256, 31, 300, 12, 16]


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> FusedAttention:
    attention = open_fused(tmp_path_factory.mktemp("cache"))
    if attention is None or not attention.supports(32):
        pytest.skip("needs a C++ compiler and a processor with AVX-512 BF16")
    return attention


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def queries(lengths: list[int], heads: int, width: int, scale: float = 2.0) -> torch.Tensor:
    torch.manual_seed(0)
    return (torch.randn(sum(lengths), 3 * heads * width) * scale).bfloat16()


@pytest.mark.parametrize(("heads", "width"), [(12, 32), (2, 64), (3, 96), (1, 128), (1, 256)])
def test_means_equal_those_of_torch_in_float32(
    fused: FusedAttention, heads: int, width: int
) -> None:
    qkv = queries(LENGTHS, heads, width)
    ours = fused(qkv, LENGTHS, heads).float()
    exact = attend_padded(qkv.float(), LENGTHS, heads)
    torchs = attend_padded(qkv, LENGTHS, heads).float()
    error = (ours - exact).norm() / exact.norm()
    assert error < 0.003  # a bfloat16 has eight bits
    assert error < 1.5 * (torchs - exact).norm() / exact.norm()


def test_large_scores_neither_overflow_nor_vanish(fused: FusedAttention) -> None:
    qkv = queries([40, 9], 2, 32, scale=40.0)  # scores in the thousands
    ours = fused(qkv, [40, 9], 2).float()
    torch.testing.assert_close(ours, attend_padded(qkv.float(), [40, 9], 2), atol=1.5, rtol=0.02)


def test_a_text_gets_the_same_bits_alone_and_among_others(fused: FusedAttention) -> None:
    qkv = queries(LENGTHS, 12, 32)
    together = fused(qkv, LENGTHS, 12).split(LENGTHS)
    for rows, means in zip(qkv.split(LENGTHS), together, strict=True):
        assert torch.equal(fused(rows, [len(rows)], 12), means)


def test_threads_share_the_work_without_changing_a_bit(
    fused: FusedAttention, two_threads: None
) -> None:
    qkv = queries(LENGTHS * 3, 12, 32)
    shared = fused(qkv, LENGTHS * 3, 12)
    torch.set_num_threads(1)
    assert torch.equal(fused(qkv, LENGTHS * 3, 12), shared)


def test_what_the_library_does_not_know_goes_to_torch(fused: FusedAttention) -> None:
    for qkv in (queries([5, 3], 2, 32).float(), queries([5, 3], 2, 20)):
        assert torch.equal(fused(qkv, [5, 3], 2), attend_padded(qkv, [5, 3], 2))


def test_a_compilation_is_announced_once(tmp_path: Path, fused: FusedAttention) -> None:
    lines: list[str] = []
    assert open_fused(tmp_path, lines.append) is not None
    assert open_fused(tmp_path, lines.append) is not None
    assert lines == ["compiling the attention of the embeddings (once) ..."]


def test_without_a_compiler_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert open_fused(tmp_path) is None
