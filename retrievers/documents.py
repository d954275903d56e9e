"""What a loaded document is, and how a passage is addressed: document hash, page, characters."""

import os
from dataclasses import dataclass
from typing import Final

SOURCE: Final = "source"  # posix path relative to the documents root
DOC_HASH: Final = "doc_hash"  # sha256 of the file's bytes, hex
PAGE: Final = "page"  # 1-based page number, None where the format has no pages
UNIT: Final = "unit"  # what `page` counts: "page", "slide", "sheet", "part"; absent without pages
START: Final = "start"  # character offset of the passage in its page's text
END: Final = "end"
LINE: Final = "line"  # 1-based line of `start` in an unpaged document's text, else None
TITLE: Final = "title"  # section headings above the passage, else the document's title
SECTION: Final = "section"  # the document's title, then all headings above, joined by " > "
LANGUAGE: Final = "language"  # ISO 639-1 code, "und" where no letters were found


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading at characters [start, end) of a page's text; level 1 is the highest."""

    start: int
    end: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of text; `number` is 1-based, or None for formats without pages."""

    number: int | None
    text: str
    headings: tuple[Heading, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """A document as text, with the hash of the bytes it was read from."""

    source: str
    sha256: str
    pages: list[Page]
    title: str
    unit: str = ""  # what the numbers of its pages count; "" where they have none


def passage_id(sha256: str, page: int | None, start: int, end: int) -> str:
    """The address of characters [start, end) of a page as one string, stable across runs."""
    return f"{sha256[:16]}:{page or 0}:{start}-{end}"


def unicode_name(name: str) -> str:
    """A file name whose bytes are not Unicode, kept with replacement marks."""
    return os.fsencode(name).decode("utf-8", "replace")
