"""Settings of a search, its trace, filters and rerankers: each stage does what it is set to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import Field, ValidationError

from retrievers.config import (
    ConfigError,
    DenseStage,
    DiversityStage,
    FusionStage,
    LexicalStage,
    RerankStage,
    SearchConfig,
    parse_config,
    read_config,
)
from retrievers.filters import FilterError
from retrievers.fusion import normalised
from retrievers.pipeline import HybridRetriever, Library
from retrievers.query.plan import Query, QueryExpander, QueryPlanner
from retrievers.trace import trace_table
from tests.fakes import HashEmbeddings

TEXTS = [
    "The goose was sold at the market in town.",
    "The blue carbuncle was in the crop of the goose.",
    "A letter lay behind the sliding panel.",
    "The bank lay behind the wall of the cellar.",
    "Holmes looked at the goose and smiled.",
]
OFF = DiversityStage(strength=0)


def documents() -> list[Document]:
    return [
        Document(id=f"p{n}", page_content=text, metadata={"year": 2020 + n})
        for n, text in enumerate(TEXTS)
    ]


def retriever(**options: Any) -> HybridRetriever:
    return HybridRetriever.from_documents(documents(), HashEmbeddings(), **options)


def ids(found: Sequence[Document]) -> list[str]:
    return [document.id or "" for document in found]


class Prefers(BaseDocumentCompressor):
    """Gives each document a score by how often it holds a word, and notes what it saw."""

    word: str
    seen: list[list[str]] = Field(default_factory=list)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        self.seen.append(ids(documents))
        for document in documents:
            document.metadata["rerank"] = float(document.page_content.count(self.word))
        return sorted(documents, key=lambda d: -d.metadata["rerank"])


class Also(QueryExpander):
    """Asks one more query."""

    query: Query

    def expand(self, question: str) -> list[Query]:
        return [self.query]


# ------------------------------------------------------------------ settings


def test_settings_are_read_from_json_and_yaml(tmp_path: Path) -> None:
    wanted = SearchConfig(fusion=FusionStage(method="scores"), lexical=LexicalStage(weight=2))
    (tmp_path / "a.json").write_text('{"fusion": {"method": "scores"}, "lexical": {"weight": 2}}')
    (tmp_path / "a.yaml").write_text("fusion:\n  method: scores\nlexical:\n  weight: 2\n")
    (tmp_path / "none.yaml").write_text("# the defaults\n")
    assert read_config(tmp_path / "a.json") == wanted == read_config(tmp_path / "a.yaml")
    assert read_config(tmp_path / "none.yaml") == SearchConfig()
    assert parse_config(json.loads(wanted.model_dump_json())) == wanted


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "fusion: {methods: ranks}", r"a.yaml: fusion.methods: Extra inputs"),
        ("a.yaml", "dense: {candidates: 0}", r"dense.candidates: .* greater than or equal to 1"),
        ("a.yaml", "[1", "neither JSON nor YAML"),
        ("a.json", "{", "is not JSON"),
        ("a.yaml", "7", "the whole"),
    ],
)
def test_settings_that_cannot_be_used_name_the_field(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "nowhere.yaml")


def test_settings_never_change_and_unknown_fields_of_the_search_are_refused() -> None:
    with pytest.raises(ValidationError):
        SearchConfig().dense.weight = 3  # type: ignore[misc]  # frozen: that is the point
    with pytest.raises(ValidationError, match="Extra inputs"):
        retriever(diversity=0)


def test_a_weight_of_zero_turns_a_ranking_off() -> None:
    words = retriever(config=SearchConfig(dense=DenseStage(weight=0), diversity=OFF))
    found = words.invoke("carbuncle")
    assert ids(found) == ["p1"] and "dense" not in found[0].metadata
    meaning = retriever(config=SearchConfig(lexical=LexicalStage(weight=0), diversity=OFF))
    assert len(meaning.invoke("carbuncle")) == len(TEXTS)


@pytest.mark.parametrize("method", ["ranks", "scores"])
def test_both_ways_of_fusion_put_the_best_of_both_rankings_first(method: str) -> None:
    config = parse_config({"fusion": {"method": method}, "diversity": {"strength": 0}})
    found = retriever(config=config).invoke("blue carbuncle crop goose")
    assert found[0].id == "p1"
    fused = [document.metadata["fused"] for document in found]
    assert fused == sorted(fused, reverse=True)


# ------------------------------------------------------------------ plan, filter, rerank


def test_a_candidate_of_one_ranking_has_its_score_in_the_other_one_too() -> None:
    """Only with the score of every ranking can the scores be added fairly."""
    config = parse_config(
        {
            "lexical": {"candidates": 1, "phrase": 0, "weight": 1},
            "dense": {"candidates": 5, "weight": 1},
            "fusion": {"normalisation": "minmax"},
            "smoothing": {"share": 0},
            "diversity": {"strength": 0},
        }
    )
    held = retriever(config=config)
    _, trace = held.traced("goose market letter", k=1)
    stages = {stage.stage: dict(stage.items) for stage in trace.stages}
    assert len(stages["words"]) == 1 and len(stages["fusion"]) == len(TEXTS)
    words = held.lexical.scores_of(held.tokenizer("goose market letter"), [*stages["vectors"]])
    near = [scores["dense"] for scores in stages["vectors"].values()]
    expected = dict(zip(stages["vectors"], normalised(words) + normalised(near), strict=True))
    assert {id_: scores["fused"] for id_, scores in stages["fusion"].items()} == pytest.approx(
        expected
    )


def test_alike_candidates_vouch_for_one_another() -> None:
    twins = [
        Document(id="a", page_content="goose crop stone ruby"),
        Document(id="b", page_content="goose crop stone pearl"),
        Document(id="c", page_content="goose thief ladder moon"),
        Document(id="d", page_content="nothing at all"),
    ]
    found = {}
    for share in (0.0, 0.9):
        config = parse_config({"smoothing": {"share": share}, "diversity": {"strength": 0}})
        held = HybridRetriever.from_documents(twins, HashEmbeddings(), config=config)
        found[share] = ids(held.invoke("goose thief stone pearl"))
    assert found[0.0].index("c") < found[0.0].index("a")
    assert found[0.9].index("a") < found[0.9].index("c")


def test_queries_of_the_plan_count_with_their_weight_and_feed_their_ranking() -> None:
    config = SearchConfig(dense=DenseStage(weight=0), diversity=OFF)
    also = Query("panel letter", weight=9.0, kind="variant", dense=False)
    planned = retriever(planner=QueryPlanner(expanders=[Also(query=also)]), config=config)
    found = planned.invoke("carbuncle")
    assert ids(found)[:2] == ["p2", "p1"]
    assert found[0].metadata["bm25"] == 0.0  # scores are against the question as it was asked
    silent = also.__class__("panel letter", kind="variant", lexical=False)
    assert ids(
        retriever(planner=QueryPlanner(expanders=[Also(query=silent)]), config=config).invoke(
            "carbuncle"
        )
    ) == ["p1"]


def test_a_filter_leaves_only_what_it_lets_through() -> None:
    found = retriever(where={"year": {"$gte": 2022}}).invoke("goose")
    assert set(ids(found)) == {"p2", "p3", "p4"} and found[0].id == "p4"
    assert retriever(where={"year": 1900}).invoke("goose") == []
    with pytest.raises(FilterError, match="give it `select`"):
        retriever(where={"year": 2020}, select=None).invoke("goose")


def test_rerankers_judge_the_first_candidates_and_the_rest_stays_behind() -> None:
    judge = Prefers(word="letter")
    config = SearchConfig(rerank=RerankStage(depth=3, weight=5), diversity=OFF)
    plain = ids(retriever(config=config).invoke("the goose behind the letter"))
    found = retriever(rerankers=[judge], config=config).invoke("the goose behind the letter")
    assert judge.seen == [plain[:3]]
    assert found[0].id == "p2" and sorted(ids(found)[:3]) == sorted(plain[:3])
    assert ids(found)[3:] == plain[3:]
    fused = [document.metadata["fused"] for document in found]
    assert fused == sorted(fused, reverse=True)


def test_a_depth_or_weight_of_zero_leaves_the_rerankers_out() -> None:
    judge = Prefers(word="letter", seen=[])
    for stage in (RerankStage(depth=0), RerankStage(weight=0)):
        retriever(rerankers=[judge], config=SearchConfig(rerank=stage)).invoke("goose")
    assert judge.seen == []


# ------------------------------------------------------------------ trace


def test_a_trace_tells_what_every_stage_returned() -> None:
    held = Library.from_documents(
        documents(), HashEmbeddings(), rerankers=[Prefers(word="goose")], where={"year": 2021}
    )
    found, trace = held.search_traced("where was the blue carbuncle", k=2)
    assert ids(found) == ids(held.search(["where was the blue carbuncle"], k=2)) == ["p1"]
    assert [stage.stage for stage in trace.stages] == [
        "plan",
        "filter",
        "embed",
        "words",
        "vectors",
        "fusion",
        "smoothing",
        "rerank",
        "diversity",
    ]
    stages = {stage.stage: stage for stage in trace.stages}
    assert [id_ for id_, _ in stages["words"].items] == ["p1"]
    assert stages["rerank"].items[0][1].keys() == {"fused", "Prefers"}
    assert all(stage.seconds >= 0 for stage in trace.stages)
    assert trace.seconds == pytest.approx(sum(stage.seconds for stage in trace.stages))


def test_a_trace_is_json_and_a_table() -> None:
    _, trace = retriever().traced("blue carbuncle", k=2)
    values = json.loads(json.dumps(trace.as_json()))
    assert values["question"] == "blue carbuncle"
    assert values["plan"]["queries"][0]["kind"] == "question"
    words = next(stage for stage in values["stages"] if stage["stage"] == "words")
    assert words["items"][0]["id"] == "p1" and words["items"][0]["bm25"] > 0
    table = trace.table(shown=1, names={"p1": "goose.txt"})
    assert table == trace_table(values, 1, {"p1": "goose.txt"})
    assert "1. goose.txt  bm25" in table and "fusion" in table and "question: blue" in table


def test_a_question_that_finds_nothing_has_an_empty_trace() -> None:
    found, trace = retriever().traced("  ")
    assert found == [] and trace.stages == () and trace.as_json()["plan"] == {}
