"""The arrays behind BM25: which rows hold a term, what it is worth there, and in what order.

Numpy alone, no text: terms are numbers ("columns"), passages are rows. Saved arrays are mapped
into memory, so opening a large index reads nothing but what a query touches.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrievers.ranking import Floats, top_rows

Ints: TypeAlias = NDArray[np.int32]
Longs: TypeAlias = NDArray[np.int64]
_BLOCK: Final = 1 << 22  # tokens sorted at a time: bounds the memory of a build
_SLACK: Final = 1 + 1e-5  # on bounds: sums of float32 depend on their order
_DENSE_SHARE: Final = 0.1  # of all rows: above it, one array over all rows is quicker
_FILES: Final = ("starts", "rows", "weights", "peaks", "sequence", "ends")
_APART: Final = 2  # places between two words that still count as neighbours


def inverse_frequency(rows: int, held: NDArray[np.integer]) -> Floats:
    """Lucene's idf, log(1 + (N - n + 0.5) / (n + 0.5)), for terms held by n of N rows."""
    idf: Floats = np.log1p((rows - held + 0.5) / (held + 0.5)).astype(np.float32)
    return idf


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """BM25 weights by column over N rows, and the column of every token in its order.

    Column c is held by rows[starts[c]:starts[c + 1]], in ascending order, and adds the weights
    of that range to their scores; no weight of it is above peaks[c].
    """

    starts: Longs  # (V + 1,)
    rows: Ints  # (P,)
    weights: Floats  # (P,)
    peaks: Floats  # (V,)
    sequence: Ints  # (T,) columns of the tokens of row 0, row 1, ...
    ends: Longs  # (N + 1,) row i has sequence[ends[i]:ends[i + 1]]
    k1: float
    b: float

    @classmethod
    def build(cls, columns: Iterable[Sequence[int]], k1: float, b: float) -> Self:
        """Index rows of column numbers; Robertson's weights without the constant k1 + 1."""
        flat, ends = array("i"), array("q", [0])
        for row in columns:
            flat.extend(row)
            ends.append(len(flat))
        sequence = np.frombuffer(flat, dtype=np.int32) if flat else np.zeros(0, np.int32)
        limits = np.frombuffer(ends, dtype=np.int64)
        starts, rows, counts = _invert(sequence, limits)
        total = len(limits) - 1
        norm = _norm(np.diff(limits), len(sequence), k1, b)  # (N,)
        held = np.diff(starts)  # (V,)
        weights = counts / (counts + norm[rows])
        weights *= np.repeat(inverse_frequency(total, held), held)
        peaks = np.maximum.reduceat(weights, starts[:-1]) if len(held) else weights
        return cls(starts, rows, weights, peaks, sequence, limits, k1, b)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def held_by(self, columns: Sequence[int]) -> Longs:
        """How many rows hold each column."""
        at = np.asarray(columns, dtype=np.int64)
        held: Longs = self.starts[at + 1] - self.starts[at]
        return held

    def scores(self, query: Mapping[int, float]) -> Floats:
        """Score of every row for columns and how much each counts, (N,)."""
        total = np.zeros(len(self), dtype=np.float32)
        for column, count in query.items():
            rows, weights = self._posting(column)
            total[rows] += np.float32(count) * weights
        return total

    def scores_of(self, query: Mapping[int, float], rows: Longs) -> Floats:
        """The scores of `rows` alone, (len(rows),), to the last bit those of `scores`."""
        total = np.zeros(len(rows), dtype=np.float32)
        for column, count in query.items():
            total += np.float32(count) * self._weights_at(column, rows)
        return total

    def top(self, query: Mapping[int, float], k: int) -> tuple[Longs, Floats]:
        """The `k` best rows above zero and their scores; of equal scores the lower row first.

        Exact. Rare terms are looked at first, and no more rows are taken in once the rest of
        the query cannot lift a new one among the best (MaxScore; Turtle and Flood, 1995).
        """
        rows = self._candidates(query, k) if k > 0 else np.zeros(0, np.int64)
        if rows is None:
            every = self.scores(query)
            rows = np.asarray([row for row in top_rows(every, k) if every[row] > 0], np.int64)
            return rows, every[rows]
        scores = self.scores_of(query, rows)
        best = np.lexsort((rows, -scores))[:k]
        return rows[best], scores[best]

    def phrases(self, query: Sequence[int], rows: Longs) -> Floats:
        """What pairs of neighbours in the query are worth in each of `rows`, (len(rows),).

        A pair counts where its words follow each other with at most one word between them; it
        is weighed as BM25 weighs a term, with the mean idf of the two words.
        """
        pairs = dict.fromkeys((left, right) for left, right in pairwise(query) if left != right)
        parts = [self.sequence[self.ends[row] : self.ends[row + 1]] for row in rows]
        total = np.zeros(len(rows), dtype=np.float32)
        if not pairs or not parts:
            return total
        sizes = np.asarray([len(part) for part in parts])
        gap = np.full(_APART, -1, dtype=np.int32)  # keeps the end of one row from the next
        tokens = np.concatenate([piece for part in parts for piece in (part, gap)])
        owner = np.repeat(np.arange(len(parts)), sizes + _APART)
        norm = _norm(sizes, len(self.sequence), self.k1, self.b, rows=len(self))
        for left, right in pairs:
            first = np.flatnonzero(tokens == left)
            met = np.zeros(len(first), dtype=bool)
            for apart in range(1, _APART + 1):
                met |= tokens[first + apart] == right  # a row ends in _APART gaps
            counts = np.bincount(owner[first[met]], minlength=len(parts))
            idf = inverse_frequency(len(self), self.held_by([left, right])).mean()
            total += (idf * counts / (counts + norm)).astype(np.float32)
        return total

    def save(self, folder: Path) -> None:
        """Write one `.npy` file for each array into `folder`."""
        for name in _FILES:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path, k1: float, b: float) -> Self:
        """Map the arrays that `save` wrote; the files must stay as they are while it is used."""

        def read(name: str) -> Any:
            return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

        return cls(**{name: read(name) for name in _FILES}, k1=k1, b=b)

    def _posting(self, column: int) -> tuple[Ints, Floats]:
        span = slice(self.starts[column], self.starts[column + 1])
        return self.rows[span], self.weights[span]

    def _weights_at(self, column: int, rows: Longs) -> Floats:
        """The weight of a column in each of `rows`; zero where it is not held."""
        held, weights = self._posting(column)
        at = np.minimum(np.searchsorted(held, rows), len(held) - 1)
        found: Floats = np.where(held[at] == rows, weights[at], np.float32(0))
        return found

    def _candidates(self, query: Mapping[int, float], k: int) -> Longs | None:
        """Ascending rows among which the `k` best are; None where scoring every row is quicker."""
        worth = {column: count * float(self.peaks[column]) for column, count in query.items()}
        order = sorted(worth, key=lambda column: -worth[column])
        rest = float(sum(worth.values())) * _SLACK
        rows, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
        floor = 0.0  # the k-th best score so far: what a row must be able to reach
        for column in order:
            if floor > rest:
                keep = scores >= floor / _SLACK - rest
                rows, scores = rows[keep], scores[keep]
                scores = scores + np.float32(query[column]) * self._weights_at(column, rows)
            else:
                held, weights = self._posting(column)
                if len(rows) + len(held) > max(_DENSE_SHARE * len(self), 10 * k):
                    return None
                rows, scores = _merge(rows, scores, held, np.float32(query[column]) * weights)
            rest -= worth[column] * _SLACK
            if len(scores) >= k:
                floor = max(float(np.partition(scores, len(scores) - k)[len(scores) - k]), 0.0)
        kept: Longs = rows[scores >= floor / _SLACK] if len(scores) > k else rows
        return kept


