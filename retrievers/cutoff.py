"""Drop passages that have little to do with the query, so that no evidence stays no evidence.

Four rules, each a LangChain compressor: `RelevanceCutoff` by fixed thresholds, `SimilarityFilter`
by the cosine alone, `ScoreGapCutoff` where the scores fall most, `CalibratedCutoff` by fitted
chances of relevance.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field
from typing_extensions import override

from retrievers.ranking import searchable_text, with_scores

SIGNS: Final = ("dense", "coverage", "behind", "rank")


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


class SimilarityFilter(BaseDocumentCompressor):
    """Keeps documents whose cosine with the query is at least `threshold`.

    A cosine that a search left as `dense` is used; only documents without one are embedded.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    embeddings: Embeddings = Field(repr=False)
    threshold: float = Field(default=0.35, ge=-1, le=1)

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents near the query, in the order they came, each with its `dense` score."""
        new = [document for document in documents if "dense" not in document.metadata]
        cosines: dict[int, float] = {}
        if new:
            rows = np.asarray(self.embeddings.embed_documents([searchable_text(d) for d in new]))
            asked = np.asarray(self.embeddings.embed_query(query))
            lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(asked)
            near = (rows @ asked) / np.maximum(lengths, 1e-12)
            cosines = {id(d): float(value) for d, value in zip(new, near, strict=True)}
        scored = [
            with_scores(d, dense=cosines.get(id(d), d.metadata.get("dense"))) for d in documents
        ]
        return [document for document in scored if document.metadata["dense"] >= self.threshold]


def largest_gap(scores: ArrayLike, least: int = 1, most: int | None = None) -> int:
    """How many of descending `scores` stand before their largest fall, `least` to `most`.

    A fall is measured against the way from the best to the last score given; of equal falls the
    first counts. Scores that are all alike are all kept.
    """
    row = np.asarray(scores, dtype=np.float64)
    limit = len(row) if most is None else min(most, len(row))
    falls = row[:-1] - row[1:]  # fall i stands between the first i + 1 and the rest
    if limit <= least or not len(falls) or falls.max() <= 1e-12:
        return limit
    inside = falls[max(least, 1) - 1 : limit]
    return max(least, 1) + int(np.argmax(inside)) if len(inside) and inside.max() > 0 else limit


class ScoreGapCutoff(BaseDocumentCompressor):
    """Keeps the documents before the largest fall of their score; they come best first."""

    score: str = Field(default="fused", description="metadata key of the score")
    least: int = Field(default=1, ge=1, description="documents kept at least")
    most: int = Field(default=20, ge=1, description="documents kept at most")

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The first of `documents`; all of them where one has no such score."""
        scores: list[Any] = [document.metadata.get(self.score) for document in documents]
        if any(score is None for score in scores):
            return list(documents[: self.most])
        return list(documents[: largest_gap(scores, self.least, self.most)])


def signs_of(documents: Sequence[Document]) -> NDArray[np.float64]:
    """What chances of relevance are judged by: `SIGNS` of documents that come best first, (N, 4).

    Cosine, word coverage, how far the cosine is behind the best one, and log2 of the rank + 1.
    """
    dense = np.asarray([float(d.metadata.get("dense", 0.0)) for d in documents])
    coverage = np.asarray([float(d.metadata.get("coverage", 0.0)) for d in documents])
    behind = dense.max(initial=-1.0) - dense
    ranks = np.log2(np.arange(len(documents)) + 2.0)
    return np.stack([dense, coverage, behind, ranks], axis=1).reshape(len(documents), len(SIGNS))


def chances(
    signs: NDArray[np.float64], weights: Mapping[str, float], bias: float
) -> NDArray[np.float64]:
    """The chance of relevance of each row of signs (N, 4), 0 to 1."""
    logits = signs @ np.asarray([weights.get(name, 0.0) for name in SIGNS]) + bias
    given: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return given


def expected_share(probabilities: ArrayLike, share: float) -> int:
    """How many of the first rows hold `share` of all that is expected to be relevant."""
    row = np.asarray(probabilities, dtype=np.float64)
    if not len(row) or row.sum() <= 0:
        return 0
    return int(np.searchsorted(np.cumsum(row), share * row.sum() - 1e-12)) + 1


class CalibratedCutoff(BaseDocumentCompressor):
    """Chooses how many documents to keep by their fitted chance of relevance.

    They come best first from a search that left `dense` and `coverage`. Kept are those that hold
    `share` of the relevant ones to expect, and of these all but the ones whose chance is below
    `floor`. The chance stands in the metadata as `relevance`. Without `weights` the shipped ones
    serve, which `python -m graphs.fit_search` fitted.
    """

    share: float = Field(default=0.95, gt=0, le=1)
    floor: float = Field(default=0.02, ge=0, le=1)
    weights: dict[str, float] | None = None
    bias: float = 0.0

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The first of `documents`, each with its `relevance`."""
        given = chances(signs_of(documents), *self._fitted())
        kept = expected_share(given, self.share)
        return [
            with_scores(document, relevance=float(chance))
            for document, chance in zip(documents[:kept], given[:kept], strict=True)
            if chance >= self.floor
        ]

    def _fitted(self) -> tuple[Mapping[str, float], float]:
        if self.weights is not None:
            return self.weights, self.bias
        from retrievers.fitted import fitted_search

        fitted: Any = fitted_search()["relevance"]
        return fitted["weights"], float(fitted["bias"])
