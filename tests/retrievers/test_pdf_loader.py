import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pypdf
import pytest

from retrievers.chunking import chunk
from retrievers.documents import LoadedDocument
from retrievers.errors import DocumentError
from retrievers.loaders import load_document
from tests.retrievers.pdf_files import make_pdf

SAMPLE = Path(__file__).parents[2] / "samples" / "lshort-thai.pdf"
TWO_PAGES = [
    [b"1 Introduction", b"The deer runs fast and far over the hills of the north in", b"winter."],
    [b"1.1 Food", b"It eats grass, and in the long winter it eats bark and moss too."],
]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[bytes], LoadedDocument]:
    def load_bytes(data: bytes) -> LoadedDocument:
        (tmp_path / "a-file.pdf").write_bytes(data)
        return load_document(tmp_path / "a-file.pdf", tmp_path)

    return load_bytes


Load = Callable[[bytes], LoadedDocument]


def test_pages_are_numbered_and_lines_kept(load: Load) -> None:
    found = load(make_pdf(TWO_PAGES, title="On Deer"))
    assert found.title == "On Deer"
    assert [page.number for page in found.pages] == [1, 2]
    assert found.pages[0].text.split("\n") == [line.decode() for line in TWO_PAGES[0]]


def test_a_damaged_title_is_no_title(load: Load) -> None:
    damaged = make_pdf(TWO_PAGES, title="TITLE").replace(b"(TITLE)", b"<FEFFD800D800>")
    assert load(damaged).title == "a file"


def test_numbered_lines_are_headings(load: Load) -> None:
    found = load(make_pdf(TWO_PAGES))
    assert found.title == "a file"
    headings = [(page.number, h.level, h.text) for page in found.pages for h in page.headings]
    assert headings == [(1, 1, "1 Introduction"), (2, 2, "1.1 Food")]
    assert chunk(found)[-1].metadata["title"] == "1 Introduction > 1.1 Food"
    assert chunk(found)[-1].metadata["page"] == 2


def test_the_outline_gives_headings(load: Load) -> None:
    writer = pypdf.PdfWriter(io.BytesIO(make_pdf([[b"About", b"Text."], [b"Food", b"Grass."]])))
    part = writer.add_outline_item(title="About", page_number=0)
    writer.add_outline_item(title="Food", page_number=1, parent=part)
    writer.add_outline_item(title="Not in the text", page_number=1)
    stream = io.BytesIO()
    writer.write(stream)
    pages = load(stream.getvalue()).pages
    assert [(h.level, h.text) for page in pages for h in page.headings] == [
        (1, "About"), (2, "Food"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "elsewhere", "joined"),
    [
        (b"we con-", b"sider it", b"", "we consider it"),
        (b"the state-of-the-", b"art way", b"", "the state-of-the-art way"),
        (b"a model-", b"free way", b"model-free", "a model-free way"),
        (b"a well-", b"known way", b"wellknown", "a wellknown way"),
        (b"Jean-", b"Paul came", b"", "Jean-Paul came"),
    ],
)
def test_words_split_at_line_ends_are_joined(
    load: Load, first: bytes, second: bytes, elsewhere: bytes, joined: str
) -> None:
    text = load(make_pdf([[first, second, b"", elsewhere]])).pages[0].text
    assert text.startswith(joined)


def test_broken_thai_is_repaired(load: Load) -> None:
    lines = ["ระบบเรียงพิมพ์นี้เหมาะสมที่สุดสำหรับเอกสาร", "การจัดรูปแบบทำได้ง่าย"]
    found = load(make_pdf([[line.encode("cp874") for line in lines]]))
    assert found.pages[0].text.split("\n") == lines


@pytest.mark.parametrize("password", ["secret", ""])
def test_an_encrypted_file_is_named_unless_it_opens_without_password(
    load: Load, password: str
) -> None:
    writer = pypdf.PdfWriter(io.BytesIO(make_pdf(TWO_PAGES)))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
    stream = io.BytesIO()
    writer.write(stream)
    if password:
        with pytest.raises(DocumentError, match="encrypted PDF"):
            load(stream.getvalue())
    else:
        assert "deer" in load(stream.getvalue()).pages[0].text


def test_pictures_without_text_are_named(load: Load) -> None:
    with pytest.raises(DocumentError, match="no text layer"):
        load(make_pdf([[], []], image=True))


def test_an_empty_file_is_named(load: Load) -> None:
    with pytest.raises(DocumentError, match="empty"):
        load(make_pdf([[]]))


@pytest.mark.parametrize(
    "data", [b"hello", b"%PDF-1.4\n", b"%PDF-1.7" + bytes(range(256)) * 50, make_pdf([])]
)
def test_a_broken_file_is_named(load: Load, data: bytes) -> None:
    with pytest.raises(DocumentError, match="broken PDF"):
        load(data)


def test_a_cut_off_file_is_read_or_named(load: Load) -> None:
    whole = make_pdf(TWO_PAGES)
    for length in range(10, len(whole), 97):
        try:
            assert load(whole[:length]).pages
        except DocumentError as err:
            assert len(str(err).splitlines()) == 1


def test_limits_are_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrievers.loaders.pdf.MAX_PAGES", 1)
    with pytest.raises(DocumentError, match="too large: 2 pages, limit 1"):
        load(make_pdf(TWO_PAGES))
    monkeypatch.setattr("retrievers.loaders.pdf.MAX_PAGES", 10)
    monkeypatch.setattr("retrievers.loaders.pdf.MAX_CHARACTERS", 20)
    with pytest.raises(DocumentError, match="too large"):
        load(make_pdf(TWO_PAGES))
    monkeypatch.setattr("retrievers.loaders.pdf.MAX_CHARACTERS", 10_000)
    monkeypatch.setattr("retrievers.loaders.pdf.MAX_SECONDS", 0.0)
    with pytest.raises(DocumentError, match="too slow: 1 of 2 pages"):
        load(make_pdf(TWO_PAGES))


def test_threads_may_load_at_once(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.pdf").write_bytes(make_pdf([[b"Page of file %d" % number]] * 20))
    files = [tmp_path / f"{number % 8}.pdf" for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda file: load_document(file, tmp_path), files))
    assert all(f"file {n % 8}" in found[n].pages[19].text for n in range(64))


def test_the_thai_sample_is_readable() -> None:
    found = load_document(SAMPLE, SAMPLE.parent)
    assert len(found.pages) == 74
    text = "\n".join(page.text for page in found.pages)
    for phrase in ("สิ่งที่ควรรู้เบื้องต้น", "เป็นตัวจักร", "ปัจจุบันเช่น Word", "พ.ศ. ๒๕๔๕", "กราฟฟิกส์แบบ"):
        assert phrase in text
    assert sum("\x80" <= char <= "\xff" for char in text) < 100
    passages = chunk(found)
    assert {p.metadata["title"].split(" > ")[0] for p in passages} >= {"บทที่ ๑ สิ่งที่ควรรู้เบื้องต้น"}
    assert all(len(passage.page_content) <= 1200 for passage in passages)
