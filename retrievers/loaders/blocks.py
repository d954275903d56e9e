"""Build the text of a page from blocks, with the headings at their characters."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from retrievers.documents import Heading, Page
from retrievers.errors import DocumentError
from retrievers.loaders import MAX_CHARACTERS

CELL_GAP: Final = " | "
_NUMBER: Final = re.compile(r"[-+(]?[^\w#]{0,2}\d[\d.,:/ %)-]*$")
_MAX_HEADER: Final = 40  # characters of a column's name


class PageWriter:
    """Text put together block by block; a blank line between blocks, unless they are close."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._headings: list[Heading] = []
        self.length = 0

    def add(self, text: str, level: int = 0, close: bool = False) -> None:
        """A block, without its outer white space; with a level above 0 it is a heading.

        Raises DocumentError where the page grows beyond the limit of a document.
        """
        text = text.strip()
        if not text:
            return
        gap = "" if not self._parts else "\n" if close else "\n\n"
        start = self.length + len(gap)
        self.length = start + len(text)
        if self.length > MAX_CHARACTERS:
            raise DocumentError(f"too large: over {MAX_CHARACTERS:,} characters")
        if level:
            self._headings.append(Heading(start, self.length, level, " ".join(text.split())))
        self._parts.append(gap + text)

    def add_rows(self, rows: Iterable[Sequence[str]], level: int = 0) -> None:
        """A table, a line for each row; its column names are a heading of `level`, if it has any.

        So every passage of the table carries the names of the columns as its title.
        """
        first = True
        for cells in rows:
            line = row(cells)
            if not line:
                continue
            names = first and level > 0 and is_header(cells)
            self.add(line, level if names else 0, close=not first)
            first = False

    def add_page(self, page: Page, deeper: int = 0) -> None:
        """A whole page of another document, its headings `deeper` levels further down."""
        start = self.length + (2 if self._parts else 0)
        stripped = page.text.lstrip()
        offset = start - (len(page.text) - len(stripped))
        self.add(page.text)
        self._headings += [
            Heading(h.start + offset, min(h.end + offset, self.length), h.level + deeper, h.text)
            for h in page.headings
        ]

    def page(self, number: int | None = None) -> Page:
        """The page as it is now."""
        return Page(number, "".join(self._parts), tuple(self._headings))


def row(cells: Sequence[str]) -> str:
    """One line of a table; empty where all its cells are. Cells that end it empty are left out."""
    flat = [" ".join(cell.split()) for cell in cells]
    while flat and not flat[-1]:
        flat.pop()
    return CELL_GAP.join(flat)


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first row names columns: at least two short, different names, and no number."""
    names = [cell.strip() for cell in cells if cell.strip()]
    return (
        sum(any(map(str.isalpha, name)) for name in names) >= 2
        and len(names) == len(set(names))
        and all(len(name) <= _MAX_HEADER and not _NUMBER.match(name) for name in names)
    )
