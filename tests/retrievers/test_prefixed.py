"""Embeddings with prefixes: what reaches the model, and where the prefixes come from."""

import asyncio
import json
from pathlib import Path

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from retrievers.dense import embedding_name
from retrievers.errors import RetrievalError
from retrievers.prefixed import CONFIG, PrefixedEmbeddings, Prefixes, prefixes_of


class Listening(Embeddings):
    """Keeps what it is asked to embed."""

    def __init__(self, model: str = "") -> None:
        self.model_name = model
        self.heard: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.heard += texts
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        self.heard.append(text)
        return [0.0, 1.0]


def test_queries_and_passages_get_their_own_prefix() -> None:
    inner = Listening()
    outer = PrefixedEmbeddings(
        embeddings=inner, query_prefix="query: ", document_prefix="passage: "
    )
    assert outer.embed_query("goose") == [0.0, 1.0]
    assert outer.embed_documents(["a", "b"]) == [[1.0, 0.0], [1.0, 0.0]]
    asyncio.run(outer.aembed_query("stone"))
    asyncio.run(outer.aembed_documents(["c"]))
    assert inner.heard == ["query: goose", "passage: a", "passage: b", "query: stone", "passage: c"]


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("intfloat/e5-base-v2", "query: ", "passage: "),
        ("intfloat/multilingual-e5-small", "query: ", "passage: "),
        ("/models/e5-small/", "query: ", "passage: "),
        ("nomic-ai/nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("BAAI/bge-m3", "", ""),
        ("sentence-transformers/all-MiniLM-L6-v2", "", ""),
        ("all-minilm:base5-x", "", ""),
        ("", "", ""),
    ],
)
def test_families_are_known_by_name(name: str, query: str, document: str) -> None:
    assert prefixes_of(name) == Prefixes(query, document)


def test_only_queries_of_bge_are_introduced() -> None:
    outer = PrefixedEmbeddings.of(Listening("BAAI/bge-small-en-v1.5"))
    assert outer.query_prefix.startswith("Represent this sentence")
    assert outer.document_prefix == ""


@pytest.mark.parametrize("document", ["passage", "document"])
def test_the_prompts_of_the_model_come_before_its_name(tmp_path: Path, document: str) -> None:
    folder = tmp_path / "e5-tuned"
    folder.mkdir()
    prompts = {"query": "ask> ", document: "read> ", "classification": "sort> "}
    (folder / CONFIG).write_text(json.dumps({"prompts": prompts}), encoding="utf-8")
    assert prefixes_of(folder) == Prefixes("ask> ", "read> ")
    (folder / CONFIG).write_text('{"prompts": {}, "default_prompt_name": null}', encoding="utf-8")
    assert prefixes_of(str(folder)) == Prefixes("query: ", "passage: ")


@pytest.mark.parametrize("content", ["{", "[]", '{"prompts": ["query: "]}'])
def test_a_damaged_configuration_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / CONFIG).write_text(content, encoding="utf-8")
    with pytest.raises(RetrievalError, match=CONFIG):
        prefixes_of(tmp_path)


def test_vectors_with_prefixes_are_not_taken_for_those_without() -> None:
    inner = DeterministicFakeEmbedding(size=4)
    plain = PrefixedEmbeddings(embeddings=inner)
    asked = PrefixedEmbeddings(embeddings=inner, query_prefix="query: ")
    told = PrefixedEmbeddings(embeddings=inner, document_prefix="query: ")
    assert embedding_name(plain) == embedding_name(inner)
    assert len({embedding_name(inner), embedding_name(asked), embedding_name(told)}) == 3
