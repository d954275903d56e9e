import os
from pathlib import Path
from typing import Any

import pytest

from retrievers.discover import common_root, discover
from retrievers.errors import DocumentError


def write(path: Path, text: str = "Some text.") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_finds_supported_files_sorted_and_skips_hidden_ones(tmp_path: Path) -> None:
    kept = [write(tmp_path / name) for name in ("b.txt", "a/z.md", "a/deep/y.HTML")]
    for name in (".hidden.txt", ".git/c.txt", "node_modules/d.md", "e.png", "~$f.docx"):
        write(tmp_path / name)
    assert discover([tmp_path]) == sorted(kept)


def test_a_file_named_twice_is_listed_once(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt")
    assert discover([tmp_path, file]) == [file]


def test_a_file_named_itself_is_listed_whatever_its_type(tmp_path: Path) -> None:
    file = write(tmp_path / "picture.png")
    assert discover([file]) == [file]


def test_links_that_leave_the_folder_are_ignored(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "secret.txt")
    inside = write(tmp_path / "docs" / "a.txt")
    (tmp_path / "docs" / "leak.txt").symlink_to(outside)
    (tmp_path / "docs" / "leak").symlink_to(outside.parent)
    (tmp_path / "docs" / "loop").symlink_to(tmp_path / "docs")
    (tmp_path / "docs" / "same.txt").symlink_to(inside)
    assert discover([tmp_path / "docs"]) == [inside, tmp_path / "docs" / "same.txt"]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="nowhere: no such file or folder"):
        discover([tmp_path / "nowhere"])


def test_common_root_of_folders_and_files(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a" / "1.txt"), write(tmp_path / "b" / "2.txt")
    assert common_root([one]) == tmp_path / "a"
    assert common_root([tmp_path / "a"]) == tmp_path / "a"
    assert common_root([one, two.parent]) == tmp_path


def bar(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let nobody list `folder`, not even the super-user."""
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if path == str(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = write(tmp_path / "a.txt")
    write(tmp_path / "closed" / "b.txt")
    bar(monkeypatch, tmp_path / "closed")
    barred: list[OSError] = []
    assert discover([tmp_path], barred.append) == [kept]
    assert [Path(error.filename) for error in barred] == [tmp_path / "closed"]


def test_a_file_of_a_folder_that_cannot_be_entered_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.txt")

    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", denied)
    assert discover([tmp_path]) == [file]


def test_a_pipe_in_a_folder_is_no_document(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert discover([tmp_path]) == []
