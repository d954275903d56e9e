import io
import zipfile
from pathlib import Path

import docx
import pytest

from retrievers.documents import LoadedDocument
from retrievers.errors import DocumentError
from retrievers.loaders import load_document


@pytest.fixture
def saved() -> bytes:
    document = docx.Document()
    document.core_properties.title = "Stated"
    document.add_heading("Deer of Thailand", level=1)
    document.add_paragraph("The sambar is the largest. It lives in forests.")
    document.add_heading("Sizes", level=2)
    document.add_paragraph("sambar", style="List Bullet")
    document.add_paragraph("muntjac", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, values in zip(table.rows, (("Kind", "Height"), ("กวางป่า", "160 cm")), strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    document.add_paragraph("The end.")
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def load(tmp_path: Path, data: bytes) -> LoadedDocument:
    (tmp_path / "a.docx").write_bytes(data)
    return load_document(tmp_path / "a.docx", tmp_path)


def rewritten(data: bytes, old: bytes, new: bytes, name: str = "word/document.xml") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as out:
        for info in source.infolist():
            content = source.read(info)
            all_parts = name == "*" and info.filename.endswith((".xml", ".rels"))
            if all_parts or info.filename == name:
                content = content.replace(old, new)
            out.writestr(info.filename, content)
    return target.getvalue()


def test_paragraphs_headings_lists_and_tables(tmp_path: Path, saved: bytes) -> None:
    found = load(tmp_path, saved)
    page = found.pages[0]
    assert found.title == "Deer of Thailand"
    assert page.number is None
    assert page.text == (
        "Deer of Thailand\n\nThe sambar is the largest. It lives in forests.\n\nSizes\n\n"
        "- sambar\n- muntjac\n\nKind | Height\nกวางป่า | 160 cm\n\nThe end."
    )
    assert [(h.level, page.text[h.start : h.end]) for h in page.headings] == [
        (1, "Deer of Thailand"), (2, "Sizes"),
    ]  # fmt: skip


def test_the_strict_dialect_is_read(tmp_path: Path, saved: bytes) -> None:
    strict = rewritten(
        saved,
        b"http://schemas.openxmlformats.org/officeDocument/2006/",
        b"http://purl.oclc.org/ooxml/officeDocument/",
        "*",
    )
    strict = rewritten(
        strict,
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/",
        b"http://purl.oclc.org/ooxml/wordprocessingml/",
        "*",
    )
    assert b"purl.oclc.org" in zipfile.ZipFile(io.BytesIO(strict)).read("_rels/.rels")
    assert load(tmp_path, strict).pages[0].text == load(tmp_path, saved).pages[0].text


def test_deleted_text_is_left_out_and_inserted_text_kept(tmp_path: Path, saved: bytes) -> None:
    changed = rewritten(
        saved,
        b"<w:t>The end.</w:t></w:r>",
        b"<w:t>The end</w:t></w:r><w:del><w:r><w:delText>?</w:delText></w:r></w:del>"
        b"<w:ins><w:r><w:t>!</w:t></w:r></w:ins>",
    )
    assert load(tmp_path, changed).pages[0].text.endswith("The end!")


def test_broken_files_are_named(tmp_path: Path, saved: bytes) -> None:
    no_main = io.BytesIO()
    with zipfile.ZipFile(no_main, "w") as archive:
        archive.writestr("hello.txt", "hi")
    for data in (b"not a zip", saved[: len(saved) // 2], no_main.getvalue(), b"PK\x03\x04"):
        with pytest.raises(DocumentError, match="broken"):
            load(tmp_path, data)
    with pytest.raises(DocumentError, match="broken"):
        load(tmp_path, rewritten(saved, b"<w:body>", b"<w:body><<"))


def test_encrypted_and_old_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="encrypted, or an old"):
        load(tmp_path, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))


def test_an_archive_that_unpacks_too_large_is_refused(tmp_path: Path, saved: bytes) -> None:
    padding = b"<!--" + b" " * (61 * 2**20) + b"-->"
    bomb = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved)) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out,
    ):
        for info in source.infolist():
            extra = padding if info.filename == "word/document.xml" else b""
            out.writestr(info.filename, source.read(info) + extra)
    with pytest.raises(DocumentError, match="too large"):
        load(tmp_path, bomb.getvalue())


def test_a_document_without_text_is_named(tmp_path: Path) -> None:
    stream = io.BytesIO()
    docx.Document().save(stream)
    with pytest.raises(DocumentError, match="empty"):
        load(tmp_path, stream.getvalue())
