"""Rerankers: order, names of the scores, what a wrong model is told, and use in LangChain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from retrievers.rerank.cross_encoder import CrossEncoderReranker
from retrievers.rerank.likelihood import LikelihoodReranker
from retrievers.rerank.neighbours import NeighbourSmoothing, smoothed
from retrievers.rerank.scored import RerankError
from tests.fakes import WordEmbeddings


class SharedWords(BaseCrossEncoder):
    """Scores a pair by the words both texts hold, and notes how many pairs each call had."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        self.calls.append(len(text_pairs))
        return [float(len(set(a.split()) & set(b.split()))) for a, b in text_pairs]


class Listed(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.documents


TEXTS = ("a red house", "blue stone in a goose", "blue goose")


def documents(*texts: str, **metadata: Any) -> list[Document]:
    return [Document(id=str(n), page_content=t, metadata=metadata) for n, t in enumerate(texts)]


def test_a_cross_encoder_orders_in_batches() -> None:
    model = SharedWords()
    reranker = CrossEncoderReranker(model=model, batch=2)
    found = reranker.compress_documents(documents(*TEXTS), "blue stone")
    assert [d.id for d in found] == ["1", "2", "0"] and model.calls == [2, 1]
    assert found[0].metadata == {"rerank": 2.0, "cross_encoder": 2.0}


def test_a_cross_encoder_reads_the_title_too() -> None:
    given = [*documents("of old"), Document(id="t", page_content="of new", metadata={"title": "x"})]
    assert CrossEncoderReranker(model=SharedWords()).compress_documents(given, "x")[0].id == "t"


def test_it_works_inside_langchain_s_compression_retriever() -> None:
    retriever = ContextualCompressionRetriever(
        base_compressor=CrossEncoderReranker(model=SharedWords(), top_n=1),
        base_retriever=Listed(documents=documents(*TEXTS)),
    )
    assert [d.id for d in retriever.invoke("blue stone")] == ["1"]


@pytest.mark.parametrize(("given", "message"), [([1.0], "1 scores for 3"), ([1, 2, np.nan], "not")])
def test_a_model_that_gives_no_usable_score_is_named(given: list[float], message: str) -> None:
    def score(query: str, passages: Sequence[str]) -> list[float]:
        return given

    with pytest.raises(RerankError, match=f"likelihood gave .*{message}"):
        LikelihoodReranker(score=score).compress_documents(documents(*TEXTS), "blue")


def test_likelihood_reads_no_more_than_it_is_told_and_orders() -> None:
    read: list[str] = []

    def score(query: str, passages: Sequence[str]) -> list[float]:
        read.extend(passages)
        return [-3.0, -1.0, -2.0]

    reranker = LikelihoodReranker(score=score, longest=5, top_n=2)
    found = reranker.compress_documents(documents(*TEXTS), "blue")
    assert read == ["a red", "blue ", "blue "]
    assert [(d.id, d.metadata["likelihood"]) for d in found] == [("1", -1.0), ("2", -2.0)]
    assert reranker.compress_documents([], "blue") == []


def test_equal_scores_keep_the_order() -> None:
    reranker = LikelihoodReranker(score=lambda _, passages: [0.0] * len(passages))
    assert [d.id for d in reranker.compress_documents(documents(*TEXTS), "x")] == ["0", "1", "2"]


def test_smoothing_by_hand() -> None:
    # rows 0 and 1 are alike (cosine 1), row 2 stands alone: at a right angle nothing is shared
    vectors = [[1, 0], [2, 0], [0, 1]]
    # minmax: 1, 0, 0.5
    assert smoothed([3, 1, 2], vectors, 0.4) == pytest.approx([0.6, 0.4, 0.3])


def test_smoothing_takes_the_nearest_neighbours_alone() -> None:
    vectors = [[1, 0], [0.9, 0.1], [0.6, 0.8], [0.5, 0.9]]
    scores = smoothed([0, 1, 0.2, 0.4], vectors, 1.0, neighbours=1)
    assert scores == pytest.approx([1, 0, 0.4, 0.2])


def test_smoothing_switched_off_or_without_company_changes_no_order() -> None:
    assert smoothed([1, 3, 2], np.eye(3), 0).tolist() == [0, 1, 0.5]
    assert smoothed([5], [[1, 0]]).tolist() == [1] and smoothed([], []).tolist() == []


def test_a_passage_among_good_company_rises() -> None:
    given = documents("blue goose", "blue goose stone", "red house", "blue goose bank")
    for document, score in zip(given, (1.0, 0.9, 0.55, 0.5), strict=True):
        document.metadata["fused"] = score
    smoothing = NeighbourSmoothing(embeddings=WordEmbeddings(), share=0.5)
    found = smoothing.compress_documents(given, "goose")
    assert [d.id for d in found][2:] == ["3", "2"]
    assert found[0].metadata["rerank"] == found[0].metadata["neighbours"]


def test_smoothing_names_a_document_without_a_score() -> None:
    with pytest.raises(RerankError, match="document '0' has no number 'fused'"):
        NeighbourSmoothing(embeddings=WordEmbeddings()).compress_documents(documents("x"), "x")
    assert NeighbourSmoothing(embeddings=WordEmbeddings()).compress_documents([], "x") == []
