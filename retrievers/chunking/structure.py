"""Cut at headings and between sentences: passages that stay within a section.

A passage never crosses a page or a section, is an exact slice of its page's text, and repeats
the last sentence of the passage before it, so that no pair of sentences is torn apart. In source
code the headings are the definitions.
"""

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from langchain_core.documents import Document

from retrievers import sentences
from retrievers.chunking.passages import Headings, Piece, Span, build, extend
from retrievers.documents import LoadedDocument, Page

TARGET: Final = 900  # characters of a passage, overlap included
_OVERLAP_SHARE = 0.25  # a sentence longer than this share of the target is not repeated
_SMALL_SHARE = 0.25  # a section shorter than this share is joined with the next one
_SLACK = 0.2  # how far from the even cut a paragraph end is still preferred


@dataclass(frozen=True, slots=True)
class _Section:
    """Sentences [first, last) under one heading path."""

    first: int
    last: int
    level: int
    path: Headings


@dataclass(frozen=True, slots=True)
class StructureChunker:
    """About `target` characters a passage; `overlap` sentences stand in two neighbours."""

    target: int = TARGET
    overlap: int = 1

    def __call__(self, document: LoadedDocument) -> list[Document]:
        """The passages of `document` in reading order."""
        return build(document, self._cut)

    def _cut(self, page: Page, language: str, path: Headings) -> Iterator[Piece]:
        marks = [(heading.start, heading.end) for heading in page.headings]
        spans = sentences.split(page.text, language, marks)
        for section in _sections(page, spans, path, self.target):
            own = spans[section.first : section.last]
            for span in pack(page.text, own, self.target, self.overlap):
                yield span, section.path


def chunk(document: LoadedDocument, target: int = TARGET, overlap: int = 1) -> list[Document]:
    """Passages of about `target` characters; `overlap` sentences are repeated between neighbours.

    Each has `id` (`documents.passage_id`) and the metadata keys of `retrievers.documents`.
    """
    return StructureChunker(target, overlap)(document)


def _sections(page: Page, spans: list[Span], path: Headings, target: int) -> Iterator[_Section]:
    """Runs of sentences between headings; a small section is joined with one at or below it."""
    starts = [start for start, _ in spans]
    pending: _Section | None = None
    edges = [(0, path, 0)] if spans else []
    for heading in page.headings:
        path = extend(path, (heading,))
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


def pack(text: str, spans: list[Span], target: int, overlap: int) -> Iterator[Span]:
    """Spans of passages of nearly even size over the sentences `spans` of `text`."""
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


def _best_end(text: str, spans: list[Span], first: int, ideal: float) -> int:
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


def _repeated(spans: list[Span], first: int, overlap: int, target: int) -> int:
    """How many sentences before `first` fit into the overlap."""
    count = 0
    while count < min(overlap, first):
        if spans[first - 1][1] - spans[first - count - 1][0] > _OVERLAP_SHARE * target:
            break
        count += 1
    return count
