"""Reciprocal rank fusion: the formula, ties, weights, and the retriever over it."""

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from retrievers.fusion import FusionRetriever, reciprocal_rank_fusion


class Listed(BaseRetriever):
    """Returns its documents whatever is asked."""

    documents: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.documents


def listed(*ids: str, **metadata: float) -> Listed:
    return Listed(
        documents=[Document(id=id_, page_content=f"text {id_}", metadata=metadata) for id_ in ids]
    )


def test_shares_add_up_over_rankings() -> None:
    fused = dict(reciprocal_rank_fusion([["a", "b"], ["b", "c"]], k=60))
    assert fused == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62})
    assert list(fused) == ["b", "a", "c"]


def test_weights_change_the_order() -> None:
    assert [key for key, _ in reciprocal_rank_fusion([["a"], ["b"]], weights=[1, 2])] == ["b", "a"]


def test_ties_keep_the_order_of_first_meeting() -> None:
    assert [key for key, _ in reciprocal_rank_fusion([["b", "a"], ["a", "b"]])] == ["b", "a"]


def test_a_repeated_key_counts_once_at_its_better_rank() -> None:
    fused = dict(reciprocal_rank_fusion([["a", "a", "b"]], k=0))
    assert fused == pytest.approx({"a": 1.0, "b": 0.5})


def test_no_rankings_give_nothing_and_wrong_weights_are_told() -> None:
    assert reciprocal_rank_fusion([]) == [] and reciprocal_rank_fusion([[], []]) == []
    with pytest.raises(ValueError, match="1 weights for 2 rankings"):
        reciprocal_rank_fusion([["a"], ["b"]], weights=[1])


def test_the_retriever_joins_the_scores_of_its_parts() -> None:
    fusion = FusionRetriever(retrievers=[listed("a", "b", bm25=2.0), listed("b", dense=0.5)], k=2)
    best, second = fusion.invoke("anything")
    assert (best.id, second.id) == ("b", "a")
    assert best.metadata == {"bm25": 2.0, "dense": 0.5, "rrf": pytest.approx(1 / 62 + 1 / 61)}


class TestFusionRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return FusionRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, object]:
        return {"retrievers": [listed("a", "b", "c"), listed("c", "d")]}

    @property
    def retriever_query_example(self) -> str:
        return "anything"
