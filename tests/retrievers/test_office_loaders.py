"""Slides, spreadsheets and tables."""

import io
from pathlib import Path

import openpyxl
import pptx
import pytest

from retrievers.chunking import chunk
from retrievers.documents import LoadedDocument, Page
from retrievers.errors import DocumentError
from retrievers.loaders import load_document
from retrievers.loaders.table import separator

FIXTURES = Path(__file__).parent / "fixtures"


def load(tmp_path: Path, name: str, data: bytes) -> LoadedDocument:
    (tmp_path / name).write_bytes(data)
    return load_document(tmp_path / name, tmp_path)


def headings(pages: list[Page]) -> list[tuple[int | None, int, str]]:
    return [
        (page.number, h.level, page.text[h.start : h.end]) for page in pages for h in page.headings
    ]


def test_each_slide_is_a_page_with_its_title_table_and_notes(tmp_path: Path) -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Deer\vof Thailand"
    slide.placeholders[1].text = "Sambar\nMuntjac"
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    second = deck.slides.add_slide(deck.slide_layouts[6])
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "Deep in a group."
    table = second.shapes.add_table(2, 2, 0, 0, 9, 9).table
    for number, text in enumerate(("Kind", "Height", "กวางป่า", "160 cm")):
        table.cell(number // 2, number % 2).text = text
    stream = io.BytesIO()
    deck.save(stream)
    found = load(tmp_path, "a.pptx", stream.getvalue())
    assert (found.title, found.unit) == ("Deer of Thailand", "slide")
    assert [(page.number, page.text) for page in found.pages] == [
        (1, "Deer of Thailand\n\n- Sambar\n- Muntjac\n\nNotes: Say it slowly."),
        (2, "Deep in a group.\n\nKind | Height\nกวางป่า | 160 cm"),
    ]
    assert headings(found.pages) == [(1, 1, "Deer of Thailand"), (2, 2, "Kind | Height")]


def test_charts_of_any_type_are_rows() -> None:
    first, second = load_document(FIXTURES / "pptx_chart.pptx", FIXTURES).pages
    assert "| Freshwater Ducks | Saltwater Ducks\n2019 | 120 | 80\n2020 | 130 | 95" in first.text
    assert second.text == "Quarterly revenue\n\n| 2026\nQ1 | 10\nQ2 | 20\nQ3 | 30"


def test_slides_with_broken_pictures_are_read() -> None:
    found = load_document(FIXTURES / "powerpoint_malformed_pictures.pptx", FIXTURES)
    assert [page.text for page in found.pages] == [
        "Slide With Missing BlipFill", "Slide With Dangling Rel", "Slide With Wrong Content Type",
    ]  # fmt: skip


def test_each_sheet_is_a_page_and_names_its_columns_in_every_passage(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Herd"
    sheet.append(["Deer counted in 2023"])
    sheet.append([None, "Kind", "Height", "Seen"])
    for number in range(100):
        sheet.append([None, f"sambar {number}", 1.5 + number, None])
    book.create_sheet("Empty")
    book.create_sheet("Other").append(["one line"])
    stream = io.BytesIO()
    book.save(stream)
    found = load(tmp_path, "a.xlsx", stream.getvalue())
    assert found.unit == "sheet" and [page.number for page in found.pages] == [1, 3]
    assert found.pages[0].text.startswith(
        "Herd\n\nDeer counted in 2023\n\nKind | Height | Seen\nsambar 0 | 1.5\nsambar 1 | 2.5\n"
    )
    passages = chunk(found)
    assert len(passages) > 3 and passages[-2].page_content.endswith("sambar 99 | 100.5")
    assert passages[-2].metadata["title"] == "Herd > Kind | Height | Seen"
    assert (passages[-2].metadata["page"], passages[-2].metadata["unit"]) == (1, "sheet")


def test_a_sheet_with_a_cell_at_its_far_end_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = "near"
    book.active["XFD200000"] = "far"
    stream = io.BytesIO()
    book.save(stream)
    text = load(tmp_path, "a.xlsx", stream.getvalue()).pages[0].text
    assert text.startswith("Sheet\n\nnear") and text.endswith("far") and len(text) < 100


def test_a_workbook_with_a_sheet_that_is_a_chart_is_read() -> None:
    found = load_document(FIXTURES / "xlsx_03_chartsheet.xlsx", FIXTURES)
    assert "Year | Freshwater Ducks" in found.pages[0].text


def test_a_strict_document_is_read() -> None:
    assert load_document(FIXTURES / "Strict.docx", FIXTURES).pages[0].text


@pytest.mark.parametrize("name", ["a.pptx", "a.xlsx", "a.docx", "a.epub"])
def test_what_is_no_office_file_is_named(tmp_path: Path, name: str) -> None:
    for data in (b"hello", b"PK\x03\x04" + bytes(100), b"PK\x05\x06" + bytes(18)):
        with pytest.raises(DocumentError, match=f"broken {name[1:]}"):
            load(tmp_path, name, data)
    with pytest.raises(DocumentError, match="encrypted, or an old"):
        load(tmp_path, name, b"\xd0\xcf\x11\xe0" + bytes(100))


@pytest.mark.parametrize("name", ["pptx_chart.pptx", "xlsx_03_chartsheet.xlsx", "Strict.docx"])
def test_a_damaged_office_file_is_read_or_named(tmp_path: Path, name: str) -> None:
    whole = (FIXTURES / name).read_bytes()
    for at in range(0, len(whole), len(whole) // 25):
        for damaged in (whole[:at], whole[:at] + b"\xff" * 40 + whole[at + 40 :]):
            try:
                load(tmp_path, f"a{Path(name).suffix}", damaged)
            except DocumentError as err:
                assert len(str(err).splitlines()) == 1


def test_rows_of_a_table_in_text_are_lines(tmp_path: Path) -> None:
    found = load_document(FIXTURES / "csv-semicolon.csv", FIXTURES)
    page = found.pages[0]
    assert page.text.split("\n")[0].startswith("Index | Customer Id | First Name | Last Name")
    assert headings([page]) == [(None, 2, page.text.split("\n")[0])]
    odd = load(tmp_path, "a.csv", b'Kind,Said\nsambar,"a, b\nc"\n\nmuntjac\n')
    assert odd.pages[0].text == "Kind | Said\nsambar | a, b c\nmuntjac"
    assert load(tmp_path, "b.tsv", b"a\tb\n1\t2\n").pages[0].text == "a | b\n1 | 2"


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("a;b;c\n1;2,5;7\n3;4,5;8", ";"),
        ("a\tb, c\n1\t2", "\t"),
        ("one\ntwo", ","),
        ('"x|y",2\n3,4', ","),
        ("a|b|c\n1|2|3", "|"),
    ],
)
def test_the_separator_is_found(text: str, sign: str) -> None:
    assert separator(text) == sign


def test_a_quote_that_never_closes_leaves_the_text_as_it_is(tmp_path: Path) -> None:
    text = 'a,b\n1,"' + "word " * 40_000
    assert load(tmp_path, "a.csv", text.encode()).pages[0].text == text
