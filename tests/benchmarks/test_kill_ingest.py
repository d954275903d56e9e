"""The kill test of indexing: how its files change, and what it finds left of them."""

import random
from pathlib import Path

from benchmarks.kill_ingest import Files, words_left

BOOK = "The goose ate the carbuncle. " * 400


def words_of(folder: Path) -> set[str]:
    return {file.read_text(encoding="utf-8").split()[0] for file in folder.iterdir()}


def test_words_of_texts_that_are_gone_stand_in_no_file(tmp_path: Path) -> None:
    files = Files(tmp_path / "docs", BOOK, 12, random.Random(3))
    first = words_of(tmp_path / "docs")
    for _ in range(6):
        files.change()
    now = words_of(tmp_path / "docs")
    assert len(first) == 12 and files.gone and now and not files.gone & now
    assert first <= files.gone | now


def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        files = Files(tmp_path / name, BOOK, 5, random.Random(8))
        files.change()
    assert words_of(tmp_path / "one") == words_of(tmp_path / "two")


def test_a_word_is_found_wherever_it_is_left(tmp_path: Path) -> None:
    (tmp_path / "generations").mkdir()
    (tmp_path / "generations" / "ids.bin").write_bytes(b"\x00zq0001abcdef\xff")
    assert words_left(tmp_path, {"zq0001abcdef", "zq0002abcdef"}) == ["zq0001abcdef"]
