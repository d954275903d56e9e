"""Weights are fitted to put answers first and to tell a question's own documents from others."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.evidence import FEATURES, Scored
from agents.ranking import ANSWERABLE, Weights, answerability_facts
from graphs.fit_evidence import Sample, fit_answerable, fit_sentences, main
from tests.fakes import HashEmbeddings

ROOT = Path(__file__).parents[2]
MATCH, COSINE = FEATURES.index("sentence_match"), FEATURES.index("sentence_cosine")
BY_MATCH = np.eye(len(FEATURES))[MATCH]
PARAGRAPHS = {
    "Goose": "The blue carbuncle lay in the crop of a goose. Breckinridge sold the bird at night.",
    "Hat": "The hat of Mr Baker was found in the street. Its owner had foresight once.",
    "Snake": "The speckled band was a swamp adder. It came through the ventilator.",
    "Mill": "The wheel of the mill was built by Thomas Carr. Children fish there every summer.",
}
QUESTIONS = [
    ("Goose", "Where did the blue carbuncle lie?", ["in the crop of a goose"]),
    ("Hat", "Where was the hat of Mr Baker found?", ["in the street"]),
    ("Snake", "What was the speckled band?", ["a swamp adder"]),
    ("Mill", "Who built the wheel of the mill?", ["Thomas Carr"]),
    ("Mill", "Who painted the wheel of the mill?", []),
]


def rows_of(*columns: tuple[int, list[float]], noise: int) -> NDArray[np.float64]:
    """Features (N, F): small noise, and the given columns."""
    length = len(columns[0][1])
    rows = np.random.default_rng(noise).normal(0, 0.01, (length, len(FEATURES)))
    for column, values in columns:
        rows[:, column] = values
    return rows


def sample_of(rows: NDArray[np.float64], kind: str, holds: int | None = None) -> Sample:
    """A sample whose sentence number `holds` holds an answer."""
    spans = [(0, at, at + 1) for at in range(len(rows))]
    return Sample(Scored(spans, rows), [at == holds for at in range(len(rows))], kind)


def ranking_samples() -> list[Sample]:
    """Lists of 2 to 6 sentences; the answer has the best match and the worst cosine."""
    samples = []
    for number in range(20):
        length, holds = 2 + number % 5, number % (2 + number % 5)
        match = [0.3 + 0.05 * (at == holds) + 0.3 * (number % 2) for at in range(length)]
        cosine = [0.9 - 0.5 * (at == holds) for at in range(length)]
        rows = rows_of((MATCH, match), (COSINE, cosine), noise=number)
        samples.append(sample_of(rows, "own", holds))
    return samples


def answering_samples() -> list[Sample]:
    """Own questions match by about 0.7, questions of other documents by about 0.4."""
    levels = {"own": 0.7, "other": 0.4}
    return [
        sample_of(rows_of((MATCH, [0.1, level + 0.01 * number]), noise=number), kind)
        for number in range(8)
        for kind, level in levels.items()
    ]


def test_fitted_weights_put_the_sentence_with_the_answer_first() -> None:
    samples = ranking_samples()
    weights = fit_sentences(samples)
    assert weights.shape == (len(FEATURES),)
    for sample in samples:
        assert int((sample.scored.rows @ weights).argmax()) == sample.holds.index(True)
    assert weights[MATCH] > 0 > weights[COSINE]


def test_lists_that_cannot_be_ranked_teach_nothing_about_sentences() -> None:
    samples = ranking_samples()
    rows = rows_of((MATCH, [9.0, 0.0]), (COSINE, [9.0, 0.0]), noise=99)
    silent = [
        sample_of(rows, "own"),
        sample_of(rows, "other"),
        sample_of(rows, "adversarial", 1),
        Sample(Scored([(0, 0, 1)], rows[:1]), [True], "own"),
        sample_of(rows[:0], "own"),
    ]
    assert fit_sentences([*samples, *silent]).tolist() == fit_sentences(samples).tolist()


def test_own_questions_are_told_from_those_of_other_documents() -> None:
    samples = answering_samples()
    answerable, bias = fit_answerable(samples, BY_MATCH)
    assert tuple(answerable) == ANSWERABLE
    weights = Weights({}, answerable, bias)
    for sample in samples:
        facts = answerability_facts(sample.scored, sample.scored.rows @ BY_MATCH)
        likely = weights.probability(facts)
        assert likely > 0.9 if sample.kind == "own" else likely < 0.1


def test_searches_that_found_nothing_teach_nothing_about_answerability() -> None:
    samples = answering_samples()
    nothing = [sample_of(np.zeros((0, len(FEATURES))), kind) for kind in ("own", "other")]
    assert fit_answerable([*samples, *nothing], BY_MATCH) == fit_answerable(samples, BY_MATCH)


@pytest.mark.parametrize(("against", "likely"), [("other", 0.5), ("adversarial", 0.8)])
def test_questions_written_to_be_unanswerable_weigh_a_quarter(against: str, likely: float) -> None:
    rows = np.full((2, len(FEATURES)), 0.5)
    samples = [sample_of(rows, kind) for kind in ("own", against)]
    # nothing tells them apart: the share of the weight that is "own", 1 of 2 or 1 of 1.25
    fitted = Weights({}, *fit_answerable(samples, BY_MATCH))
    facts = answerability_facts(samples[0].scored, rows @ BY_MATCH)
    assert fitted.probability(facts) == pytest.approx(likely, abs=1e-4)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A file of questions in SQuAD layout."""
    path = tmp_path / "train.jsonl"
    lines = [
        json.dumps(
            {
                "id": str(number),
                "title": title,
                "question": question,
                "context": PARAGRAPHS[title],
                "answers": {"text": answers, "answer_start": [0] * len(answers)},
            }
        )
        for number, (title, question, answers) in enumerate(QUESTIONS)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fit_to(out: Path, *argv: str) -> int:
    return main([*argv, "--out", str(out)], embeddings=HashEmbeddings())


def read(out: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))["weights"]
    return held


