import hashlib
from pathlib import Path

import pytest

from retrievers.errors import DocumentError
from retrievers.loaders import load_document
from retrievers.loaders.text import find_headings


def test_text_keeps_the_file_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "my_note.txt"
    file.parent.mkdir()
    file.write_bytes("Line one.\r\n  Line two: é.\r\n".encode())
    found = load_document(file, tmp_path)
    assert found.source == "sub/my_note.txt"
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.title == "my note"
    assert [(page.number, page.text) for page in found.pages] == [
        (None, "Line one.\n  Line two: é.\n")
    ]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", b"", "empty: 0 bytes"),
        ("a.txt", b" \n\t\n", "empty: no text"),
        ("a.txt", bytes(range(256)) * 9, "binary data"),
        ("a.png", b"1;2", "unsupported file type '.png'"),
        ("Makefile", b"all:", r"unsupported file type '\(no suffix\)'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DocumentError, match=reason):
        load_document(tmp_path / name, tmp_path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for name in ("gone.txt", "folder.txt"):
        with pytest.raises(DocumentError, match="cannot be read"):
            load_document(tmp_path / name, tmp_path)


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrievers.loaders.MAX_BYTES", 10)
    (tmp_path / "a.txt").write_text("more than ten bytes")
    with pytest.raises(DocumentError, match="too large: 19 bytes, limit 10"):
        load_document(tmp_path / "a.txt", tmp_path)


def test_headings_of_a_book_are_found_and_its_contents_list_is_not() -> None:
    text = (
        "A BOOK OF TALES\n\nby\n\nA WRITER\n\n\n   I. First Tale\n  II. Second Tale\n\n\n\n"
        "CHAPTER I. FIRST TALE\n\nI.\n\nIt was dark.\n\nWhat did I see? A sign:\n\nOPEN DAILY\n\n"
        "I nodded.\n\n\n\nII. SECOND TALE\n\nThe end came.\n"
    )
    found = [(heading.level, heading.text) for heading in find_headings(text)]
    assert found == [
        (2, "A BOOK OF TALES"), (1, "CHAPTER I. FIRST TALE"), (3, "I."), (1, "II. SECOND TALE"),
    ]  # fmt: skip


def test_numbered_and_underlined_headings() -> None:
    text = "Guide\n=====\n\nText here.\n\n1. Setup\n\nDo it.\n\n1.2 More setup\n\nDone it, too.\n"
    found = [(h.level, text[h.start : h.end]) for h in find_headings(text)]
    assert found == [(1, "Guide"), (1, "1. Setup"), (2, "1.2 More setup")]
