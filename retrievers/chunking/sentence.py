"""Cut between sentences alone, whatever the headings say."""

from collections.abc import Iterator
from dataclasses import dataclass

from langchain_core.documents import Document

from retrievers import sentences
from retrievers.chunking.passages import Headings, Piece, above, build
from retrievers.chunking.structure import TARGET, pack
from retrievers.documents import LoadedDocument, Page


@dataclass(frozen=True, slots=True)
class SentenceChunker:
    """About `target` characters a passage; `overlap` sentences stand in two neighbours."""

    target: int = TARGET
    overlap: int = 1

    def __call__(self, document: LoadedDocument) -> list[Document]:
        """The passages of `document` in reading order."""
        return build(document, self._cut)

    def _cut(self, page: Page, language: str, path: Headings) -> Iterator[Piece]:
        spans = sentences.split(page.text, language)
        if spans:
            for span in pack(page.text, spans, self.target, self.overlap):
                yield span, above(page, path, span[0])
