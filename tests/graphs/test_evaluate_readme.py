"""The README table made from results."""

import json
from pathlib import Path
from typing import Any

import pytest

from graphs.evaluate.__main__ import main
from graphs.evaluate.scoring import Reply, Sentence, Spent, Task, score
from graphs.evaluate.summary import summarise
from graphs.evaluate.tables import END, START
from graphs.squad import Example

EXAMPLE = Example("q1", "Goose", "Where?", "In a goose.", ("goose",))
SPENT = Spent(seconds=1.25, cpu_seconds=1.0, peak_mb=512.4)


def figures(answer: str, *, cites: bool) -> dict[str, Any]:
    reply = Reply(
        answer,
        abstained=False,
        retrieved=[],
        citations=[] if cites else None,
        sentences=[Sentence((), composed=False)] if cites else None,
    )
    return summarise([score(0, Task(EXAMPLE, EXAMPLE.answers, True), reply, SPENT)], seed=0)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    report = {
        "ours": figures("A goose.", cites=True),
        "baseline": figures("A hat.", cites=False),
        "quoting": figures("A goose.", cites=True),
        "settings": {
            "data": "dev.jsonl.gz",
            "limit": 1,
            "seed": 3,
            "corpus": "paragraphs",
            "docs": [],
            "answers_apply": True,
            "model": "smollm2-135m",
            "base_url": None,
        },
    }
    file = tmp_path / "results.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    return file


def readme(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "README.md"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_table_replaces_what_stands_between_the_markers(results: Path, tmp_path: Path) -> None:
    file = readme(tmp_path, f"# Title\n\n{START}\nstale\n{END}\n\nThe end.\n")
    assert main(["readme", str(results), "--readme", str(file)]) == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"# Title\n\n{START}\n1 question of dev.jsonl.gz over")
    assert text.endswith(f"{END}\n\nThe end.\n") and "stale" not in text
    lines = text.splitlines()
    assert "|  | Deerstalker | two quotes | plain chain |" in lines
    assert "| answer hit | 100 % (100–100) | 100 % (100–100) | 0 % (0–0) |" in lines
    assert "| dangling citations | 0 | 0 | – |" in lines
    assert "| seconds a question, median | 1.25 | 1.25 | 1.25 |" in lines
    assert "| peak memory, MB | 512 | 512 | 512 |" in lines
    assert not any("AUROC" in line for line in lines)  # no system gave a probability
    command = "`python -m graphs.evaluate qa --data dev.jsonl.gz --limit 1 --seed 3"
    assert f"{command} --model smollm2-135m --baseline`" in lines


def test_several_results_make_several_tables_and_a_second_time_nothing_new(
    results: Path, tmp_path: Path
) -> None:
    file = readme(tmp_path, f"{START}\n{END}\n")
    argv = ["readme", str(results), str(results), "--readme", str(file)]
    assert main(argv) == 0
    text = file.read_text(encoding="utf-8")
    assert text.count("| answer hit |") == 2
    assert main(argv) == 0 and file.read_text(encoding="utf-8") == text
    assert main([*argv, "--check"]) == 0


def test_check_tells_an_old_table_and_changes_nothing(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = readme(tmp_path, f"{START}\nstale\n{END}\n")
    assert main(["readme", str(results), "--readme", str(file), "--check"]) == 2
    assert "does not show these results" in capsys.readouterr().err
    assert "stale" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["", START, f"{END}\n{START}", f"{START}{START}{END}"])
def test_a_file_without_its_markers_is_one_line(
    results: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = readme(tmp_path, text)
    assert main(["readme", str(results), "--readme", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and START in err and err.count("\n") == 1
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"ours": {}}'])
def test_a_file_without_results_is_one_line(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = readme(tmp_path, f"{START}\n{END}\n")
    results = tmp_path / "bad.json"
    if text is not None:
        results.write_text(text, encoding="utf-8")
    assert main(["readme", str(results), "--readme", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "bad.json" in err and err.count("\n") == 1
