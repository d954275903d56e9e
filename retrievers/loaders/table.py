"""Tables as text (.csv, .tsv): a line for each row, its cells joined by " | "."""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import Final

from retrievers.documents import Page
from retrievers.encodings import decode
from retrievers.loaders import Loaded
from retrievers.loaders.blocks import PageWriter

_SEPARATORS: Final = ",;\t|"
_LOOKED_AT: Final = 100  # lines that the separator is found by


def load(data: bytes) -> Loaded:
    """One page of rows; the column names are the title of every passage."""
    text = decode(data)
    try:
        rows = list(_rows(text, separator(text)))
    except csv.Error:  # a cell of over 128 KiB, as where a quote is never closed
        return Loaded([Page(None, text)])
    writer = PageWriter()
    writer.add_rows(rows, level=2)
    return Loaded([writer.page()])


def separator(text: str) -> str:
    """The sign that cuts most of the first lines into the same number of cells, above one."""
    lines = text.splitlines()[:_LOOKED_AT]

    def fit(sign: str) -> tuple[float, int]:
        try:
            widths = Counter(len(cells) for cells in csv.reader(lines, delimiter=sign) if cells)
        except csv.Error:
            return 0.0, 0
        width, count = max(
            ((w, n) for w, n in widths.items() if w > 1), key=lambda item: item[1], default=(0, 0)
        )
        return count / max(1, widths.total()), width

    return max(_SEPARATORS, key=fit)


def _rows(text: str, sign: str) -> Iterator[list[str]]:
    yield from csv.reader(text.splitlines(keepends=True), delimiter=sign)
