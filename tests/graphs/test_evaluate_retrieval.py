"""The retrieval command: contenders over a small corpus with judgements."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphs.evaluate.given import RetrievalGiven, ThaiGiven
from graphs.evaluate.retrieval import run_retrieval, run_thai
from graphs.evaluate.retrieval_report import Ranking
from graphs.evaluate.rows import RowFile
from tests.fakes import HashEmbeddings

WORDS = [
    "stone",
    "goose",
    "bank",
    "wall",
    "league",
    "panel",
    "photograph",
    "letter",
    "cellar",
    "market",
    "crop",
    "tunnel",
]


def corpus(folder: Path) -> Path:
    """Twelve documents, each about one word, and a question for each."""
    (folder / "qrels").mkdir(parents=True)
    docs = [
        {"_id": f"d{n}", "title": "", "text": f"The {word} of case {n}. Nothing else was seen."}
        for n, word in enumerate(WORDS)
    ]
    queries = [{"_id": f"q{n}", "text": f"which case had a {w}"} for n, w in enumerate(WORDS)]
    for name, rows in {"corpus": docs, "queries": queries}.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    lines = [f"q{n}\td{n}\t1" for n in range(len(WORDS))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["a\tb\tc", *lines]) + "\n")
    return folder


def given(folder: Path, **options: object) -> RetrievalGiven:
    places = {"data": folder / "cases", "work": folder / "work", "cache": folder / "vectors"}
    return RetrievalGiven(**{**places, "quiet": True, "as_json": True, **options})  # type: ignore[arg-type]  # a test's own options


def report_of(captured: str) -> dict[str, dict[str, Any]]:
    return json.loads(captured)  # type: ignore[no-any-return]  # JSON


def test_every_contender_gets_figures_intervals_and_a_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus(tmp_path / "cases")
    picture = tmp_path / "plot.png"
    assert run_retrieval(given(tmp_path, plot=picture), HashEmbeddings()) == 0
    report = report_of(capsys.readouterr().out)
    for name in ("ours", "bm25", "dense", "ensemble", "plain_bm25"):
        figures = report[name]
        assert {"ndcg@10", "recall@5", "recall@100", "mrr@10", "ms"} <= figures.keys()
        assert figures["questions"] == len(WORDS)
    assert report["bm25"]["ndcg@10"] == 1.0 == report["bm25"]["recall@5"]
    assert report["differences"].keys() == {"bm25", "dense", "ensemble", "plain_bm25"}
    assert report["settings"]["documents"] == len(WORDS)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_asks_the_same_questions_and_keeps_what_was_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus(tmp_path / "cases")
    model = HashEmbeddings()
    options = {"limit": 5, "seed": 3, "systems": "bm25,dense"}
    reports = []
    for _ in range(2):
        assert run_retrieval(given(tmp_path, **options), model) == 0
        reports.append(report_of(capsys.readouterr().out))
        asked = len(model.embedded)
    assert reports[0] == reports[1]  # the times too: nothing was asked again
    assert len(model.embedded) == asked
    assert reports[0]["ours"]["questions"] == 5 and "ensemble" not in reports[0]


def test_an_ablation_adds_one_stage_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus(tmp_path / "cases")
    options = given(tmp_path, ablation=True, systems="bm25", limit=4)
    assert run_retrieval(options, HashEmbeddings()) == 0
    report = report_of(capsys.readouterr().out)
    stages = ["fused by ranks", "fused by scores", "+ smoothing", "+ late interaction"]
    assert list(report["ablation"]) == stages
    assert all(part["questions"] == 4 for part in report["ablation"].values())
    assert report["differences"].keys() == {"bm25", *stages} and "+ smoothing" not in report


def test_paragraphs_are_searched_for_the_questions_of_one_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thai = ["แม่น้ำเจ้าพระยาไหลผ่านกรุงเทพ", "ช้างเป็นสัตว์ประจำชาติไทย", "ข้าวเหนียวนิยมกินกับมะม่วง"]
    asked = ["แม่น้ำเจ้าพระยาไหลผ่านที่ไหน", "สัตว์ประจำชาติไทยคืออะไร", "มะม่วงกินกับอะไร"]
    rows = [(text, question, "x") for text, question in zip(thai, asked, strict=True)]
    rows += [("The goose held the stone.", "What did the goose hold?", "stone")]
    rows += [("ไม่มีคำตอบ", "คำถามนี้ไม่มีคำตอบ", "")]
    file = tmp_path / "questions.jsonl"
    lines = [
        {"context": c, "question": q, "answers": {"text": [a] if a else []}} for c, q, a in rows
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    options = ThaiGiven(
        [file], quiet=True, as_json=True, work=tmp_path / "work", cache=tmp_path / "vectors"
    )
    assert run_thai(options, HashEmbeddings()) == 0
    report = report_of(capsys.readouterr().out)
    assert (report["settings"]["documents"], report["settings"]["questions"]) == (5, 3)
    assert report["bm25"]["recall@1"] == 1.0 and report["words_bm25"]["recall@1"] == 0.0
    assert run_thai(replace(options, language="fi")) == 2
    assert "no question in 'fi'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"split": "dev"}, "has no qrels/dev.tsv: give --split test"),
        ({"systems": "bm26"}, "there is no system 'bm26'"),
        ({"limit": 0}, "--limit 0 asks nothing"),
        ({"plot": Path("nowhere") / "plot.xyz"}, "cannot draw"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object], line: str
) -> None:
    corpus(tmp_path / "cases")
    model = HashEmbeddings()
    assert run_retrieval(given(tmp_path, **options), model) == 2
    said = capsys.readouterr()
    assert not model.embedded and not (tmp_path / "work").exists()  # told before the work
    assert said.out == "" and said.err.startswith("error: ") and line in said.err


def test_the_ensemble_is_that_of_langchain_over_the_same_halves(tmp_path: Path) -> None:
    from langchain_classic.retrievers.ensemble import EnsembleRetriever

    from graphs.evaluate.beir import load_beir
    from graphs.evaluate.contenders import DEPTH, _bm25, _dense, build_contender, index_corpus

    documents = load_beir(corpus(tmp_path / "cases")).documents()
    shared = index_corpus(documents, HashEmbeddings(), lambda *_: None)
    theirs = EnsembleRetriever(retrievers=[_bm25(shared), _dense(shared)], weights=[0.5, 0.5])
    for word in WORDS[:4]:
        expected = [d.id for d in theirs.invoke(f"which case had a {word}")][:DEPTH]
        assert build_contender("ensemble", shared)(f"which case had a {word}") == expected


def test_ids_that_no_file_can_spell_are_kept_and_read_again(tmp_path: Path) -> None:
    for _ in range(2):
        file: RowFile[Ranking] = RowFile(tmp_path, "bm25", Ranking)
        file.begin({"program": "1"})
        known = dict(file.rows)
        file.add(Ranking(0, "q\u2028\ud800", {"mrr@10": 1.0}, 1.0, 1.0, ["d\x85"]))
    assert known == file.rows


def test_a_table_is_printed_without_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus(tmp_path / "cases")
    assert run_retrieval(given(tmp_path, as_json=False), HashEmbeddings()) == 0
    said = capsys.readouterr()
    assert "12 questions (test) over 12 documents of cases" in said.out
    assert "ensemble" in said.out and said.err == ""
