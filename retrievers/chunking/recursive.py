"""Cut at paragraphs, then lines, then words, by LangChain's recursive character splitter."""

from collections.abc import Iterator
from dataclasses import dataclass

from langchain_core.documents import Document

from retrievers.chunking.passages import Headings, Piece, above, build
from retrievers.chunking.structure import TARGET
from retrievers.documents import LoadedDocument, Page


@dataclass(frozen=True, slots=True)
class RecursiveChunker:
    """At most `target` characters a passage, of which up to `overlap` stand in two neighbours."""

    target: int = TARGET
    overlap: int = 0

    def __call__(self, document: LoadedDocument) -> list[Document]:
        """The passages of `document` in reading order."""
        return build(document, self._cut)

    def _cut(self, page: Page, _language: str, path: Headings) -> Iterator[Piece]:
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        splitter = RecursiveCharacterTextSplitter(
            chunk_size=self.target, chunk_overlap=self.overlap, add_start_index=True
        )
        seen: set[tuple[int, int]] = set()
        for piece in splitter.create_documents([page.text]):
            start = int(piece.metadata["start_index"])
            span = (start, start + len(piece.page_content))
            if start >= 0 and span not in seen:  # a repeated text may be found at an earlier place
                seen.add(span)
                yield span, above(page, path, start)
