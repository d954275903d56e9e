"""Late interaction: the same numbers as one passage at a time, rare words first, few passes."""

import numpy as np
import pytest
from langchain_core.documents import Document

from retrievers.rerank.late_interaction import LateInteractionReranker, late_interaction
from retrievers.token_vectors import TokenEncoder, max_similarity
from tests.fakes import HashEmbeddings, WordEmbeddings


def documents(*texts: str) -> list[Document]:
    return [Document(id=str(row), page_content=text) for row, text in enumerate(texts)]


def test_all_passages_at_once_score_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    asked = rng.normal(size=(5, 8)).astype(np.float32)
    weights = rng.random(5).astype(np.float32)
    passages = [rng.normal(size=(n, 8)).astype(np.float32) for n in (3, 0, 1, 7, 0)]
    expected = [max_similarity(asked, weights, passage) for passage in passages]
    assert late_interaction(asked, weights, passages) == pytest.approx(expected, abs=1e-5)


def test_nothing_asked_or_nothing_given_scores_zero() -> None:
    none = np.zeros((0, 4), np.float32)
    assert late_interaction(none, np.zeros(0, np.float32), [np.eye(4, dtype=np.float32)]) == [0]
    assert late_interaction(np.eye(4, dtype=np.float32), np.ones(4, np.float32), [none]) == [0]
    assert LateInteractionReranker(embeddings=WordEmbeddings()).compress_documents([], "x") == []


def test_the_passage_that_holds_the_words_comes_first() -> None:
    reranker = LateInteractionReranker(embeddings=WordEmbeddings(), top_n=2)
    found = reranker.compress_documents(
        documents("a red house", "the goose with a blue stone", "a blue door"), "blue stone"
    )
    assert [d.id for d in found] == ["1", "2"]
    assert found[0].metadata["rerank"] == pytest.approx(1.0, abs=1e-3)
    assert found[1].metadata["late_interaction"] == pytest.approx(0.5, abs=1e-3)


def test_a_rare_word_outweighs_common_ones() -> None:
    rarity = {"carbuncl": 9.0}
    reranker = LateInteractionReranker(
        embeddings=WordEmbeddings(), idf=lambda terms: [rarity.get(term, 1.0) for term in terms]
    )
    found = reranker.compress_documents(
        documents("large stone", "carbuncle"), "large stone carbuncle"
    )
    assert [d.id for d in found] == ["1", "0"]
    assert found[0].metadata["rerank"] == pytest.approx(9 / 11, abs=1e-3)


def test_a_passage_seen_before_is_not_computed_again() -> None:
    embeddings = HashEmbeddings()
    reranker = LateInteractionReranker(embeddings=embeddings, keep=4)
    given = documents("the goose", "the stone")
    first = reranker.compress_documents(given, "goose")
    computed = list(embeddings.embedded)
    assert reranker.compress_documents(given, "goose") == first
    assert embeddings.embedded == computed


def test_an_encoder_of_other_stages_shares_its_vectors() -> None:
    embeddings = HashEmbeddings()
    encoder = TokenEncoder(embeddings)
    given = Document(id="0", page_content="the goose", metadata={"title": "Of birds"})
    encoder.encode("the goose")
    reranker = LateInteractionReranker(
        embeddings=embeddings, encoder=encoder, text=lambda document: document.page_content
    )
    reranker.compress_documents([given], "goose")
    assert embeddings.embedded == ["the goose", "goose"]
