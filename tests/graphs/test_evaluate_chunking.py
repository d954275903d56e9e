"""The study of ways of cutting, on a small file of questions and with vectors of words."""

import json
from pathlib import Path

import pytest

from graphs.errors import UserError
from graphs.evaluate.__main__ import main
from graphs.evaluate.chunking import Asked, Setting, articles, plot, study
from graphs.squad import Example
from tests.fakes import WordEmbeddings
from tests.retrievers.test_chunkers import words

FIRST = "The bell tower is tall. It was built in 1520 by monks. Its bell weighs two tons."
SECOND = "A river runs behind it. Boats carried salt on that river for centuries."
EXAMPLES = [
    Example("1", "Tower", "When was the tower built?", FIRST, ("1520",)),
    Example("2", "Tower", "What did boats carry?", SECOND, ("salt",)),
    Example("3", "Tower", "Who painted it?", FIRST, ()),
    Example("4", "Bread", "What makes bread?", "Bread is made of flour and water.", ("flour",)),
]


def test_paragraphs_of_a_title_are_one_document_and_evidence_is_the_sentence() -> None:
    documents, asked = articles(EXAMPLES)
    assert [d.pages[0].text for d in documents] == [
        f"{FIRST}\n\n{SECOND}",
        "Bread is made of flour and water.",
    ]
    text = documents[0].pages[0].text
    assert [text[slice(*a.evidence)] for a in asked[:2]] == [
        "It was built in 1520 by monks.",
        "Boats carried salt on that river for centuries.",
    ]
    assert [text[slice(*a.answer)] for a in asked[:2]] == ["1520", "salt"]
    assert isinstance(asked[2], Asked) and len(asked) == 3


def test_every_setting_is_asked_the_same_questions(tmp_path: Path) -> None:
    wanted = [Setting("structure", 60, 0), Setting("parent-child", 60, 0), Setting("token", 60, 0)]
    rows = list(study(EXAMPLES, None, wanted, WordEmbeddings(), tokens=words, seed=0))
    assert [row["strategy"] for row in rows] == ["structure", "parent-child", "token"]
    assert all(row["questions"] == 3 for row in rows)
    assert all(row["recall@5"] == 1.0 for row in rows)
    assert all(row["evidence@3000"] >= row["evidence@1500"] > 0 for row in rows)
    plot(rows, tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes()[:4] == b"\x89PNG"


def test_answers_that_are_nowhere_leave_nothing_to_study() -> None:
    with pytest.raises(UserError, match="nothing to study"):
        list(study(EXAMPLES[2:3], None, [], WordEmbeddings(), tokens=words, seed=0))


@pytest.mark.model
def test_the_command_prints_every_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dev.jsonl"
    file.write_text(
        "\n".join(
            json.dumps(
                {
                    "id": e.id,
                    "title": e.title,
                    "question": e.question,
                    "context": e.context,
                    "answers": {"text": list(e.answers)},
                }
            )
            for e in EXAMPLES
        )
    )
    common = ["chunking", "--data", str(file), "--sizes", "100", "--cache", str(tmp_path), "-q"]
    assert main([*common, "--strategies", "structure,token", "--overlaps", "0", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["settings"]
    assert [row["recall@5"] for row in rows] == [1.0, 1.0]
    assert main([*common, "--strategies", "pages"]) == 2
    assert "'pages' is no way of cutting" in capsys.readouterr().err
    assert main([*common, "--overlaps", "some"]) == 2
    assert "--overlaps 'some' is no list of numbers" in capsys.readouterr().err
