"""The perplexity benchmark: what it counts, and how it cuts a text."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from benchmarks.perplexity import cut, perplexity
from llm_core.errors import ModelError


def logits(window: list[int]) -> Tensor:
    """Made-up logits (T, V) that depend on the row and on its token."""
    generator = torch.Generator().manual_seed(sum(window))
    return torch.randn(len(window), 12, generator=generator)


def whole(window: list[int]) -> Iterator[Tensor]:
    yield logits(window)


def in_pieces(window: list[int]) -> Iterator[Tensor]:
    yield from logits(window).split(3)


WINDOWS = [[3, 1, 4, 1, 5, 9, 2, 6, 5], [3, 5, 8, 9, 7, 9, 3, 2, 3]]


def test_even_odds_have_the_perplexity_of_the_vocabulary() -> None:
    found = perplexity(lambda window: iter([torch.ones(len(window), 50)]), WINDOWS, print)
    assert found == pytest.approx(50)


def test_every_token_but_the_first_counts_once() -> None:
    total = 0.0
    for window in WINDOWS:
        odds = logits(window).softmax(-1)
        total -= sum(math.log(odds[row, window[row + 1]]) for row in range(len(window) - 1))
    expected = math.exp(total / 16)
    assert perplexity(whole, WINDOWS, print) == pytest.approx(expected, rel=1e-5)
    assert perplexity(in_pieces, WINDOWS, print) == pytest.approx(expected, rel=1e-5)


def test_windows_are_whole_do_not_overlap_and_are_spread() -> None:
    text = list(range(103))
    assert [part[0] for part in cut(text, 10, None)] == list(range(0, 100, 10))
    assert cut(text, 10, 3) == [list(range(at, at + 10)) for at in (0, 30, 60)]


@pytest.mark.parametrize(("window", "count"), [(200, None), (10, 11), (1, 1)])
def test_a_text_too_short_for_the_windows_is_refused(window: int, count: int | None) -> None:
    with pytest.raises(ModelError, match="103 tokens do not make"):
        cut(list(range(103)), window, count)
