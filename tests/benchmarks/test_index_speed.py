"""The indexing benchmark: its questions, its hits, and one small round of our own way."""

import gzip
import json
from pathlib import Path

import pytest

from benchmarks.index_speed import Question, difference, main, ranks, recalls, write_pages

FAQ = "Title\n\nWhy is it so?\n\nBecause of\nthe wind.\n\nReally?\n\nIs it?\n\nIt is not."


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    file = tmp_path / "pages.jsonl.gz"
    rows = [
        {"_id": "docs:a.html", "title": "A", "text": "What is that?\n\nA page."},
        {"_id": "docs:faq/b.html", "title": "B", "text": FAQ},
    ]
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    return file


def test_question_headings_leave_the_faq_and_become_the_questions(
    tmp_path: Path, pages: Path
) -> None:
    questions = write_pages(pages, tmp_path / "docs", None)
    assert questions == [
        Question("Why is it so?", "Because of the wind."),
        Question("Is it?", "It is not."),
    ]
    written = {file.name: file.read_text() for file in (tmp_path / "docs").rglob("*.txt")}
    assert written == {
        "docs_a.txt": "What is that?\n\nA page.",
        "b.txt": "Title\n\nBecause of\nthe wind.\n\nIt is not.",
    }


def test_fewer_pages_are_those_with_questions(tmp_path: Path, pages: Path) -> None:
    write_pages(pages, tmp_path / "docs", 1)
    assert [file.name for file in (tmp_path / "docs").rglob("*.txt")] == ["b.txt"]


def test_a_hit_holds_the_beginning_of_the_answer_in_any_white_space() -> None:
    questions = [Question("?", "Because of the wind."), Question("?", "It is not.")]
    found = [["no", "x Because\nof the  wind. y"], ["It is", "nothing"]]
    assert ranks(found, questions) == [2, 0]
    assert recalls([2, 0]) == {"recall@1": 0, "recall@5": 0.5, "recall@10": 0.5, "mrr@10": 0.25}


def test_the_interval_of_a_difference_holds_its_mean_and_repeats_with_its_seed() -> None:
    ours, theirs = [1, 1, 2, 0, 1, 3, 1, 1], [1, 2, 0, 0, 3, 3, 0, 1]
    found = difference(ours, theirs, seed=1)
    assert found == difference(ours, theirs, seed=1)
    assert all(low <= mean <= high for mean, low, high in found.values())
    assert found["recall@10"][0] == pytest.approx(2 / 8)


def test_a_rival_that_is_missing_is_one_line(
    tmp_path: Path, pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(pages), "--python", str(tmp_path / "python"), "--rounds", "1"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
