"""The benchmark of lexical search: its sets, its measures, and how it chooses weights."""

import json
from pathlib import Path

import pytest

from benchmarks import lexical
from benchmarks.lexical_sets import CODE, beir_set, code_set, paragraph_sets

PARAGRAPHS = [
    "The goose swallowed a blue stone, and the stone was found in its crop.",
    "The league of men with red hair met in Fleet Street every Saturday.",
    "A man with a twisted lip begged in Threadneedle Street.",
]
QUESTIONS = ["What did geese swallow?", "Which leagues did the red-haired men have?", "who begged"]


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    file = tmp_path / "holmes.jsonl"
    rows = [
        {"context": context, "question": question, "answers": {"text": ["x"]}}
        for context, question in zip(PARAGRAPHS, QUESTIONS, strict=True)
    ]
    rows.append({"context": PARAGRAPHS[0], "question": "Who hid it?", "answers": {"text": []}})
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def test_paragraphs_of_all_files_are_searched_for_the_questions_of_each(
    squad: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    row = {"context": "Elsewhere.", "question": "Where?", "answers": {"text": ["Elsewhere"]}}
    other.write_text(json.dumps(row), encoding="utf-8")
    holmes, elsewhere = paragraph_sets([squad, other])
    assert len(holmes.documents) == len(elsewhere.documents) == 4
    assert list(holmes.queries.values()) == QUESTIONS  # the one without an answer is left out
    assert elsewhere.qrels == {"0": {"p3": 1}}
    assert len(holmes.sample(2, seed=1).queries) == 2


def test_functions_are_asked_for_by_what_they_say_and_do_not_hold_it(tmp_path: Path) -> None:
    said = "Lay an egg in the nest. Then sit on it."
    long = f'def lay(nest):\n    """{said}"""\n    egg = 1\n    nest.add(egg)\n    return egg\n'
    (tmp_path / "goose.py").write_text(f"{long}\ndef short():\n    return 1\n", encoding="utf-8")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_goose.py").write_text(long, encoding="utf-8")
    found = code_set(tmp_path)
    assert found.name == CODE and found.queries == {"0": "Lay an egg in the nest"}
    code = "def lay(nest):\n    egg = 1\n    nest.add(egg)\n    return egg"
    assert [document.page_content for document in found.documents] == [code]


def test_quality_compares_our_search_with_plain_ones(
    squad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert lexical.main(["quality", "--paragraphs", str(squad), "--json", str(out)]) == 0
    report = json.loads(out.read_text(encoding="utf-8"))["holmes"]
    assert report["+ phrases: ours"]["recall@1"] == 1
    assert report["words between white space"]["recall@1"] < 1  # "geese" is not "goose" to it
    assert report["bm25s as it comes"]["gain"] == 0
    assert "| + phrases: ours" in capsys.readouterr().out


def test_tuning_takes_no_phrases_by_which_a_set_loses() -> None:
    points = [(1.2, 0.75, 0.0), (1.2, 0.75, 0.2), (1.2, 0.75, 0.5)]
    values = {"one": [0.5, 0.6, 0.9], "other": [0.5, 0.5, 0.4]}
    assert lexical._best(points, values) == (1.2, 0.75, 0.2)


def test_speed_asks_every_contender(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    (folder / "qrels").mkdir(parents=True)
    text = " ".join(f"goose{n % 37} stone{n}" for n in range(80))
    rows = [{"_id": str(n), "title": "", "text": f"{text} league{n}"} for n in range(5)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "goose1 league3"}', "utf-8")
    (folder / "qrels" / "test.tsv").write_text("a\tb\tc\nq\t3\t1\n", encoding="utf-8")
    assert beir_set(f"{folder}:test").qrels == {"q": {"3": 1}}
    out = tmp_path / "out.json"
    given = ["speed", "--beir", f"{folder}:test", "--sizes", "300", "--json", str(out)]
    assert lexical.main(given) == 0
    report = json.loads(out.read_text(encoding="utf-8"))["300"]
    assert set(report) == {"ours", "ours, no phrases", "ours, every row scored", "bm25s"}
    assert all(row["p50_ms"] <= row["p99_ms"] for row in report.values())


@pytest.mark.parametrize(
    ("given", "told"),
    [([], "nothing to ask"), (["--beir", "scifact"], "is not FOLDER:SPLIT")],
)
def test_what_is_missing_is_one_clear_line(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lexical.main(["quality", *given]) == 2
    assert told in capsys.readouterr().err
