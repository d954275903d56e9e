"""Vectors of the single tokens of a text, and where the tokens stand."""

from pathlib import Path

import numpy as np
import pytest

from llm_core.embeddings import LocalEmbeddings
from tests.tiny_models import random_text, write_bert


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


def test_token_vectors_point_at_their_characters(bert: Path) -> None:
    text = "The cat the"
    offsets, vectors = LocalEmbeddings(str(bert)).tokens_and_vectors(text)
    assert [text[a:b] for a, b in offsets] == ["The", "c", "a", "t", "the"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_every_token_of_a_long_text_has_a_vector(bert: Path) -> None:
    text = random_text(400, seed=1)
    offsets, vectors = LocalEmbeddings(str(bert)).tokens_and_vectors(text)
    assert len(offsets) == len(vectors) > 1000
    assert "".join(text[a:b] for a, b in offsets) == text.replace(" ", "")


def test_many_texts_have_the_token_vectors_of_each(bert: Path) -> None:
    model = LocalEmbeddings(str(bert), deterministic=True)
    texts = [random_text(400, seed=3), "The cat", "the cat the cat", ""]
    for text, (offsets, vectors) in zip(texts, model.many_tokens_and_vectors(texts), strict=True):
        alone_offsets, alone_vectors = model.tokens_and_vectors(text)
        assert offsets.tolist() == alone_offsets.tolist()
        assert vectors.tobytes() == alone_vectors.tobytes()
    assert model.many_tokens_and_vectors([]) == []


def test_token_spans_are_those_of_the_token_vectors(bert: Path) -> None:
    model, text = LocalEmbeddings(str(bert)), random_text(400, seed=2)
    offsets, _ = model.tokens_and_vectors(text)
    assert model.token_spans(text) == [(int(a), int(b)) for a, b in offsets]
