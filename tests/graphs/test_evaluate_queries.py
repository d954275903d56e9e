"""Ways of planning a search are measured beside the question alone."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from graphs.errors import UserError
from graphs.evaluate.__main__ import main
from graphs.evaluate.beir import Corpus, Text
from graphs.evaluate.multihop import load_questions
from graphs.evaluate.query_given import QueriesGiven
from graphs.evaluate.query_side import run_queries
from graphs.evaluate.typos import misspelt
from tests.fakes import HashEmbeddings

FILM = ["Jaws (film)", ["Jaws is a film about a shark.", " Its director was Steven Spielberg."]]
MAN = [
    "Steven Spielberg",
    ["Steven Spielberg lived as a boy with his parents near Phoenix, Arizona."],
]
OTHERS = [[f"Town {n}", [f"In town {n} the city did grow."]] for n in
          range(40)]  # fmt: skip
HOTPOT = {
    "question": "In which city did the director of Jaws, the film about a shark, grow up?",
    "context": [FILM, MAN, *OTHERS],
    "supporting_facts": [["Jaws (film)", 1], ["Steven Spielberg", 0]],
}
MUSIQUE = {
    "question": "Where did the maker of Jaws grow up?",
    "paragraphs": [
        {"title": "A", "paragraph_text": "one", "is_supporting": True},
        {"title": "B", "paragraph_text": "two", "is_supporting": False},
    ],
}
SQUAD = {"question": "Who?", "title": "T", "context": "Ann did.", "answers": {"text": ["Ann"]}}


def written(folder: Path, *rows: Any, name: str = "questions.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_second_hop_finds_the_paragraph_that_the_question_does_not_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = QueriesGiven([written(tmp_path, HOTPOT)], as_json=True, cache=tmp_path, quiet=True)
    assert run_queries(given, HashEmbeddings()) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["question"]["all@10"] == 0.0
    assert report["bridge"]["all@10"] == 1.0 and report["bridge"]["gain"]["all@10"]["better"] == 1
    assert report["bridge"]["queries"] > 1 and report["bridge"]["embedded"] == 1
    assert report["settings"]["documents"] == 42


def test_the_table_names_every_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = QueriesGiven([written(tmp_path, HOTPOT)], cache=tmp_path, quiet=True)
    assert run_queries(given, HashEmbeddings()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 questions (train) over 42 passages of questions")
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| question", "| bridge"]


def test_all_layouts_are_pooled(tmp_path: Path) -> None:
    unanswerable = {**SQUAD, "context": "Nobody.", "answers": {"text": []}}
    first = written(tmp_path, HOTPOT, MUSIQUE)
    second = tmp_path / "more.jsonl.gz"
    second.write_bytes(gzip.compress(f"{json.dumps(SQUAD)}\n{json.dumps(unanswerable)}".encode()))
    corpus = load_questions([first, second])
    assert len(corpus.docs) == 42 + 2 + 2
    assert [len(grades) for grades in corpus.qrels.values()] == [2, 1, 1]
    assert corpus.name == "questions+more"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "?", "paragraphs": [{"title": "A"}]}, "line 1 is not in the layout"),
        ({"question": "?"}, "no question with its paragraphs"),
    ],
)
def test_another_layout_is_named(tmp_path: Path, row: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        load_questions([written(tmp_path, row)])


def test_an_unknown_plan_and_a_missing_file_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = QueriesGiven([written(tmp_path, HOTPOT)], plans="magic", cache=tmp_path, quiet=True)
    assert run_queries(given, HashEmbeddings()) == 2
    assert "there is no plan 'magic': choose among question" in capsys.readouterr().err
    assert main(["multihop", "--data", str(tmp_path / "none.jsonl"), "--quiet"]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_typos_change_that_many_long_words_and_repeat_under_a_seed() -> None:
    question = "Where was the precious carbuncle of 1890 hidden?"
    corpus = Corpus("c", "train", {"d": Text("", "x")}, {"q": question}, {"q": {"d": 1}})
    typed = misspelt(corpus, 2, seed=3).queries["q"]
    pairs = list(zip(typed.split(" "), question.split(" "), strict=True))
    assert 1 <= sum(one != other for one, other in pairs) <= 2
    assert typed == misspelt(corpus, 2, seed=3).queries["q"] and "1890 hidden?" in typed
    assert misspelt(corpus, 0, seed=3) is corpus
