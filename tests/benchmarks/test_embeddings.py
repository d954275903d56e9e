"""The embeddings benchmark: its table, its verdict and its refusals."""

from typing import Any

import pytest

from benchmarks.embeddings import lines, main, missed

TIMES = (1, 2, 4)


def report(**changes: Any) -> dict[str, Any]:
    names = ("sentence-transformers float32", "sentence-transformers bfloat16", "ours")
    rate = {name: [10.0 * times, 11.0 * times] for times, name in zip(TIMES, names, strict=True)}
    return {
        "machine": {"processor": "a processor", "date": "2026-01-01"},
        "threads": 2,
        "texts": 10,
        "characters": 4000,
        "rate": {"wall": rate, "cpu": rate},
        "cosine": dict.fromkeys(names, 0.9999),
        "warning": None,
        **changes,
    }


def test_the_table_has_ratios_round_by_round() -> None:
    text = "\n".join(lines(report()))
    assert "10 paragraphs of 400 characters" in text
    assert "4.00 [4.00-4.00]x" in text and "2.00 [2.00-2.00]x" in text
    assert "4.00x sentence-transformers float32: must be 2.5x, aim 3.3x" in text


def test_too_slow_or_too_far_from_the_reference_is_a_miss() -> None:
    assert not missed(report())
    rate = report()["rate"]["wall"]
    assert missed(report(rate={"wall": {**rate, "ours": [20.0, 21.0]}}))
    assert missed(report(cosine={**report()["cosine"], "ours": 0.9}))


def test_a_text_with_too_few_paragraphs_is_one_line(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("One paragraph.\n\nAnother.")
    assert main(["--text", str(path)]) == 2
    assert capsys.readouterr().err.startswith("error: the text has 0 paragraphs")
