"""The arrays of BM25: memory is mapped, blocks join without a seam, bounds hold."""

from pathlib import Path

import numpy as np
import pytest

from retrievers import postings
from retrievers.postings import Postings


def random_columns(seed: int, rows: int = 400) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    made = [[int(c) for c in 50 * rng.random(rng.integers(0, 20)) ** 3] for _ in range(rows)]
    return [[*range(50)], *made]  # every column is held


def test_a_build_in_many_blocks_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = random_columns(1)
    whole = Postings.build(columns, 1.2, 0.75)
    monkeypatch.setattr(postings, "_BLOCK", 7)  # less than a row may hold
    parts = Postings.build(columns, 1.2, 0.75)
    for name in ("starts", "rows", "weights", "peaks", "sequence", "ends"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name


def test_rows_of_a_column_ascend_and_no_weight_is_above_its_peak() -> None:
    held = Postings.build(random_columns(2), 1.2, 0.75)
    for column in range(50):
        span = slice(held.starts[column], held.starts[column + 1])
        assert (np.diff(held.rows[span]) > 0).all()
        assert held.weights[span].max() == held.peaks[column]


def test_loaded_arrays_are_mapped_and_an_empty_index_loads(tmp_path: Path) -> None:
    for name, columns in (("some", random_columns(3)), ("none", [[], []]), ("nothing", [])):
        folder = tmp_path / name
        folder.mkdir()
        made = Postings.build(columns, 1.2, 0.75)
        made.save(folder)
        loaded = Postings.load(folder, 1.2, 0.75)
        assert len(loaded) == len(columns)
        assert np.array_equal(loaded.scores({}), np.zeros(len(columns)))
        if name == "some":
            assert isinstance(loaded.weights, np.memmap)
            assert np.array_equal(loaded.scores({3: 2.0}), made.scores({3: 2.0}))


def test_a_rare_term_is_found_without_scoring_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [[0, 1] for _ in range(5000)]
    columns[77] = [0, 1, 2]
    columns[99] = [0, 2, 2]
    held = Postings.build(columns, 1.2, 0.75)
    every = held.scores({0: 1.0, 2: 1.0})
    monkeypatch.setattr(Postings, "scores", None)  # nothing may call it
    rows, scores = held.top({0: 1.0, 2: 1.0}, 2)
    assert rows.tolist() == [99, 77]
    assert np.array_equal(scores, every[[99, 77]])
