"""Corpora in BEIR layout and the figures of a ranking."""

import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from graphs.errors import UserError
from graphs.evaluate.beir import load_beir
from graphs.evaluate.ir_metrics import bootstrap_interval, measure, ndcg, recall, reciprocal_rank

DOCS = [
    {"_id": "a", "title": "Goose", "text": "The stone was in its crop."},
    {"_id": "b", "title": "", "text": "The bank lay behind the wall."},
    {"_id": "c", "text": "Nothing of note."},
]
QUERIES = [{"_id": "1", "text": "where was the stone"}, {"_id": "2", "text": "unjudged"}]
QRELS = "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n"


def write(folder: Path, files: Mapping[str, str] | None = None, *, packed: bool = False) -> Path:
    """A corpus of three documents; `files` replaces the content of corpus, queries or qrels."""
    given = files or {}
    contents = {
        "corpus.jsonl": given.get("corpus", "".join(json.dumps(d) + "\n" for d in DOCS)),
        "queries.jsonl": given.get("queries", "".join(json.dumps(q) + "\n" for q in QUERIES)),
        "qrels/test.tsv": given.get("qrels", QRELS),
    }
    (folder / "qrels").mkdir(parents=True)
    for name, text in contents.items():
        place = folder / (f"{name}.gz" if packed else name)
        place.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_a_corpus_is_read_plain_and_compressed(tmp_path: Path, packed: bool) -> None:
    corpus = load_beir(write(tmp_path / "geese", packed=packed))
    assert corpus.name == "geese" and list(corpus.docs) == ["a", "b", "c"]
    assert corpus.queries == {"1": "where was the stone"}  # the other one has no judgement
    assert corpus.qrels["1"] == {"a": 2, "b": 0}
    first = corpus.documents()[0]
    assert (first.id, first.metadata["title"]) == ("a", "Goose")


def test_the_same_seed_draws_the_same_questions(tmp_path: Path) -> None:
    queries = "".join(json.dumps({"_id": str(n), "text": f"goose {n}"}) + "\n" for n in range(40))
    qrels = "".join(f"{n}\ta\t1\n" for n in range(40))  # no heading
    corpus = load_beir(write(tmp_path / "geese", {"queries": queries, "qrels": qrels}))
    assert len(corpus.queries) == 40
    assert corpus.sample(5, 1).queries == corpus.sample(5, 1).queries
    assert corpus.sample(5, 1).queries != corpus.sample(5, 2).queries
    assert corpus.sample(5, 1).digest() != corpus.digest()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"corpus": '{"_id": "a", "text": "x"}\n{"_id": '}, "corpus.jsonl line 2 is not JSON"),
        ({"corpus": "[1]\n"}, "corpus.jsonl line 1 is no JSON object"),
        ({"corpus": '{"_id": "a"}\n'}, "has no text under 'text'"),
        ({"qrels": "1\ta\n"}, "is not 'query-id TAB corpus-id TAB score'"),
        ({"qrels": "1\ta\tinf\n1\ta\tinf\n"}, "line 2 is not 'query-id TAB corpus-id TAB score'"),
        ({"qrels": "9\ta\t1\n"}, "judges the question '9', which queries.jsonl lacks"),
        ({"qrels": "1\ta\t0\n"}, "names no relevant document"),
    ],
)
def test_a_file_in_another_layout_is_named_with_its_line(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_beir(write(tmp_path / "geese", files))


def test_what_is_missing_is_named_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        load_beir(tmp_path / "nowhere")
    folder = write(tmp_path / "geese")
    with pytest.raises(UserError, match=r"no qrels/dev.tsv: give --split test"):
        load_beir(folder, "dev")
    (folder / "queries.jsonl").unlink()
    with pytest.raises(UserError, match=r"has no queries.jsonl and no queries.jsonl.gz"):
        load_beir(folder)


def test_a_compressed_file_cut_short_is_one_clear_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "geese", packed=True)
    file = folder / "corpus.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(UserError, match="copy it again"):
        load_beir(folder)


def test_figures_of_a_ranking_are_those_of_the_formulas() -> None:
    grades = {"a": 2, "b": 1, "c": 0}
    ranked = ["x", "b", "c", "a"]
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert ndcg(ranked, grades, 10) == pytest.approx((1 / math.log2(3) + 2 / math.log2(5)) / ideal)
    assert ndcg(["a", "b"], grades, 10) == 1.0
    assert recall(ranked, grades, 3) == 0.5 and recall([], {}, 3) == 0.0
    assert reciprocal_rank(ranked, grades, 10) == 0.5
    assert reciprocal_rank(ranked, grades, 1) == 0.0
    assert set(measure(ranked, grades).values()) == {
        ndcg(ranked, grades, 10),
        0.0,
        1.0,
        0.5,
    }


def test_a_document_that_a_ranking_repeats_counts_once() -> None:
    grades = {"a": 1, "b": 1}
    assert measure(["a", "a", "a", "b"], grades) == measure(["a", "b"], grades)
    assert ndcg(["a", "a"], {"a": 1}, 10) == 1.0
    assert recall(["x", "x", "x", "a"], grades, 2) == 0.5


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    marked = "\ufeff" + "".join(json.dumps(doc) + "\n" for doc in DOCS)
    assert list(load_beir(write(tmp_path / "geese", {"corpus": marked})).docs) == ["a", "b", "c"]


def test_an_interval_holds_the_mean_and_narrows_with_more_questions() -> None:
    few, many = [0.0, 1.0] * 10, [0.0, 1.0] * 1000
    low, high = bootstrap_interval(few, 7)
    assert low < 0.5 < high and bootstrap_interval(few, 7) == (low, high)
    narrow = bootstrap_interval(many, 7)
    assert low < narrow[0] < 0.5 < narrow[1] < high
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval([], 7)
