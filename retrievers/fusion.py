"""Join several rankings into one: by ranks alone, or by the scores behind them.

Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009) needs no scores. Weighted fusion adds up
scores brought to one scale, which Bruch, Gai and Ingber (2023) found to be the better of the two
once a weight has been fitted; `python -m graphs.fit_search` fits it.
"""

from collections.abc import Hashable, Sequence
from typing import Literal, Self, TypeAlias, TypeVar

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from typing_extensions import override

from retrievers.ranking import passage_key, with_scores
from retrievers.rerank.scored import held_scores

Key = TypeVar("Key", bound=Hashable)
Normalisation: TypeAlias = Literal["minmax", "zscore", "max", "none"]


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Key]], k: int = 60, weights: Sequence[float] | None = None
) -> list[tuple[Key, float]]:
    """Keys with their sum of weight / (k + rank) over the rankings, best first.

    Ranks count from 1; a key that stands twice in one ranking counts at its better rank; equal
    sums keep the order in which the keys were first met.
    """
    shares = _weights(weights, len(rankings))
    total: dict[Key, float] = {}
    for share, ranking in zip(shares, rankings, strict=True):
        for rank, key in enumerate(dict.fromkeys(ranking), 1):
            total[key] = total.get(key, 0.0) + share / (k + rank)
    return sorted(total.items(), key=lambda item: -item[1])


def normalised(scores: ArrayLike, how: Normalisation = "minmax") -> NDArray[np.float64]:
    """Scores (N,) of one ranking on a scale that can be added to that of another.

    "minmax" maps worst and best to 0 and 1, "zscore" mean and deviation to 0 and 1, "max" divides
    by the best (of scores that begin at zero). Scores that are all alike become 1, 0 and 1.

    Raises:
        ValueError: `how` is not one of the four.
    """
    row = np.asarray(scores, dtype=np.float64)
    if how not in ("minmax", "zscore", "max", "none"):
        raise ValueError(f"no normalisation {how!r}: use minmax, zscore, max or none")
    if not len(row) or how == "none":
        return row
    if how == "zscore":
        spread = float(row.std())
        return (row - row.mean()) / spread if spread > 1e-12 else np.zeros(len(row))
    low = float(row.min()) if how == "minmax" else 0.0
    width = float(row.max()) - low
    return (row - low) / width if width > 1e-12 else np.ones(len(row))


def weighted_fusion(
    rankings: Sequence[Sequence[tuple[Key, float]]],
    weights: Sequence[float] | None = None,
    normalisation: Normalisation = "minmax",
) -> list[tuple[Key, float]]:
    """Keys with the weighted sum of their normalised scores over the rankings, best first.

    A ranking that does not hold a key gives it the least of its own normalised scores, or zero
    where that is less; a key that stands twice counts at its better score. Equal sums keep the
    order in which the keys were first met.
    """
    total: dict[Key, float] = dict.fromkeys((key for row in rankings for key, _ in row), 0.0)
    for share, ranking in zip(_weights(weights, len(rankings)), rankings, strict=True):
        best: dict[Key, float] = {}
        for key, score in ranking:
            best[key] = max(score, best.get(key, score))
        scores = normalised(list(best.values()), normalisation).tolist()
        held = dict(zip(best, scores, strict=True))
        floor = min([0.0, *scores])
        for key in total:
            total[key] += share * held.get(key, floor)
    return sorted(total.items(), key=lambda item: -item[1])


def _weights(given: Sequence[float] | None, rankings: int) -> list[float]:
    weights = [1.0] * rankings if given is None else list(given)
    if len(weights) != rankings:
        raise ValueError(f"{len(weights)} weights for {rankings} rankings")
    return weights


class FusionRetriever(BaseRetriever):
    """Asks several retrievers and fuses what they return, by rank or, with `scores`, by score.

    Metadata of a hit holds the fused score as `rrf`, or as `fused` where scores were added up.
    A document without the score that `scores` names is a RerankError.
    """

    retrievers: list[BaseRetriever]
    weights: list[float] | None = None
    rank_constant: int = Field(default=60, description="k of reciprocal rank fusion")
    scores: list[str] | None = Field(
        default=None, description="metadata key of each retriever's score; None fuses ranks"
    )
    normalisation: Normalisation = "minmax"
    k: int = 4

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name, given in (("weights", self.weights), ("scores", self.scores)):
            if given is not None and len(given) != len(self.retrievers):
                raise ValueError(f"{len(given)} {name} for {len(self.retrievers)} retrievers")
        return self

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        config = {"callbacks": run_manager.get_child()}
        answers = [retriever.invoke(query, config) for retriever in self.retrievers]  # type: ignore[arg-type]  # a RunnableConfig is a TypedDict
        found: dict[str, Document] = {}
        for answer in answers:
            for document in answer:
                key = passage_key(document)
                scores = found[key].metadata if key in found else {}
                found[key] = with_scores(document, **{**scores, **document.metadata})
        limit = self.k if k is None else k
        name = "rrf" if self.scores is None else "fused"
        fused = self._fuse(answers)[:limit]
        return [with_scores(found[key], **{name: score}) for key, score in fused]

    def _fuse(self, answers: list[list[Document]]) -> list[tuple[str, float]]:
        if self.scores is None:
            keys = [[passage_key(document) for document in answer] for answer in answers]
            return reciprocal_rank_fusion(keys, self.rank_constant, self.weights)
        rankings = [
            list(zip(map(passage_key, answer), held_scores(answer, name), strict=True))
            for answer, name in zip(answers, self.scores, strict=True)
        ]
        return weighted_fusion(rankings, self.weights, self.normalisation)
