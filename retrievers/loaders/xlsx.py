"""Spreadsheets (.xlsx, .xlsm): a page for each sheet, a line for each row that is not empty."""

import datetime
import warnings
from collections.abc import Iterator
from typing import Any, Final

from retrievers.loaders import Loaded
from retrievers.loaders.archive import office_file, parsing
from retrievers.loaders.blocks import PageWriter

_MAX_ROWS: Final = 1_048_576  # of a sheet, as the format itself has it


def load(data: bytes) -> Loaded:
    """A page for each sheet: its name, then its rows; blank rows part its tables.

    Of a formula its last value is read, as a viewer shows it. The first row of each table that
    names its columns is a heading, so that every passage of the table carries the names.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    file = office_file(data, ".xlsx")
    with parsing(".xlsx", InvalidFileException), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts that are not read, such as styles
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        writers = [_sheet(sheet) for sheet in book.worksheets]
        stated = str(book.properties.title or "")
    return Loaded([w.page(number) for number, w in enumerate(writers, 1) if w.length], stated)


def _sheet(sheet: Any) -> PageWriter:
    writer = PageWriter()
    table: list[list[str]] = []
    for cells in _rows(sheet):
        if not any(cells) and table:
            _table(writer, sheet.title, table)
            table = []
        elif any(cells):
            table.append(cells)
    _table(writer, sheet.title, table)
    return writer


def _table(writer: PageWriter, title: str, rows: list[list[str]]) -> None:
    if rows and not writer.length:
        writer.add(title, level=1)
    while rows and sum(map(bool, rows[0])) == 1 and len(rows) > 1:  # a line above the table
        writer.add(" ".join(rows.pop(0)))
    left = min((next(n for n, c in enumerate(cells) if c) for cells in rows), default=0)
    writer.add_rows((cells[left:] for cells in rows), level=2)


def _rows(sheet: Any) -> Iterator[list[str]]:
    """Cells of each row as text, whatever size the sheet says it has."""
    sheet.reset_dimensions()
    for number, values in enumerate(sheet.iter_rows(values_only=True)):
        if number >= _MAX_ROWS:
            return
        yield [_cell(value) for value in values]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ", "minutes")
    return " ".join(str(value).split())
