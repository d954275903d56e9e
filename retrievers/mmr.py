"""Maximal marginal relevance (Carbonell, Goldstein 1998): relevant, and not the same twice."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from pydantic import ConfigDict, Field
from typing_extensions import override

from retrievers.dense import unit_rows


def mmr(
    query_vec: Any | None,
    vecs: Any,
    k: int,
    lambda_: float = 0.5,
    relevance: Any | None = None,
) -> list[int]:
    """Rows of `vecs` (N, D), chosen one by one for lambda * relevance - (1 - lambda) * likeness.

    Likeness is the highest cosine with a row chosen before. Relevance is the cosine with
    `query_vec` (D), or `relevance` (N) where that is given. Ties go to the earlier row.
    """
    if not len(vecs):
        return []
    rows = unit_rows(vecs)
    if relevance is None and query_vec is None:
        raise ValueError("mmr needs query_vec or relevance")
    wanted = np.asarray(  # (N,)
        rows @ unit_rows(query_vec)[0] if relevance is None else relevance, dtype=np.float64
    )
    likeness = np.zeros(len(rows))
    free = np.ones(len(rows), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(k, len(rows)):
        gain = np.where(free, lambda_ * wanted - (1 - lambda_) * likeness, -np.inf)
        best = int(np.argmax(gain))
        chosen.append(best)
        free[best] = False
        likeness = np.maximum(likeness, rows @ rows[best])
    return chosen


class MaximalMarginalRelevance(BaseDocumentCompressor):
    """Keeps the `k` documents that are relevant to the query and unlike one another."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    embeddings: Embeddings = Field(repr=False)
    k: int = 4
    lambda_: float = Field(default=0.5, ge=0, le=1, description="1 is relevance alone")

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Choose among `documents`, embedding them and the query."""
        if not documents:
            return []
        vectors = self.embeddings.embed_documents([d.page_content for d in documents])
        rows = mmr(self.embeddings.embed_query(query), vectors, self.k, self.lambda_)
        return [documents[row] for row in rows]
