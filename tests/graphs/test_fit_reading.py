"""Fitting the search for questions that an embedding model cannot read."""

import json
from pathlib import Path

import numpy as np
import pytest

from graphs.fit_reading import best, main, options, report
from tests.fakes import HashEmbeddings

LATIN = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(150)]
THINGS = ["แม่น้ำ", "ช้าง", "มะม่วง", "ภูเขา", "ทะเล", "โรงเรียน", "ตลาด", "วัด"]


def write_questions(folder: Path) -> Path:
    rows = [
        {
            "context": f"{thing}อยู่ในประเทศไทย",
            "question": f"{thing}อยู่ที่ไหน",
            "answers": {"text": ["ไทย"]},
        }
        for thing in THINGS
    ]
    rows.append(
        {"context": "The goose held it.", "question": "Who?", "answers": {"text": ["goose"]}}
    )
    file = folder / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def test_the_figures_of_a_model_join_what_the_file_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "search.json"
    out.write_text('{"choice": {"late": 1}, "reading": {"other": {"choice": {}}}}')
    argv = ["--data", str(write_questions(tmp_path)), "--language", "th", "--out", str(out)]
    argv += ["--folds", "2", "--quiet"]
    assert main(argv, embeddings=HashEmbeddings(), vocabulary=LATIN) == 0
    held = json.loads(out.read_text(encoding="utf-8"))
    assert held["choice"] == {"late": 1} and held["reading"].pop("other") == {"choice": {}}
    (fitted,) = held["reading"].values()
    assert fitted == json.loads(capsys.readouterr().out)
    assert fitted["choice"]["scripts"] in (["latin"], None)
    assert fitted["fitted_on"]["questions"] == len(THINGS)
    figures = fitted["figures"]["recall@1"]
    assert figures["gain"] == pytest.approx(figures["fitted"] - figures["all_as_read"], abs=2e-4)


def test_the_first_of_equal_options_is_chosen_and_changes_nothing() -> None:
    assert options(["latin"])[0].scripts is None
    assert best(np.ones((3, 4))) == 0
    assert best(np.asarray([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])) == 1


def test_an_option_is_judged_by_questions_it_was_not_chosen_on() -> None:
    scores = np.zeros((2, 10))
    scores[1, 0] = 1.0  # only the fold without question 0 sees no reason to change
    assert report(scores, 5, 0)["gain"] == 0.0
    scores[1] = 1.0
    assert report(scores, 5, 0)["gain"] == 1.0


@pytest.mark.parametrize(
    ("extra", "vocabulary", "message"),
    [
        (["--language", "th"], [*LATIN, *(t[0] + a for t in THINGS for a in "กขคงจฉชซญฐ" * 20)],
         "the model has words for these questions in 'th'"),
        (["--language", "th", "--folds", "20"], LATIN, "8 questions do not fill --folds 20"),
        (["--language", "fi"], LATIN, "no question in 'fi'"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_one_line(
    extra: list[str],
    vocabulary: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["--data", str(write_questions(tmp_path)), "--out", str(tmp_path / "o.json"), "--quiet"]
    assert main([*argv, *extra], embeddings=HashEmbeddings(), vocabulary=vocabulary) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_a_file_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "notes.json"
    out.write_text("[1]")
    argv = ["--data", str(write_questions(tmp_path)), "--language", "th", "--out", str(out)]
    assert main([*argv, "--quiet"], embeddings=HashEmbeddings(), vocabulary=LATIN) == 2
    assert "holds no figures" in capsys.readouterr().err and out.read_text() == "[1]"
