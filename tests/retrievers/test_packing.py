"""Packing: the best value a budget holds, found exactly, and what is told of a missing value."""

from itertools import combinations

import numpy as np
import pytest
from langchain_core.documents import Document

from retrievers import packing
from retrievers.errors import RetrievalError
from retrievers.packing import ContextPacker, pack


def best_by_trying(values: list[float], costs: list[int], budget: int) -> float:
    rows = range(len(values))
    return max(
        sum(values[row] for row in chosen)
        for size in range(len(values) + 1)
        for chosen in combinations(rows, size)
        if sum(costs[row] for row in chosen) <= budget
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_within_the_budget_is_worth_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, costs = rng.random(9).tolist(), rng.integers(0, 40, 9).tolist()
    budget = int(rng.integers(0, 120))
    chosen = pack(values, costs, budget)
    assert chosen == sorted(set(chosen)) and sum(costs[row] for row in chosen) <= budget
    best = best_by_trying(values, costs, budget)
    assert sum(values[row] for row in chosen) == pytest.approx(best)


def test_two_short_passages_can_beat_a_long_one() -> None:
    assert pack([0.9, 0.5, 0.5], [100, 50, 50], 100) == [1, 2]
    assert pack([1.1, 0.5, 0.5], [100, 50, 50], 100) == [0]


def test_equal_values_keep_the_earlier_rows() -> None:
    assert pack([1, 1, 1, 1], [10, 10, 10, 10], 20) == [0, 1]


def test_worthless_and_too_long_rows_are_left_out() -> None:
    assert pack([0, -1, 0.2, 5], [1, 1, 1, 900], 100) == [2]
    assert pack([], [], 10) == [] and pack([1.0], [5], 0) == []


def test_beyond_the_table_the_choice_is_worth_at_least_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    values, costs = rng.random(12).tolist(), rng.integers(1, 40, 12).tolist()
    exact = sum(values[row] for row in pack(values, costs, 60))
    monkeypatch.setattr(packing, "_EXACT", 0)
    chosen = pack(values, costs, 60)
    assert sum(costs[row] for row in chosen) <= 60 and chosen == sorted(chosen)
    assert exact / 2 <= sum(values[row] for row in chosen) <= exact
    assert pack([0.1, 5.0], [1, 60], 60) == [1]  # by value per token the first, which is worse


def test_wrong_numbers_are_told() -> None:
    with pytest.raises(ValueError, match="1 values for 2 costs"):
        pack([1.0], [1, 2], 3)
    with pytest.raises(ValueError, match="negative"):
        pack([1.0], [-1], 3)


def test_documents_are_packed_by_their_relevance() -> None:
    texts = ("one two three four", "five six", "seven eight")
    given = [
        Document(id=str(row), page_content=text, metadata={"relevance": value})
        for row, (text, value) in enumerate(zip(texts, (0.6, 0.5, 0.4), strict=True))
    ]
    packer = ContextPacker(budget=6, overhead=1, count=lambda text: len(text.split()))
    assert [d.id for d in packer.compress_documents(given, "query")] == ["1", "2"]


def test_a_document_without_a_value_is_named() -> None:
    packer = ContextPacker(budget=6, count=len)
    with pytest.raises(RetrievalError, match="document 'x' has no 'relevance'"):
        packer.compress_documents([Document(id="x", page_content="text")], "query")
