"""Maximal marginal relevance: against LangChain's own, and as a document compressor."""

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from retrievers.mmr import MaximalMarginalRelevance, mmr
from tests.fakes import HashEmbeddings


@pytest.mark.parametrize("lambda_", [0.3, 0.5, 0.8, 1.0])
def test_it_chooses_what_langchain_chooses(lambda_: float) -> None:
    rng = np.random.default_rng(3)
    # Non-negative vectors: LangChain starts likeness at the cosine, we at zero.
    query, vectors = rng.random(12), rng.random((30, 12))
    theirs = maximal_marginal_relevance(query, list(vectors), lambda_mult=lambda_, k=10)
    assert mmr(query, vectors, 10, lambda_) == theirs


def test_given_relevance_takes_the_place_of_the_cosine() -> None:
    vectors = np.eye(3)
    assert mmr(None, vectors, 2, 0.5, relevance=[0.1, 0.9, 0.5]) == [1, 2]


def test_a_repetition_comes_last() -> None:
    vectors = np.asarray([[1, 0], [1, 0], [0.6, 0.8]])
    assert mmr([1, 0.1], vectors, 3, 0.5) == [0, 2, 1]


def test_edges() -> None:
    assert mmr([1, 0], np.zeros((0, 2)), 3) == []
    assert mmr([1, 0], np.eye(2), 0) == []
    assert sorted(mmr([1, 0], np.eye(2), 9)) == [0, 1]
    with pytest.raises(ValueError, match="query_vec or relevance"):
        mmr(None, np.eye(2), 1)


def test_the_compressor_keeps_different_documents() -> None:
    texts = ["blue stone goose", "blue stone goose", "blue stone bank"]
    documents = [Document(id=str(i), page_content=text) for i, text in enumerate(texts)]
    compressor = MaximalMarginalRelevance(embeddings=HashEmbeddings(), k=2, lambda_=0.3)
    kept = compressor.compress_documents(documents, "blue stone goose")
    assert [d.id for d in kept] == ["0", "2"]
    assert compressor.compress_documents([], "x") == []
