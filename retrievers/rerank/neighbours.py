"""Let near passages vouch for one another: each score is mixed with those of its neighbours.

Passages that are alike tend to be relevant together (the cluster hypothesis), so a passage whose
nearest neighbours among the candidates score well deserves more than its own score says (Diaz,
"Regularizing ad hoc retrieval scores", 2005). It costs one product of the candidates' vectors.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field
from typing_extensions import override

from retrievers.dense import unit_rows
from retrievers.fusion import normalised
from retrievers.ranking import searchable_text
from retrievers.rerank.scored import best_first, held_scores

SHARE: Final = 0.3
NEIGHBOURS: Final = 5
SHARPNESS: Final = 4


def smoothed(
    scores: ArrayLike,
    vectors: Any,
    share: float = SHARE,
    neighbours: int = NEIGHBOURS,
    sharpness: float = SHARPNESS,
) -> NDArray[np.float64]:
    """Scores (N,), 0 to 1 by minmax, with `share` of each taken from its nearest neighbours, (N,).

    The neighbours' mean is weighted by cosine ** `sharpness`, over the `neighbours` rows of
    `vectors` (N, D) that are nearest; rows at a right angle or beyond it do not count.
    """
    own = normalised(scores, "minmax")
    if len(own) < 2 or not share or neighbours < 1:
        return own
    rows = unit_rows(vectors)
    near = np.maximum(rows @ rows.T, 0.0).astype(np.float64)  # (N, N)
    np.fill_diagonal(near, 0.0)
    if neighbours < len(own) - 1:
        least = -np.partition(-near, neighbours - 1, axis=1)[:, neighbours - 1 : neighbours]
        near[near < least] = 0.0
    near **= sharpness
    total = near.sum(axis=1)
    beside = np.divide(near @ own, total, out=np.zeros(len(own)), where=total > 0)
    mixed: NDArray[np.float64] = (1 - share) * own + share * beside
    return mixed


class NeighbourSmoothing(BaseDocumentCompressor):
    """Orders documents by their `score` metadata mixed with that of their nearest neighbours."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    embeddings: Embeddings = Field(repr=False)
    score: str = Field(default="fused", description="metadata key of the score to smooth")
    share: float = Field(default=SHARE, ge=0, le=1)
    neighbours: int = Field(default=NEIGHBOURS, ge=1)
    sharpness: float = Field(default=SHARPNESS, ge=0)

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """All documents, best first, with the new score in `rerank` and `neighbours`.

        Raises:
            RerankError: a document has no `score`.
        """
        if not documents:
            return []
        scores = held_scores(documents, self.score)
        vectors = self.embeddings.embed_documents([searchable_text(d) for d in documents])
        mixed = smoothed(scores, vectors, self.share, self.neighbours, self.sharpness)
        return best_first(documents, mixed, "neighbours")
