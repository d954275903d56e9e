"""Files and folders that are built, or happen, to do harm: each is read, left out or named."""

import functools
import io
import os
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrievers.discover import discover
from retrievers.errors import DocumentChangedError, DocumentError
from retrievers.loaders import load_document
from retrievers.reading import Job
from retrievers.workers import read_jobs
from tests.retrievers.pdf_files import make_pdf


@functools.cache
def bomb(name: str, size: int) -> bytes:
    """An archive of one member that is as large as told when unpacked."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(size // 2**20):
            member.write(bytes(2**20))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx", "epub"])
def test_an_archive_that_unpacks_to_very_much_is_refused_before_it_is_unpacked(
    tmp_path: Path, kind: str
) -> None:
    file = tmp_path / f"a.{kind}"
    for name, size in (("a.bin", 301 * 2**20), ("a.xml", 61 * 2**20)):
        file.write_bytes(bomb(name, size))
        began = time.process_time()
        with pytest.raises(DocumentError, match="too large"):
            load_document(file, tmp_path)
        assert time.process_time() - began < 2


def test_an_archive_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(bomb("_rels/.rels", 20 * 2**20))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 100)  # the size when unpacked
    file = tmp_path / "a.docx"
    file.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(DocumentError, match="broken"):
        load_document(file, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_an_archive_of_very_many_members_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(20_001):
            archive.writestr(str(number), b"")
    (tmp_path / "a.epub").write_bytes(stream.getvalue())
    with pytest.raises(DocumentError, match="too large: 20,001 members"):
        load_document(tmp_path / "a.epub", tmp_path)


def test_entities_that_multiply_are_not_unfolded(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    body = f'<!DOCTYPE x [<!ENTITY e0 "deer">{levels}]><w:document>&e9;</w:document>'
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("_rels/.rels", body)
        archive.writestr("[Content_Types].xml", body)
    (tmp_path / "a.docx").write_bytes(stream.getvalue())
    with pytest.raises(DocumentError, match=r"broken \.docx"):
        load_document(tmp_path / "a.docx", tmp_path)
    html = tmp_path / "a.html"
    html.write_text(body.replace("w:document", "p"), encoding="utf-8")
    assert len(load_document(html, tmp_path).pages[0].text) < 10_000


def test_ten_thousand_pages_are_read_and_one_more_is_too_many(tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(make_pdf([[b"Deer number %d runs." % n] for n in range(10_000)]))
    pages = load_document(file, tmp_path).pages
    assert len(pages) == 10_000 and pages[-1].text == "Deer number 9999 runs."
    file.write_bytes(make_pdf([[b"x"]] * 10_001))
    with pytest.raises(DocumentError, match="too large: 10,001 pages, limit 10,000"):
        load_document(file, tmp_path)


def test_tags_nested_very_deeply_are_read_or_named(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_bytes(b"<div>" * 20_000 + b"deer")
    try:
        assert "deer" in load_document(file, tmp_path).pages[0].text
    except DocumentError as err:
        assert len(str(err).splitlines()) == 1


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Folders nested more deeply than Python's calls may be, with a file in the last."""
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1200):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("deep.txt", os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)
    yield tmp_path
    while (tmp_path / "d" / "d").is_dir():  # shutil.rmtree would call itself too often
        (tmp_path / "d" / "d").rename(tmp_path / "e")
        (tmp_path / "d").rmdir()
        (tmp_path / "e").rename(tmp_path / "d")


def test_folders_nested_very_deeply_are_searched(deep: Path) -> None:
    (found,) = discover([deep])
    assert found.name == "deep.txt"


def test_links_in_a_circle_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "one.txt").symlink_to(tmp_path / "two.txt")
    (tmp_path / "two.txt").symlink_to(tmp_path / "one.txt")
    (tmp_path / "self.txt").symlink_to("self.txt")
    (tmp_path / "gone.txt").symlink_to("nowhere.txt")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "a.txt").write_text("deer")
    assert discover([tmp_path]) == [tmp_path / "a.txt"]
    with pytest.raises(DocumentError, match="cannot be read"):
        load_document(tmp_path / "self.txt", tmp_path)


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that grows each time it is read."""
    file = tmp_path / "busy.txt"
    file.write_text("deer")
    seen = os.fstat

    def grow(descriptor: int) -> os.stat_result:
        with file.open("a") as stream:
            stream.write(" more")
        return seen(descriptor)

    monkeypatch.setattr("retrievers.loaders.os.fstat", grow)
    yield file


def test_a_file_that_changes_while_it_is_read_is_left_for_another_time(busy: Path) -> None:
    with pytest.raises(DocumentChangedError, match="it changed while it was read"):
        load_document(busy, busy.parent)
    ((_, outcome),) = read_jobs([Job("", "busy.txt", busy, busy.parent)])
    assert outcome.document is None


def test_reading_many_files_takes_no_more_memory_than_reading_few(tmp_path: Path) -> None:
    text = "The deer runs over the hill and eats the grass of the north. " * 300
    files = [tmp_path / f"{n}.txt" for n in range(48)]
    for number, file in enumerate(files):
        file.write_text(f"{number} {text}", encoding="utf-8")

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in read_jobs([Job("", file.name, file, tmp_path) for file in files[:count]]):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(2)  # imports and dictionaries
    assert peak(48) < 1.5 * peak(6)
