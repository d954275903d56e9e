"""The stages of a search as plain functions over ids and scores; `retrievers.pipeline` joins them.

Each takes what the stage before it found and gives ids with scores, best first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from retrievers.config import FusionStage, RerankStage, SearchConfig
from retrievers.fusion import normalised, reciprocal_rank_fusion, weighted_fusion
from retrievers.mmr import mmr
from retrievers.ranking import Floats

if TYPE_CHECKING:
    from retrievers.bm25 import BM25Index
    from retrievers.dense import DenseIndex
    from retrievers.query.plan import Query

Scored = list[tuple[str, float]]
RERANK: Final = "rerank"  # metadata key under which every reranker leaves its score


@dataclass(frozen=True, slots=True)
class Asked:
    """One query made ready: its terms, its vector (D,), and its place in the plan."""

    query: "Query"
    terms: tuple[str, ...]
    point: Floats | None


@dataclass(frozen=True, slots=True)
class Rankings:
    """Rankings of one kind, one a query that feeds it, each with its share in the fusion."""

    rankings: list[Scored]
    weights: list[float]

    def merged(self) -> Scored:
        """Every id with its best score over the rankings, best first."""
        best: dict[str, float] = {}
        for id_, score in (hit for ranking in self.rankings for hit in ranking):
            best[id_] = max(score, best.get(id_, score))
        return sorted(best.items(), key=lambda hit: -hit[1])


def rank_words(
    asked: Sequence[Asked],
    lexical: "BM25Index",
    config: SearchConfig,
    among: Sequence[str] | None,
    depth: int,
) -> Rankings:
    """The passages that share words with each lexical query, by BM25."""
    stage = config.lexical
    feeding = [one for one in asked if one.query.lexical and stage.weight]
    found = [
        lexical.top(one.terms, one.query.depth or depth, among=among, phrase=stage.phrase)
        for one in feeding
    ]
    return Rankings(found, [stage.weight * one.query.weight for one in feeding])


def rank_vectors(
    asked: Sequence[Asked],
    vectors: "DenseIndex",
    config: SearchConfig,
    among: Sequence[str] | None,
    depth: int,
) -> Rankings:
    """The passages near each dense query, by cosine."""
    feeding = [one for one in asked if one.point is not None]
    found = [vectors.search(one.point, one.query.depth or depth, among) for one in feeding]
    return Rankings(found, [config.dense.weight * one.query.weight for one in feeding])


def fuse(words: Rankings, near: Rankings, stage: FusionStage) -> Scored:
    """All rankings joined into one."""
    rankings = words.rankings + near.rankings
    weights = words.weights + near.weights
    if stage.method == "ranks":
        ids = [[id_ for id_, _ in ranking] for ranking in rankings]
        return reciprocal_rank_fusion(ids, stage.rank_constant, weights)
    return weighted_fusion(rankings, weights, stage.normalisation)


def rerank(
    fused: Scored,
    documents: Sequence[Document],
    question: str,
    rerankers: Sequence[BaseDocumentCompressor],
    stage: RerankStage,
) -> tuple[Scored, dict[str, dict[str, float]]]:
    """The first of `fused`, whose `documents` those are, in the order that rerankers leave them.

    Each reranker judges the same documents; its normalised score is added to the normalised
    fused score with the weight of the stage. Also the scores by id, named by reranker.
    """
    judged = [document.id or "" for document in documents]
    before = dict(fused)
    total = normalised([before[id_] for id_ in judged], stage.normalisation)  # (N,)
    scores: dict[str, dict[str, float]] = {id_: {} for id_ in judged}
    for reranker in rerankers:
        name = type(reranker).__name__
        for document in reranker.compress_documents(documents, question):
            scores[document.id or ""][name] = float(document.metadata[RERANK])
        # one that a reranker dropped gets the least of its scores
        least = min((s[name] for s in scores.values() if name in s), default=0.0)
        row = [scores[id_].get(name, least) for id_ in judged]
        total = total + stage.weight * normalised(row, stage.normalisation)
    order = np.argsort(-total, kind="stable")
    best = [(judged[at], float(total[at])) for at in order]
    seen = set(judged)
    floor = best[-1][1] if best else 0.0  # what follows was not judged: it stays behind
    rest = [(id_, share) for id_, share in fused if id_ not in seen]
    top = rest[0][1] if rest else 1.0
    return best + [(id_, floor + min(0.0, share - top)) for id_, share in rest], scores


def diversify(
    fused: Scored, k: int, vectors: Callable[[Sequence[str]], Floats], config: SearchConfig
) -> Scored:
    """The `k` candidates that MMR chooses, with the fused score as relevance (best = 1)."""
    stage = config.diversity
    pool = fused[: max(k, stage.candidates)]
    if not stage.strength or len(pool) < 2 or k <= 1:
        return fused[:k]
    shares = np.asarray([share for _, share in pool])
    scale = shares[0] if shares[0] > 0 else 1.0
    held = vectors([id_ for id_, _ in pool])
    rows = mmr(None, held, k, 1 - stage.strength, relevance=shares / scale)
    return [pool[row] for row in rows]