def _merge(rows: Longs, scores: Floats, more: Ints, added: Floats) -> tuple[Longs, Floats]:
    """The union of two ascending lists of rows, with the sum of what each gives a row."""
    if not len(rows):
        return more.astype(np.int64), added.astype(np.float32)
    joined = np.concatenate([rows, more])
    order = np.argsort(joined, kind="stable")  # two sorted runs: linear
    joined = joined[order]
    first = np.flatnonzero(np.r_[True, joined[1:] != joined[:-1]])
    total: Floats = np.add.reduceat(np.concatenate([scores, added])[order], first)
    return joined[first], total


def _norm(lengths: Longs, tokens: int, k1: float, b: float, rows: int | None = None) -> Floats:
    """What a term count is weighed against in rows of these lengths: k1 in one of mean length."""
    mean = tokens / max(len(lengths) if rows is None else rows, 1) or 1.0
    norm: Floats = (k1 * (1 - b + b * lengths / mean)).astype(np.float32)
    return norm


def _invert(sequence: Ints, ends: Longs) -> tuple[Longs, Ints, Floats]:
    """Starts (V + 1,), rows (P,) and counts (P,) of each column, by counting sort in blocks."""
    width = int(sequence.max()) + 1 if len(sequence) else 0
    blocks = list(_blocks(sequence, ends))
    held = np.zeros(width, dtype=np.int64)
    for columns, _, _ in blocks:
        held += np.bincount(columns, minlength=width)
    starts = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)
    rows, counts = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    free = starts[:-1].copy()  # where the next row of a column goes
    while blocks:
        columns, held_in, count = blocks.pop(0)
        first = np.flatnonzero(np.r_[True, columns[1:] != columns[:-1]])
        size = np.diff(np.r_[first, len(columns)])
        at = np.repeat(free[columns[first]] - first, size) + np.arange(len(columns))
        rows[at], counts[at] = held_in, count
        free[columns[first]] += size
    return starts, rows, counts


def _blocks(sequence: Ints, ends: Longs) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Columns, rows and counts of the tokens of some whole rows, sorted by column, then row."""
    start = 0
    while start < len(ends) - 1:
        stop = int(np.searchsorted(ends, ends[start] + _BLOCK, side="right")) - 1
        stop = min(max(stop, start + 1), len(ends) - 1)
        tokens = sequence[ends[start] : ends[stop]].astype(np.int64)
        if len(tokens):
            owner = np.repeat(np.arange(stop - start), np.diff(ends[start : stop + 1]))
            pairs, counts = np.unique(tokens * (stop - start) + owner, return_counts=True)
            columns, rows = np.divmod(pairs, stop - start)
            yield columns.astype(np.int32), (rows + start).astype(np.int32), counts.astype(np.int32)
        start = stop
