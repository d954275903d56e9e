"""The benchmark of reading: every way reads the same passages."""

import json
from pathlib import Path

import pytest

from benchmarks.read_speed import main
from tests.retrievers.index_helpers import write_stories


def test_every_way_reads_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = write_stories(tmp_path, 2)
    assert main([str(docs), "--rounds", "1"]) == 0
    *rows, last = capsys.readouterr().out.strip().splitlines()
    report = json.loads(last)
    assert report["files"] == report["passages"] == 6 and len(report["seconds"]) >= 2
    assert all(row.rstrip(" |").endswith(" 6") for row in rows[2:])


def test_a_folder_without_documents_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("error: ") == 2
