"""Metadata by column, so that a filter over a million documents takes milliseconds.

Each field that a filter names becomes one array of codes into its distinct values; a comparison is
made once for each distinct value.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrievers.approximate import Mask
from retrievers.filters import Clause, Condition, Group, clause_holds

# Row and metadata of every document from a row on, in any order.
Scan: TypeAlias = Callable[[int], Iterable[tuple[int, Mapping[str, Any]]]]
_KEPT: Final = 64  # masks of comparisons


class _Column:
    """One field: `codes[row]` says which of `values` a row holds; code 0 is no scalar at all."""

    def __init__(self) -> None:
        self.values: list[Any] = [None]
        self._code: dict[tuple[bool, Any], int] = {}
        self.codes: NDArray[np.int32] = np.zeros(0, dtype=np.int32)

    def code(self, value: Any) -> int:
        if not isinstance(value, str | int | float):
            return 0
        key = (isinstance(value, bool), value)  # True is not 1
        found = self._code.setdefault(key, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found

    def room(self, rows: int) -> None:
        if rows > len(self.codes):
            grown = np.zeros(max(rows, len(self.codes) * 3 // 2), dtype=np.int32)
            grown[: len(self.codes)] = self.codes
            self.codes = grown


class Columns:
    """The fields of documents that live in numbered rows; filled as filters name them."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._columns: dict[str, _Column] = {}
        self._rows = 0  # known of
        self._masks: dict[str, Mask] = {}  # by the spelling: True == 1, but they ask for other rows
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Forget everything: rows were numbered anew."""
        with self._lock:
            self._columns.clear()
            self._masks.clear()
            self._rows = 0

    def mask(self, condition: Condition, rows: int) -> Mask:
        """Which of the first `rows` rows the condition holds for, (rows,)."""
        with self._lock:
            if rows > self._rows:
                self._fill(self._columns, self._rows, rows)
                self._masks.clear()
            self._rows = rows
            asked = {clause.key for clause in _clauses(condition)}
            new = {key: _Column() for key in asked - self._columns.keys()}
            self._fill(new, 0, rows)
            self._columns |= new
            return self._mask(condition, rows)

    def _mask(self, condition: Condition, rows: int) -> Mask:
        if isinstance(condition, Group):
            join = np.logical_and if condition.operator == "$and" else np.logical_or
            masks = [self._mask(part, rows) for part in condition.parts]
            joined: Mask = join.reduce(masks)
            return joined
        spelling = repr(condition)
        kept = self._masks.get(spelling)
        if kept is None:
            column = self._columns[condition.key]
            table = np.asarray([clause_holds(condition, value) for value in column.values])
            kept = table[column.codes[:rows]]
            if len(self._masks) >= _KEPT:
                self._masks.clear()
            self._masks[spelling] = kept
        return kept

    def _fill(self, columns: Mapping[str, _Column], start: int, rows: int) -> None:
        """Read the rows from `start` on into `columns`."""
        for column in columns.values():
            column.room(rows)
        for row, facts in self._scan(start) if columns else ():
            for key, column in columns.items():
                column.codes[row] = column.code(facts.get(key))


def _clauses(condition: Condition) -> Iterable[Clause]:
    if isinstance(condition, Clause):
        yield condition
    else:
        for part in condition.parts:
            yield from _clauses(part)
