"""Vectors of words in context: spans, late interaction, and the bounded memory of them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from retrievers.token_vectors import (
    LIGHT,
    Floats,
    TokenEncoder,
    TokenVectors,
    max_similarity,
    mean_vector,
    query_weights,
)
from tests.fakes import HashEmbeddings, WordEmbeddings


def floats(*rows: list[float]) -> Floats:
    return np.asarray(rows, dtype=np.float32)


def test_late_interaction_is_the_weighted_mean_of_each_word_s_best_cosine() -> None:
    asked = floats([1, 0], [0, 1])
    given = floats([1, 0], [0.6, 0.8])
    # best cosines 1 and 0.8, weighted 1 and 3: (1 * 1 + 3 * 0.8) / 4
    assert max_similarity(asked, np.asarray([1, 3], np.float32), given) == pytest.approx(0.85)


def test_late_interaction_is_not_symmetric() -> None:
    one, two = floats([1, 0]), floats([1, 0], [0, 1])
    assert max_similarity(one, np.asarray([1], np.float32), two) == pytest.approx(1.0)
    assert max_similarity(two, np.asarray([1, 1], np.float32), one) == pytest.approx(0.5)


def test_late_interaction_with_nothing_is_nothing() -> None:
    some, none = floats([1, 0]), np.zeros((0, 2), np.float32)
    assert max_similarity(some, np.asarray([1], np.float32), none) == 0.0
    assert max_similarity(none, np.zeros(0, np.float32), some) == 0.0


def test_the_mean_vector_has_length_one() -> None:
    assert mean_vector(floats([1, 0], [0, 1])) == pytest.approx([2**-0.5, 2**-0.5])


def test_the_mean_of_no_vectors_or_of_opposites_is_zero_and_not_nan() -> None:
    assert mean_vector(np.zeros((0, 3), np.float32)).tolist() == [0, 0, 0]
    assert mean_vector(floats([1, 0], [-1, 0])).tolist() == [0, 0]


def test_within_takes_whole_tokens_alone() -> None:
    spans = np.asarray([[0, 3], [4, 8], [8, 8], [8, 9]])
    held = TokenVectors(spans, floats([1, 0], [2, 0], [3, 0], [4, 0]))
    assert held.within(0, 9)[:, 0].tolist() == [1, 2, 4]
    assert held.within(0, 7)[:, 0].tolist() == [1]
    assert held.within(1, 8)[:, 0].tolist() == [2]
    assert held.within(9, 20).shape == (0, 2)


def test_token_embeddings_give_one_vector_a_word() -> None:
    text = "The blue  goose."
    found = TokenEncoder(WordEmbeddings()).encode(text)
    assert [text[a:b] for a, b in found.spans] == ["The", "blue", "goose"]
    assert (found.vectors @ found.vectors.T).tolist() == np.eye(3).tolist()


def test_other_embeddings_give_one_unit_vector_a_sentence() -> None:
    class Long(HashEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[3 * value for value in row] for row in super().embed_documents(texts)]

    text = "The goose is grey. The stone is blue."
    found = TokenEncoder(Long()).encode(text)
    assert [text[a:b] for a, b in found.spans] == ["The goose is grey.", "The stone is blue."]
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx([1, 1])
    expected = HashEmbeddings().embed_query("The goose is grey.")
    assert found.vectors[0] == pytest.approx(expected, abs=1e-6)


def test_blank_text_has_a_zero_vector_and_not_nan() -> None:
    found = TokenEncoder(HashEmbeddings()).encode("  ")
    assert not found.vectors.any() and np.isfinite(found.vectors).all()


def test_the_last_texts_are_remembered_and_older_ones_computed_again() -> None:
    embeddings = HashEmbeddings()
    encoder = TokenEncoder(embeddings, keep=2)
    for text in ("a", "b", "a", "c", "a", "b"):  # "b" is the oldest when "c" comes
        encoder.encode(text)
    assert embeddings.embedded == ["a", "b", "c", "b"]


def test_threads_get_the_vectors_of_their_own_text() -> None:
    encoder = TokenEncoder(HashEmbeddings(delay=0.001), keep=3)
    texts = [f"goose {n}" for n in range(8)] * 6
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(encoder.encode, texts))
    for text, vectors in zip(texts, found, strict=True):
        assert vectors.vectors[0] == pytest.approx(HashEmbeddings().embed_query(text), abs=1e-6)


def test_many_texts_are_encoded_as_one_by_one() -> None:
    texts = ["the goose", "the stone", "the goose"]
    many = TokenEncoder(HashEmbeddings()).encode_many(texts)
    for text, found in zip(texts, many, strict=True):
        alone = TokenEncoder(HashEmbeddings()).encode(text)
        assert found.vectors.tolist() == alone.vectors.tolist()


def test_half_precision_is_the_same_whether_remembered_or_new() -> None:
    encoder = TokenEncoder(HashEmbeddings(), half=True)
    new, remembered = encoder.encode("the goose"), encoder.encode("the goose")
    assert new.vectors.dtype == remembered.vectors.dtype == np.float32
    assert new.vectors.tolist() == remembered.vectors.tolist()
    exact = TokenEncoder(HashEmbeddings()).encode("the goose")
    assert new.vectors == pytest.approx(exact.vectors, abs=1e-3)


def test_function_words_count_little_and_rare_words_much() -> None:
    text = "Who is the goose?"
    asked = TokenEncoder(WordEmbeddings()).encode(text)
    assert query_weights(text, asked) == pytest.approx([LIGHT, LIGHT, LIGHT, 1])
    weights = query_weights(text, asked, lambda terms: [4.0 if t == "goos" else 2.0 for t in terms])
    assert weights == pytest.approx([LIGHT, LIGHT, LIGHT, 4])


def test_a_question_of_function_words_alone_counts_them_all() -> None:
    asked = TokenEncoder(WordEmbeddings()).encode("what is it")
    assert query_weights("what is it", asked).tolist() == [1, 1, 1]


def test_a_piece_of_a_word_weighs_as_the_word() -> None:
    text = "carbuncles!"
    asked = TokenVectors(np.asarray([[0, 3], [3, 10], [10, 11]]), np.eye(3, dtype=np.float32))
    weights = query_weights(text, asked, lambda terms: [7.0 for _ in terms])
    assert weights == pytest.approx([7, 7, LIGHT])
