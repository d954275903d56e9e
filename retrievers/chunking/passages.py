"""Make passages of the pieces that a chunker cuts a page into: addresses, headings, language."""

import bisect
import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

from langchain_core.documents import Document

from retrievers import documents as keys
from retrievers.documents import Heading, LoadedDocument, Page, passage_id
from retrievers.language import UNKNOWN, detect

Span: TypeAlias = tuple[int, int]  # characters [start, end) of a page's text
Headings: TypeAlias = tuple[Heading, ...]  # those above a place, outer first
Piece: TypeAlias = tuple[Span, Headings]
Cut: TypeAlias = Callable[[Page, str, Headings], Iterable[Piece]]

_MAX_TITLE: Final = 160  # characters
_MAX_SECTION: Final = 500
_NUMERAL: Final = re.compile(r"[IVXLC\d]+\.?$")  # "II." names no subject: its parent does


class Chunker(Protocol):
    """Cuts a document into passages."""

    def __call__(self, document: LoadedDocument) -> list[Document]:
        """The passages in reading order, each an exact slice of its page with its address."""


def build(document: LoadedDocument, cut: Cut) -> list[Document]:
    """Passages of the pieces that `cut` makes of each page.

    `cut` gets the page, its language, and the headings that are open where it begins.
    """
    whole = detect("\n".join(page.text[:2000] for page in document.pages[:20]))
    passages: list[Document] = []
    path: Headings = ()
    for page in document.pages:
        language = detect(page.text, default=whole)
        newlines = [match.start() for match in re.finditer("\n", page.text)]
        for span, above in cut(page, whole if language == UNKNOWN else language, path):
            line = bisect.bisect_left(newlines, span[0]) + 1
            passages.append(_passage(document, page, span, line, above, whole))
        path = extend(path, page.headings)
    return passages


def extend(path: Headings, headings: Iterable[Heading]) -> Headings:
    """The headings that are open after `headings` were met under `path`."""
    for heading in headings:
        path = (*(above for above in path if above.level < heading.level), heading)
    return path


def above(page: Page, path: Headings, start: int) -> Headings:
    """The headings that are open at character `start` of a page that begins under `path`."""
    return extend(path, (heading for heading in page.headings if heading.start <= start))


def bare(text: str, span: Span) -> Span:
    """`span` without the white space at its ends."""
    start, end = span
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _passage(
    document: LoadedDocument, page: Page, span: Span, line: int, path: Headings, language: str
) -> Document:
    start, end = span
    text = page.text[start:end]
    return Document(
        id=passage_id(document.sha256, page.number, start, end),
        page_content=text,
        metadata={
            keys.SOURCE: document.source,
            keys.DOC_HASH: document.sha256,
            keys.PAGE: page.number,
            **({keys.UNIT: document.unit} if page.number is not None and document.unit else {}),
            keys.START: start,
            keys.END: end,
            keys.LINE: line if page.number is None else None,
            keys.TITLE: _title(path) or document.title,
            keys.SECTION: _section(document.title, path),
            keys.LANGUAGE: detect(text, default=language),
        },
    )


def _section(title: str, path: Headings) -> str:
    """The document's title and every heading above, outer first."""
    names = [title, *(" ".join(heading.text.split()) for heading in path)]
    return " > ".join(dict.fromkeys(name for name in names if name))[:_MAX_SECTION]


def _title(path: Headings) -> str:
    """The lowest two headings that name a subject, outer first."""
    named = [" ".join(h.text.split()) for h in path if not _NUMERAL.fullmatch(h.text)]
    return " > ".join(named[-2:])[:_MAX_TITLE]
