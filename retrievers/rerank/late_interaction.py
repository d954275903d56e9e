"""Rerank by late interaction: each word of the question looks for its best match in a passage.

Khattab and Zaharia, ColBERT (2020), over the token vectors of the sentence encoder at hand, so
no further weights are needed. Rare words count more. The vectors of the passages seen last are
kept; a passage seen for the first time costs one pass of the encoder.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PrivateAttr
from typing_extensions import override

from retrievers.ranking import searchable_text
from retrievers.rerank.scored import best_first
from retrievers.token_vectors import Floats, Idf, TokenEncoder, query_weights


def late_interaction(
    asked: Floats, weights: Floats, passages: Sequence[Floats]
) -> NDArray[np.float64]:
    """`max_similarity` of a question (Q, D) with each passage (t, D), computed together, (N,)."""
    sizes = [len(passage) for passage in passages]
    scores = np.zeros(len(passages))
    held = [row for row, size in enumerate(sizes) if size]
    if not held or not len(asked):
        return scores
    cosines = np.concatenate([passages[row] for row in held]) @ asked.T  # (T, Q)
    starts = np.cumsum([0, *(sizes[row] for row in held[:-1])])
    best = np.maximum.reduceat(cosines, starts, axis=0)  # (len(held), Q)
    scores[held] = best @ weights / max(float(weights.sum()), 1e-9)
    return scores


class LateInteractionReranker(BaseDocumentCompressor):
    """Orders documents by weighted late interaction with the query, -1 to 1.

    `idf` tells how rare search terms are in the collection, as `Library.idf` does; without it
    all words but function words count alike. At most `keep` passages' vectors are kept, about
    0.25 MB each with MiniLM. An `encoder` that other stages use too shares its vectors with them;
    its texts are then those that `text` gives.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    embeddings: Embeddings = Field(repr=False)
    idf: Idf | None = Field(default=None, repr=False)
    top_n: int | None = Field(default=None, ge=0, description="how many to return; None is all")
    keep: int = Field(default=512, ge=1, description="passages whose token vectors are kept")
    encoder: TokenEncoder | None = Field(default=None, repr=False, description="None: its own")
    text: Callable[[Document], str] = Field(default=searchable_text, repr=False)
    _encoder: TokenEncoder = PrivateAttr()

    @override
    def model_post_init(self, context: Any, /) -> None:
        own = TokenEncoder(self.embeddings, self.keep, half=True)
        self._encoder = own if self.encoder is None else self.encoder

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents best first, with their score in `rerank` and `late_interaction`."""
        if not documents:
            return []
        asked = self._encoder.encode(query)
        held = self._encoder.encode_many([self.text(document) for document in documents])
        weights = query_weights(query, asked, self.idf)
        scores = late_interaction(asked.vectors, weights, [one.vectors for one in held])
        return best_first(documents, scores, "late_interaction", self.top_n)
