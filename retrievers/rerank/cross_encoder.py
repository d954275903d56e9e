"""Rerank by a cross-encoder: a model that reads the question and a passage together."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import ConfigDict, Field
from typing_extensions import override

from retrievers.ranking import searchable_text
from retrievers.rerank.scored import best_first


class PairScorer(Protocol):
    """What is used of a cross-encoder; LangChain's `BaseCrossEncoder` is one."""

    def score(self, text_pairs: list[tuple[str, str]]) -> Any:
        """One number for each pair (question, passage); more is better."""


class CrossEncoderReranker(BaseDocumentCompressor):
    """Orders documents by an injected cross-encoder, `batch` pairs at a time."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: Any = Field(repr=False, description="a PairScorer")
    top_n: int | None = Field(default=None, ge=0, description="how many to return; None is all")
    batch: int = Field(default=32, ge=1)

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents best first, with their score in `rerank` and `cross_encoder`.

        Raises:
            RerankError: the model does not give one finite number a pair.
        """
        pairs = [(query, searchable_text(document)) for document in documents]
        model: PairScorer = self.model
        scores: list[float] = []
        for at in range(0, len(pairs), self.batch):
            given = np.asarray(model.score(pairs[at : at + self.batch]), dtype=np.float64)
            scores.extend(given.reshape(-1).tolist())
        return best_first(documents, scores, "cross_encoder", self.top_n)
