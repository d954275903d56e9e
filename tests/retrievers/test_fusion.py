"""Fusion by ranks and by scores: the formulas, ties, weights, and the retriever over them."""

import numpy as np
import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from retrievers.errors import RetrievalError
from retrievers.fusion import (
    FusionRetriever,
    Normalisation,
    normalised,
    reciprocal_rank_fusion,
    weighted_fusion,
)


class Listed(BaseRetriever):
    """Returns its documents whatever is asked."""

    documents: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.documents


def scored(id_: str, **metadata: float) -> Document:
    return Document(id=id_, page_content=f"text {id_}", metadata=metadata)


def listed(*ids: str, **metadata: float) -> Listed:
    return Listed(documents=[scored(id_, **metadata) for id_ in ids])


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


def test_normalised_scores_stand_on_one_scale() -> None:
    assert normalised([2, 6, 4], "minmax").tolist() == [0, 1, 0.5]
    assert normalised([2, 8, 4], "max").tolist() == [0.25, 1, 0.5]
    assert normalised([1, 3], "zscore").tolist() == [-1, 1]
    assert normalised([3, 5], "none").tolist() == [3, 5]
    with pytest.raises(ValueError, match="no normalisation 'softmax'"):
        normalised([1], "softmax")  # type: ignore[arg-type]  # a name that does not exist


@pytest.mark.parametrize(("how", "alike"), [("minmax", 1), ("zscore", 0), ("max", 1)])
def test_scores_that_are_all_alike_do_not_divide_by_zero(how: Normalisation, alike: float) -> None:
    assert normalised([7, 7, 7], how).tolist() == [alike] * 3
    assert normalised([], how).tolist() == []


def test_weighted_fusion_adds_up_normalised_scores() -> None:
    lexical, dense = [("a", 10.0), ("b", 5.0), ("c", 0.0)], [("b", 0.9), ("c", 0.7), ("d", 0.5)]
    fused = dict(weighted_fusion([lexical, dense], [1, 2]))
    assert fused == pytest.approx({"b": 0.5 + 2, "a": 1, "c": 0 + 1, "d": 0})
    assert list(fused) == ["b", "a", "c", "d"]


def test_weighted_fusion_tells_a_narrow_lead_from_a_wide_one_which_ranks_do_not() -> None:
    near = [("b", 1.0), ("a", 0.99), ("c", 0.0)]
    sure = [("a", 9.0), ("c", 1.0), ("b", 0.0)]
    assert weighted_fusion([near, sure])[0][0] == "a"
    assert weighted_fusion([near, sure], [3, 1], "max")[0][0] == "a"


def test_a_key_a_ranking_lacks_gets_its_least_score() -> None:
    fused = dict(weighted_fusion([[("a", 1.0), ("b", 3.0)], [("c", 1.0)]], None, "zscore"))
    assert fused == pytest.approx({"a": -1, "b": 1, "c": -1})


def test_weighted_fusion_of_nothing_and_of_repeats() -> None:
    assert weighted_fusion([]) == [] and weighted_fusion([[], []]) == []
    assert weighted_fusion([[("a", 1.0), ("a", 4.0), ("b", 2.0)]], None, "none") == [
        ("a", 4.0),
        ("b", 2.0),
    ]
    with pytest.raises(ValueError, match="1 weights for 2 rankings"):
        weighted_fusion([[("a", 1.0)], []], [1])


def test_the_retriever_fuses_scores_when_it_knows_their_names() -> None:
    first = Listed(documents=[scored("a", bm25=9.0), scored("b", bm25=1.0)])
    second = Listed(documents=[scored("b", dense=0.9), scored("c", dense=0.1)])
    fusion = FusionRetriever(retrievers=[first, second], scores=["bm25", "dense"], weights=[1, 2])
    found = fusion.invoke("anything")
    assert [d.id for d in found] == ["b", "a", "c"]
    assert found[0].metadata == {"bm25": 1.0, "dense": 0.9, "fused": pytest.approx(2.0)}


def test_a_hit_without_the_score_named_is_told() -> None:
    hit = Document(id="a", page_content="text a", metadata={"bm25": np.float32(2.0)})
    part = Listed(documents=[hit])
    assert FusionRetriever(retrievers=[part], scores=["bm25"]).invoke("goose")
    with pytest.raises(RetrievalError, match="no number 'bm26'"):
        FusionRetriever(retrievers=[part], scores=["bm26"]).invoke("goose")


def test_the_retriever_wants_one_weight_and_one_score_name_each() -> None:
    with pytest.raises(ValueError, match="1 weights for 2 retrievers"):
        FusionRetriever(retrievers=[listed("a"), listed("b")], weights=[1])
    with pytest.raises(ValueError, match="1 scores for 2 retrievers"):
        FusionRetriever(retrievers=[listed("a"), listed("b")], scores=["bm25"])


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