def test_the_command_writes_weights_that_the_ranking_reads(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evidence.json"
    assert fit_to(out, f"en={questions}", "--seed", "3") == 0
    (entry,) = read(out).values()
    weights = Weights.from_json(entry)
    assert tuple(sorted(weights.evidence)) == tuple(sorted(FEATURES))
    assert set(weights.answerable) == set(ANSWERABLE)
    assert any(weights.evidence.values()) and any(weights.answerable.values())
    # all five of the file, not the limit
    assert entry["fitted_on"] == {"file": "train.jsonl", "questions": 5, "seed": 3}
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")  # no terminal, no progress


def test_the_same_seed_gives_the_same_file(questions: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "one.json", tmp_path / "two.json"]
    assert [fit_to(out, f"en={questions}", "--limit", "4") for out in outs] == [0, 0]
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert read(outs[0])["en"]["fitted_on"]["questions"] == 4


def test_other_languages_of_the_file_stay(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "evidence.json"
    thai = {"evidence": {"first": 1.0}, "answerable": {}, "bias": -1.0}
    out.write_text(json.dumps({"weights": {"th": thai, "en": {"bias": 7}}}), encoding="utf-8")
    assert fit_to(out, f"en={questions}") == 0
    held = read(out)
    assert held.keys() == {"en", "th"}
    assert held["th"] == thai
    assert held["en"]["evidence"].keys() == set(FEATURES)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_the_questions_of_each_language(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    assert fit_to(tmp_path / "out.json", f"en={questions}", f"th={questions}") == 0
    shown = screen.getvalue()
    assert "en questions" in shown and "th questions" in shown and "5/5" in shown


@pytest.mark.parametrize("held", [None, '{"weights": {"th": {}}}'])
@pytest.mark.parametrize("pair", ["en=missing.jsonl", "{questions}", "={questions}", "en="])
def test_a_pair_that_names_no_file_is_refused_before_any_work(
    pair: str,
    held: str | None,
    questions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "evidence.json"
    if held is not None:
        out.write_text(held, encoding="utf-8")
    embeddings = HashEmbeddings()
    given = pair.format(questions=questions)
    assert main([f"th={questions}", given, "--out", str(out)], embeddings=embeddings) == 2
    assert capsys.readouterr().err == (
        f"error: {given!r} is not LANGUAGE=FILE with a file that exists\n"
    )
    assert embeddings.embedded == []
    assert (out.read_text(encoding="utf-8") if out.exists() else None) == held


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no JSON\n", "line 1 is no question in SQuAD layout"),
        ("", "fewer than two titles"),
        ('{"title": "A", "question": "Who?", "context": "Ann."}\n', "fewer than two titles"),
        (
            '{"title": "A", "question": "Who?", "context": "Ann sat."}\n'
            '{"title": "B", "question": "Who?", "context": "Ben sat."}\n',
            "no sentence found",
        ),
    ],
)
def test_questions_that_tell_too_little_are_one_error_line(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "train.jsonl", tmp_path / "evidence.json"
    data.write_text(text, encoding="utf-8")
    assert fit_to(out, f"en={data}") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and reason in err and err.count("\n") == 1
    assert str(data) in err
    assert not out.exists()


@pytest.mark.parametrize("held", ["no JSON", "[]", '{"en": {}}', '{"weights": []}'])
def test_a_file_that_holds_something_else_is_left_alone(
    held: str, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evidence.json"
    out.write_text(held, encoding="utf-8")
    assert fit_to(out, f"en={questions}") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and str(out) in err and err.count("\n") == 1
    assert out.read_text(encoding="utf-8") == held


@pytest.mark.parametrize("name", [".", "no/such/folder.json"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    name: str, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embeddings = HashEmbeddings()
    argv = [f"en={questions}", "--out", str(tmp_path / name)]
    assert main(argv, embeddings=embeddings) == 2
    assert capsys.readouterr().err.startswith("error: --out ")
    assert embeddings.embedded == []


def test_the_command_line_ends_with_its_exit_code(tmp_path: Path) -> None:
    out = tmp_path / "evidence.json"
    command = [sys.executable, "-m", "graphs.fit_evidence", "en=missing.jsonl", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not out.exists()
