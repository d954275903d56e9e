import json
from pathlib import Path

import pytest

from benchmarks.pdf_text import main, plain, similarity
from tests.retrievers.pdf_files import make_pdf


def slow_similarity(one: str, other: str) -> float:
    """By the textbook's table."""
    row = [0] * (len(other) + 1)
    for a in one:
        above = row
        row = [0]
        for at, b in enumerate(other):
            row.append(above[at] + 1 if a == b else max(row[-1], above[at + 1]))
    return 2 * row[-1] / (len(one) + len(other))


@pytest.mark.parametrize(
    ("one", "other"), [("abcbdab", "bdcaba"), ("deer", "deer"), ("a", "b"), ("กวางป่า", "กวาง")]
)
def test_similarity_is_that_of_the_longest_common_subsequence(one: str, other: str) -> None:
    assert similarity(one, other) == pytest.approx(slow_similarity(one, other))


def test_markdown_is_evened_out() -> None:
    assert (
        plain("## A &amp; B\n\n| x | y |\n|---|---|\n<!-- image -->\n- “item”")
        == 'A & B x y "item"'
    )


def test_each_reader_is_compared_and_the_last_line_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no PDF with a reference" in capsys.readouterr().err
    (tmp_path / "deer.pdf").write_bytes(make_pdf([[b"The deer runs fast", b"over the hills."]]))
    (tmp_path / "deer.md").write_text("# The deer runs fast\n\nover the hills.", encoding="utf-8")
    (tmp_path / "alone.pdf").write_bytes(b"")
    assert main([str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(found["files"]) == ["deer"]
    assert {found["mean"][name] for name in ("ours", "pypdfium2", "pypdf")} == {1.0}
