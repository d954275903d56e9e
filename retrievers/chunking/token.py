"""Cut by the tokens of the embedding model, so that no passage is longer than it reads."""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from langchain_core.documents import Document

from retrievers import sentences
from retrievers.chunking.passages import Headings, Piece, Span, above, bare, build
from retrievers.documents import LoadedDocument, Page

TokenSpans: TypeAlias = Callable[[str], Sequence[Span]]
TARGET: Final = 240  # tokens; encoders of the MiniLM family read 256 with their marks


@dataclass(frozen=True, slots=True)
class TokenChunker:
    """At most `target` tokens a passage, of which up to `overlap` stand in two neighbours.

    A passage ends where a sentence ends, if one ends in its second half, else between tokens.
    """

    tokens: TokenSpans = field(repr=False)  # character spans of a text's tokens, in order
    target: int = TARGET
    overlap: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.target:
            raise ValueError(f"overlap {self.overlap} is not between 0 and target {self.target}")

    def __call__(self, document: LoadedDocument) -> list[Document]:
        """The passages of `document` in reading order."""
        return build(document, self._cut)

    def _cut(self, page: Page, language: str, path: Headings) -> Iterator[Piece]:
        tokens = [(start, end) for start, end in self.tokens(page.text) if end > start]
        stops = [end for _, end in sentences.split(page.text, language)]
        first = 0
        while first < len(tokens):
            last = min(first + self.target, len(tokens))
            if last < len(tokens):
                last = _sentence_end(tokens, stops, first + (last - first) // 2, last)
            span = bare(page.text, (tokens[first][0], tokens[last - 1][1]))
            if span[0] < span[1]:
                yield span, above(page, path, span[0])
            if last == len(tokens):
                return
            first = max(last - self.overlap, first + 1)


def _sentence_end(tokens: list[Span], stops: list[int], low: int, high: int) -> int:
    """The last token number in (low, high] behind which a sentence ends; else `high`."""
    for last in range(high, low, -1):
        following = tokens[last][0] if last < len(tokens) else tokens[-1][1]
        at = bisect.bisect_left(stops, tokens[last - 1][1])
        if at < len(stops) and stops[at] <= following:
            return last
    return high
