"""The stages of a search as plain functions over ids and scores; `retrievers.pipeline` joins them.

Each takes what the stage before it found and gives ids with scores, best first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from retrievers.config import FusionStage, RerankStage, SearchConfig, SmoothingStage
from retrievers.fusion import normalised, reciprocal_rank_fusion, weighted_fusion
from retrievers.mmr import mmr
from retrievers.ranking import Floats
from retrievers.rerank.neighbours import smoothed
from retrievers.rerank.scored import RERANK

if TYPE_CHECKING:
    from retrievers.bm25 import BM25Index
    from retrievers.dense import DenseIndex
    from retrievers.query.plan import Query

Scored = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One query made ready: its terms, its vector (D,), and its place in the plan.

    The last two multiply the weights of the dense ranking and of neighbouring words for it.
    """

    query: "Query"
    terms: tuple[str, ...]
    point: Floats | None
    dense: float = 1.0
    phrases: float = 1.0


@dataclass(frozen=True, slots=True)
class Rankings:
    """Rankings of one kind, one a query that feeds it, each with its share in the fusion.

    `asked` are those queries, so that a ranking can be asked for the score of any passage.
    """

    asked: list[Asked]
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
        lexical.top(
            one.terms,
            one.query.depth or depth,
            among=among,
            phrase=stage.phrase * one.phrases,
        )
        for one in feeding
    ]
    return Rankings(feeding, found, [stage.weight * one.query.weight for one in feeding])


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
    weight = config.dense.weight
    return Rankings(feeding, found, [weight * one.dense * one.query.weight for one in feeding])


def fuse(
    words: Rankings,
    near: Rankings,
    lexical: "BM25Index",
    vectors: Callable[[Sequence[str]], Floats],
    stage: FusionStage,
) -> Scored:
    """All rankings joined into one.

    By scores, a candidate that one ranking found has its score in every other one too, but for
    queries that may only bring in their first hits.
    """
    weights = words.weights + near.weights
    if stage.method == "ranks":
        ids = [[id_ for id_, _ in ranking] for ranking in words.rankings + near.rankings]
        return reciprocal_rank_fusion(ids, stage.rank_constant, weights)
    every = list(dict.fromkeys(id_ for id_, _ in words.merged() + near.merged()))
    if not every:
        return []
    matrix = vectors(every) if near.rankings else np.zeros((len(every), 0), np.float32)  # (N, D)
    rankings: list[Scored] = []
    for one, ranking in zip(words.asked, words.rankings, strict=True):
        scores = None if one.query.depth else lexical.scores_of(one.terms, every)  # (N,)
        rankings.append(_completed(every, ranking, scores))
    for one, ranking in zip(near.asked, near.rankings, strict=True):
        scores = None if one.query.depth or one.point is None else matrix @ one.point  # (N,)
        rankings.append(_completed(every, ranking, scores))
    return weighted_fusion(rankings, weights, stage.normalisation)


def _completed(ids: Sequence[str], ranking: Scored, scores: Floats | None) -> Scored:
    """The score of every id; what the ranking itself gave (with its phrases) stands."""
    if scores is None:
        return ranking
    return list({**dict(zip(ids, scores.tolist(), strict=True)), **dict(ranking)}.items())


def smooth(
    fused: Scored, vectors: Callable[[Sequence[str]], Floats], stage: SmoothingStage
) -> Scored:
    """The candidates by scores that their nearest neighbours share in."""
    ids = [id_ for id_, _ in fused]
    scores = smoothed(
        [score for _, score in fused],
        vectors(ids),
        stage.share,
        stage.neighbours,
        stage.sharpness,
    )
    return [(ids[at], float(scores[at])) for at in np.argsort(-scores, kind="stable")]


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
