"""BM25: scores equal to the formula, comparable between queries, saved and checked."""

import math
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from retrievers.artefact import ArtefactError
from retrievers.bm25 import K1, B, BM25Index, BM25Retriever

TEXTS = [
    "the goose hid a blue stone in its crop",
    "a red headed league copied the encyclopaedia",
    "the goose was sold by the dealer in the market",
    "nothing at all happens here",
]


def reference(rows: list[list[str]], query: list[str]) -> list[float]:
    """Lucene's BM25, written out."""
    mean = sum(map(len, rows)) / len(rows)
    scores = []
    for row in rows:
        score = 0.0
        for token in query:
            df = sum(token in other for other in rows)
            idf = math.log(1 + (len(rows) - df + 0.5) / (df + 0.5))
            tf = row.count(token)
            score += idf * tf / (tf + K1 * (1 - B + B * len(row) / mean))
        scores.append(score)
    return scores


def test_scores_are_those_of_the_formula() -> None:
    rows = [text.split() for text in TEXTS]
    index = BM25Index.build([str(i) for i in range(4)], rows)
    query = ["blue", "goose", "goose", "missing"]
    assert np.allclose(index.scores(query), reference(rows, query), atol=1e-5)


def test_ceiling_bounds_every_score_and_counts_words_no_passage_holds() -> None:
    rows = [text.split() for text in TEXTS]
    index = BM25Index.build([str(i) for i in range(4)], rows)
    assert 0 < index.scores(["blue", "stone"]).max() < index.ceiling(["blue", "stone"])
    assert index.ceiling(["blue", "zebra"]) > index.ceiling(["blue"]) + 1


def test_rows_without_tokens_and_queries_without_known_words_score_zero() -> None:
    index = BM25Index.build(["a", "b"], [[], ["x"]])
    assert index.scores(["x"])[0] == 0 and index.scores(["x"])[1] > 0
    assert not index.scores(["y"]).any() and not index.scores([]).any()
    assert index.top(["x"], 5) == [("b", float(index.scores(["x"])[1]))]
    assert index.top(["y"], 5) == index.top([], 5) == index.top(["x"], 0) == []
    assert not BM25Index.build(["a"], [[]]).scores(["x"]).any()
    assert len(BM25Index.build([], []).scores(["x"])) == 0


@pytest.mark.parametrize("rows", [[["a", "b"], ["b"], []], [[]], []])
def test_a_saved_index_scores_the_same(tmp_path: Path, rows: list[list[str]]) -> None:
    index = BM25Index.build([f"p{i}" for i in range(len(rows))], rows)
    index.save(tmp_path / "lexical")
    loaded = BM25Index.load(tmp_path / "lexical")
    assert loaded.ids == index.ids
    assert np.array_equal(loaded.scores(["b", "a"]), index.scores(["b", "a"]))
    assert loaded.ceiling(["b", "z"]) == index.ceiling(["b", "z"])


def test_two_builds_write_the_same_bytes(tmp_path: Path) -> None:
    rows = [text.split() for text in TEXTS]
    for name in ("one", "two"):
        BM25Index.build(["a", "b", "c", "d"], rows).save(tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("name", ["weights.npy", "sequence.npy", "tokens.json", "ids.json"])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    BM25Index.build(["a"], [["x", "y"]]).save(tmp_path / "lexical")
    file = tmp_path / "lexical" / name
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtefactError, match=name):
        BM25Index.load(tmp_path / "lexical")


def test_saving_over_an_index_replaces_it(tmp_path: Path) -> None:
    BM25Index.build(["a"], [["x"]]).save(tmp_path / "lexical")
    BM25Index.build(["b"], [["y"]]).save(tmp_path / "lexical")
    assert BM25Index.load(tmp_path / "lexical").ids == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["lexical"]


def random_rows(rng: np.random.Generator, rows: int, words: int) -> list[list[str]]:
    """Token lists in which a few words are everywhere and most are rare."""
    sizes = rng.integers(0, 30, rows)
    return [[f"w{int(w)}" for w in words * rng.random(size) ** 4] for size in sizes]


