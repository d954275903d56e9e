"""Cut a document into passages that end where sentences end.

A passage never crosses a page or a section, is an exact slice of its page's text, and repeats
the last sentence of the passage before it, so that no pair of sentences is torn apart.
"""

import bisect
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from langchain_core.documents import Document

from retrievers import documents as keys
from retrievers import sentences
from retrievers.documents import Heading, LoadedDocument, Page, passage_id
from retrievers.language import UNKNOWN, detect

TARGET: Final = 900  # characters of a passage, overlap included
_OVERLAP_SHARE = 0.25  # a sentence longer than this share of the target is not repeated
_SMALL_SHARE = 0.25  # a section shorter than this share is joined with the next one
_SLACK = 0.2  # how far from the even cut a paragraph end is still preferred
_MAX_TITLE = 160  # characters
_MAX_SECTION = 500
_NUMERAL = re.compile(r"[IVXLC\d]+\.?$")  # "II." names no subject: its parent does


@dataclass(frozen=True, slots=True)
class _Section:
    """Sentences [first, last) under one heading path."""

    first: int
    last: int
    level: int
    path: tuple[Heading, ...]


def chunk(document: LoadedDocument, target: int = TARGET, overlap: int = 1) -> list[Document]:
    """Passages of about `target` characters; `overlap` sentences are repeated between neighbours.

    Each has `id` (`documents.passage_id`) and the metadata keys of `retrievers.documents`.
    """
    whole = detect("\n".join(page.text[:2000] for page in document.pages[:20]))
    passages: list[Document] = []
    path: tuple[Heading, ...] = ()
    for page in document.pages:
        language = detect(page.text, default=whole)
        spans = sentences.split(
            page.text,
            whole if language == UNKNOWN else language,
            [(heading.start, heading.end) for heading in page.headings],
        )
        newlines = [match.start() for match in re.finditer("\n", page.text)]
        for section in _sections(page, spans, path, target):
            path = section.path
            for start, end in _cut(page.text, spans[section.first : section.last], target, overlap):
                line = bisect.bisect_left(newlines, start) + 1
                passages.append(_passage(document, page, (start, end), line, section.path, whole))
        path = _extend(path, page.headings)
    return passages


def _passage(
    document: LoadedDocument,
    page: Page,
    span: tuple[int, int],
    line: int,
    path: tuple[Heading, ...],
    language: str,
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


def _section(title: str, path: tuple[Heading, ...]) -> str:
    """The document's title and every heading above, outer first."""
    names = [title, *(" ".join(heading.text.split()) for heading in path)]
    return " > ".join(dict.fromkeys(name for name in names if name))[:_MAX_SECTION]


def _title(path: tuple[Heading, ...]) -> str:
    """The lowest two headings that name a subject, outer first."""
    named = [" ".join(h.text.split()) for h in path if not _NUMERAL.fullmatch(h.text)]
    return " > ".join(named[-2:])[:_MAX_TITLE]


def _extend(path: tuple[Heading, ...], headings: tuple[Heading, ...]) -> tuple[Heading, ...]:
    for heading in headings:
        path = (*(above for above in path if above.level < heading.level), heading)
    return path


def _sections(
    page: Page, spans: list[tuple[int, int]], path: tuple[Heading, ...], target: int
) -> Iterator[_Section]:
    """Runs of sentences between headings; a small section is joined with one at or below it."""
    starts = [start for start, _ in spans]
    pending: _Section | None = None
    edges = [(0, path, 0)] if spans else []
    for heading in page.headings:
        path = _extend(path, (heading,))
        edges.append((bisect.bisect_left(starts, heading.start), path, heading.level))
    for number, (first, section_path, level) in enumerate(edges):
        last = edges[number + 1][0] if number + 1 < len(edges) else len(spans)
        if first >= last:
            continue
        current = _Section(first, last, level, section_path)
        if pending is not None:
            size = spans[pending.last - 1][1] - spans[pending.first][0]
            if size < _SMALL_SHARE * target and (level >= pending.level or pending.level == 0):
                current = _joined(pending, current)
            else:
                yield pending
        pending = current
    if pending is not None:
        yield pending


def _joined(small: _Section, section: _Section) -> _Section:
    """A heading alone, or a short section, and what follows it."""
    deeper = section.level > small.level
    path = section.path if deeper or not small.path else small.path
    level = small.level or section.level
    return _Section(small.first, section.last, level, path)


def _cut(
    text: str, spans: list[tuple[int, int]], target: int, overlap: int
) -> Iterator[tuple[int, int]]:
    """Spans of passages of nearly even size over the sentences of one section."""
    total = spans[-1][1] - spans[0][0]
    fresh = target * (0.85 if overlap else 1.0)  # what a passage adds beside its overlap
    count = max(1, math.ceil(total / fresh)) if total > 1.1 * target else 1
    first = 0
    for remaining in range(count, 0, -1):
        if first >= len(spans):
            return
        ideal = (spans[-1][1] - spans[first][0]) / remaining
        last = len(spans) if remaining == 1 else _best_end(text, spans, first, ideal)
        begin = first - _repeated(spans, first, overlap, target)
        yield spans[begin][0], spans[last - 1][1]
        first = last


def _best_end(text: str, spans: list[tuple[int, int]], first: int, ideal: float) -> int:
    """Index after the last sentence of a passage: near `ideal`, at a paragraph end if one is."""
    best, best_cost = first + 1, math.inf
    for last in range(first + 1, len(spans)):
        size = spans[last - 1][1] - spans[first][0]
        cost = abs(size - ideal) / ideal
        ends_paragraph = "\n\n" in text[spans[last - 1][1] : spans[last][0]]
        cost -= _SLACK if ends_paragraph else 0.0
        if cost < best_cost:
            best, best_cost = last, cost
        if size > ideal * (1 + 2 * _SLACK):
            break
    return best


def _repeated(spans: list[tuple[int, int]], first: int, overlap: int, target: int) -> int:
    """How many sentences before `first` fit into the overlap."""
    count = 0
    while count < min(overlap, first):
        if spans[first - 1][1] - spans[first - count - 1][0] > _OVERLAP_SHARE * target:
            break
        count += 1
    return count
