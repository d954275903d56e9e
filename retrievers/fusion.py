"""Join several rankings into one by reciprocal rank fusion (Cormack, Clarke, Büttcher 2009)."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field
from typing_extensions import override

from retrievers.ranking import passage_key, with_scores

Key = TypeVar("Key", bound=Hashable)


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Key]], k: int = 60, weights: Sequence[float] | None = None
) -> list[tuple[Key, float]]:
    """Keys with their sum of weight / (k + rank) over the rankings, best first.

    Ranks count from 1; a key that stands twice in one ranking counts at its better rank; equal
    sums keep the order in which the keys were first met.
    """
    shares = [1.0] * len(rankings) if weights is None else list(weights)
    if len(shares) != len(rankings):
        raise ValueError(f"{len(shares)} weights for {len(rankings)} rankings")
    total: dict[Key, float] = {}
    for share, ranking in zip(shares, rankings, strict=True):
        for rank, key in enumerate(dict.fromkeys(ranking), 1):
            total[key] = total.get(key, 0.0) + share / (k + rank)
    return sorted(total.items(), key=lambda item: -item[1])


class FusionRetriever(BaseRetriever):
    """Asks several retrievers and fuses what they return; metadata of a hit holds `rrf`."""

    retrievers: list[BaseRetriever]
    weights: list[float] | None = None
    rank_constant: int = Field(default=60, description="k of the fusion formula")
    k: int = 4

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
        fused = reciprocal_rank_fusion(
            [[passage_key(d) for d in answer] for answer in answers],
            self.rank_constant,
            self.weights,
        )
        limit = self.k if k is None else k
        return [with_scores(found[key], rrf=score) for key, score in fused[:limit]]