@pytest.mark.parametrize("seed", range(4))
def test_the_top_is_that_of_scoring_every_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 3000, 900)
    index = BM25Index.build([f"p{i}" for i in range(len(rows))], rows)
    for _ in range(60):
        query = [f"w{int(w)}" for w in rng.integers(0, 1000, rng.integers(1, 9))]
        scores, k = index.scores(query), int(rng.integers(1, 40))
        order = [row for row in np.argsort(-scores, kind="stable")[:k] if scores[row] > 0]
        expected = [(f"p{row}", float(scores[row])) for row in order]
        assert index.top(query, k, phrase=0) == expected
        some = [f"p{i}" for i in rng.choice(3000, 200, replace=False)]
        within = [(f"p{r}", float(scores[r])) for r in np.argsort(-scores, kind="stable")]
        kept = [(id_, score) for id_, score in within if id_ in set(some) and score > 0]
        assert index.top(query, k, among=[*some, "not held"], phrase=0) == kept[:k]
        assert np.array_equal(index.scores_of(query, some), [scores[int(i[1:])] for i in some])


def test_weighted_terms_count_by_their_weight() -> None:
    index = BM25Index.build(["a", "b", "c"], [["x", "y"], ["x"], ["y", "z"]])
    assert np.allclose(index.scores({"x": 2.0, "y": 1.0}), index.scores(["x", "x", "y"]))
    assert index.top({"z": 0.5, "unheard": 9.0}, 3)[0][0] == "c"


def test_words_that_follow_each_other_as_asked_come_first() -> None:
    apart = ["machine", "tools", "for", "the", "learning", "of", "many", "a", "trade"]
    near = ["many", "a", "trade", "of", "tools", "for", "machine", "learning", "the"]
    between = ["the", "tools", "for", "trade", "of", "machine", "aided", "learning", "many"]
    index = BM25Index.build(["apart", "near", "between"], [apart, near, between])
    query = ["machine", "learning"]
    assert [id_ for id_, _ in index.top(query, 3, phrase=0)] == ["apart", "near", "between"]
    found = index.top(query, 3, phrase=0.3)
    assert [id_ for id_, _ in found] == ["near", "between", "apart"]
    assert found[0][1] == found[1][1] > found[2][1] == index.scores(query)[0]


def test_the_end_of_one_passage_and_the_start_of_the_next_are_no_phrase() -> None:
    index = BM25Index.build(["a", "b", "c"], [["x"], ["y"], ["y", "x"]])
    assert dict(index.top(["x", "y"], 3, phrase=1)) == dict(index.top(["x", "y"], 3, phrase=0))


def test_the_tokens_of_a_passage_and_how_many_hold_each_are_told() -> None:
    index = BM25Index.build(["a", "b"], [["x", "y", "x"], ["x"]])
    assert index.terms("a") == ["x", "y", "x"] and index.terms("b") == ["x"]
    assert index.frequency(["x", "y", "z"]).tolist() == [2, 1, 0]


def test_titles_are_searched_and_scores_told() -> None:
    documents = [
        Document(id="a", page_content="It was in the crop.", metadata={"title": "Blue carbuncle"}),
        Document(id="b", page_content="It was in the bank.", metadata={"title": "Red league"}),
    ]
    hit = BM25Retriever.from_documents(documents, tokenizer=str.split, k=1).invoke("carbuncle")
    assert hit[0].id == "a" and hit[0].metadata["bm25"] > 0
    assert "bm25" not in documents[0].metadata


class TestBM25Retriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return BM25Retriever

    @property
    def retriever_constructor_params(self) -> dict[str, object]:
        documents = [Document(page_content=text) for text in TEXTS]
        built = BM25Retriever.from_documents(documents, tokenizer=str.split)
        return {"index": built.index, "docs": built.docs, "tokenizer": built.tokenizer}

    @property
    def retriever_query_example(self) -> str:
        return "the blue goose"
