"""Hybrid search and the library over documents held in memory."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from retrievers.config import DenseStage, DiversityStage, LexicalStage, SearchConfig
from retrievers.cutoff import RelevanceCutoff
from retrievers.dense import DenseRetriever
from retrievers.pipeline import HybridRetriever, Library
from tests.fakes import HashEmbeddings

TEXTS = {
    "goose": [
        "Holmes looked at the goose.",
        "The blue carbuncle was in the crop of the goose.",
        "The goose was sold at the market.",
    ],
    "league": [
        "The league paid for copying an encyclopaedia.",
        "The bank lay behind the wall.",
    ],
}


def passages() -> list[Document]:
    return [
        Document(
            id=f"{name}:{row}",
            page_content=text,
            metadata={"source": f"{name}.txt", "doc_hash": name, "title": name},
        )
        for name, texts in TEXTS.items()
        for row, text in enumerate(texts)
    ]


PLAIN = SearchConfig(diversity=DiversityStage(strength=0))


def library(**options: object) -> Library:
    return Library.from_documents(passages(), HashEmbeddings(), tokenizer=str.split, **options)


def test_the_best_passage_comes_first_with_all_its_scores() -> None:
    best = library().search(["blue carbuncle crop"], k=2)[0]
    assert best.id == "goose:1"
    scores = {name: best.metadata[name] for name in ("bm25", "coverage", "dense", "fused")}
    assert all(isinstance(score, float) and score > 0 for score in scores.values())
    assert scores["coverage"] < 1 and scores["dense"] <= 1.0001
    assert "embedding" not in best.metadata and best.metadata["source"] == "goose.txt"


def test_scores_are_told_for_a_passage_only_one_ranking_found() -> None:
    one = PLAIN.model_copy(
        update={"lexical": LexicalStage(candidates=1), "dense": DenseStage(candidates=1)}
    )
    found = library(config=one).search(["goose market encyclopaedia"], k=9)
    embed = HashEmbeddings().embed_query
    for document in found:
        text = f"{document.metadata['title']}\n{document.page_content}"
        cosine = np.dot(embed("goose market encyclopaedia"), embed(text))
        assert document.metadata["dense"] == pytest.approx(cosine, abs=1e-5)


def test_several_queries_are_fused_and_repeats_count_once() -> None:
    held = library()
    found = {d.id for d in held.search(["blue carbuncle crop", "bank wall"], k=2)}
    assert found == {"goose:1", "league:1"}
    assert held.search(["bank wall"] * 3, k=3) == held.search(["bank wall"], k=3)


def test_blank_queries_and_an_empty_library_find_nothing() -> None:
    assert library().search([], k=3) == [] and library().search([" ", ""], k=3) == []
    assert Library.from_documents([], HashEmbeddings()).search(["goose"]) == []


def test_words_no_passage_holds_still_search_by_meaning() -> None:
    assert len(library().search(["zzz qqq"], k=3)) == 3


def test_cutoff_leaves_nothing_where_nothing_is_near() -> None:
    strict = library(cutoff=RelevanceCutoff(min_dense=0.9, min_coverage=0.9))
    assert strict.search(["zzz qqq"], k=3) == []


def test_diversity_drops_a_repetition() -> None:
    copy = Document(id="copy", page_content=TEXTS["goose"][1], metadata={"title": "goose"})
    twice = [*passages(), copy]
    plain = HybridRetriever.from_documents(
        twice, HashEmbeddings(), tokenizer=str.split, config=PLAIN, k=2
    )
    varied = plain.model_copy(
        update={"config": SearchConfig(diversity=DiversityStage(strength=0.8))}
    )
    query = "goose The blue carbuncle was in the crop"
    assert {d.id for d in plain.invoke(query)} == {"goose:1", "copy"}
    assert len({d.page_content for d in varied.invoke(query)}) == 2


def test_passages_are_given_by_id_in_the_order_asked() -> None:
    held = library()
    assert [d.id for d in held.get(["league:0", "nobody", "goose:2"])] == ["league:0", "goose:2"]


def test_neighbours_stay_within_the_document() -> None:
    held = library()
    assert [d.id for d in held.neighbours("goose:1")] == ["goose:0", "goose:2"]
    assert [d.id for d in held.neighbours("goose:2", before=2, after=2)] == ["goose:0", "goose:1"]
    assert [d.id for d in held.neighbours("goose:1", before=0)] == ["goose:2"]
    assert held.neighbours("nobody") == []


def test_manifest_names_content_and_model() -> None:
    held = library().manifest()
    assert (held["documents"], held["passages"], held["embedding"]) == (2, 5, "hash-1")
    other = Library.from_documents(passages()[:-1], HashEmbeddings(), tokenizer=str.split)
    assert held["index"] == library().manifest()["index"] != other.manifest()["index"]


def test_searches_in_many_threads_agree() -> None:
    held = library()
    queries = ["blue carbuncle", "bank wall", "goose market", "encyclopaedia"] * 8
    alone = [held.search([query], k=3) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda query: held.search([query], k=3), queries)) == alone


def test_a_passage_without_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an id"):
        Library.from_documents([Document(page_content="x")], HashEmbeddings())


class TestHybridRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return HybridRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, object]:
        built = HybridRetriever.from_documents(passages(), HashEmbeddings(), tokenizer=str.split)
        return {name: getattr(built, name) for name in ("lexical", "vectors", "fetch")} | {
            "embeddings": built.embeddings,
            "tokenizer": built.tokenizer,
        }

    @property
    def retriever_query_example(self) -> str:
        return "blue goose"


class TestDenseRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return DenseRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, object]:
        built = DenseRetriever.from_documents(passages(), HashEmbeddings())
        return {"index": built.index, "fetch": built.fetch, "embeddings": built.embeddings}

    @property
    def retriever_query_example(self) -> str:
        return "blue goose"
