"""Columns, tables, running heads and turned text of PDFs; scans; scripts with marks."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from retrievers.documents import LoadedDocument
from retrievers.errors import DocumentError
from retrievers.loaders import load_document
from retrievers.loaders.scripts import logical
from tests.retrievers.pdf_files import Placed, make_pdf, make_placed_pdf

Load = Callable[[bytes], LoadedDocument]
LEFT = [f"left {n} and then a few words" for n in range(12)]
RIGHT = [f"right {n} and then a few words" for n in range(12)]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_bytes(data: bytes) -> LoadedDocument:
        (tmp_path / "a.pdf").write_bytes(data)
        return load_document(tmp_path / "a.pdf", tmp_path)

    return load_bytes


def at(x: float, y: float, text: str) -> Placed:
    return x, y, text.encode("cp1252")


def column(x: float, top: float, lines: list[str]) -> list[Placed]:
    return [at(x, top - 12 * n, line) for n, line in enumerate(lines)]


@pytest.mark.parametrize("across", [False, True])
def test_columns_are_read_one_after_the_other_however_they_are_drawn(
    load: Load, across: bool
) -> None:
    left, right = column(50, 700, LEFT), column(320, 700, RIGHT)
    drawn = (
        [word for pair in zip(left, right, strict=True) for word in pair]
        if across
        else [*right, *left]
    )
    head, foot = (
        at(50, 730, "A heading over both columns of the page, from left to right edge"),
        at(
            50,
            540,
            "What stands below both columns comes last, though it is drawn before them all.",
        ),
    )
    text = load(make_placed_pdf([[foot, *drawn, head]])).pages[0].text
    assert text.split("\n") == [head[2].decode(), *LEFT, *RIGHT, foot[2].decode()]


def test_a_table_drawn_by_columns_or_cells_keeps_its_rows(load: Load) -> None:
    columns = [
        column(50, 700, [f"2015-07-{n:02}" for n in range(10, 22)]),
        column(160, 700, [f"Company {n}" for n in range(12)]),
        column(300, 700, [f"{n * n} km" for n in range(12)]),
    ]
    rows = [f"2015-07-{n + 10} | Company {n} | {n * n} km" for n in range(12)]
    by_columns = [word for words in columns for word in words]
    by_cells = [words[n] for n in range(12) for words in columns]
    for drawn in (by_columns, [*columns[2], *columns[1], *columns[0]], by_cells):
        assert load(make_placed_pdf([drawn])).pages[0].text.split("\n") == rows


def test_wide_gaps_between_words_make_no_table(load: Load) -> None:
    words = [
        at(50, 700, "One line"),
        at(200, 700, "with a gap"),
        at(50, 688, "and one without it."),
    ]
    assert " | " not in load(make_placed_pdf([words])).pages[0].text


def test_running_heads_and_page_numbers_are_left_out(load: Load) -> None:
    pages = [
        [
            at(50, 810, f"{number} The Book of Deer"),
            *column(50, 700, [f"Page {number} tells of deer number {number}.", "It ends here."]),
            at(290, 40, f"- {number} -"),
        ]
        for number in range(1, 6)
    ]
    found = load(make_placed_pdf(pages))
    assert [page.text for page in found.pages] == [
        f"Page {number} tells of deer number {number}.\nIt ends here." for number in range(1, 6)
    ]


def test_what_repeats_under_a_line_that_does_not_is_no_running_head(load: Load) -> None:
    clause = "This clause is the same on each page, though it is a clause."
    pages = [
        [at(50, 810, f"The Book, page {n}"), at(50, 790, f"{'ABCDE'[n]} part"), at(50, 770, clause)]
        for n in range(5)
    ]
    found = load(make_placed_pdf(pages))
    assert [page.text for page in found.pages] == [f"{x} part\n{clause}" for x in "ABCDE"]


def test_what_repeats_on_two_pages_or_away_from_the_edge_stays(load: Load) -> None:
    two = [[at(50, 810, "The Book"), at(50, 700, f"Page {n}.")] for n in range(2)]
    assert all("The Book" in page.text for page in load(make_placed_pdf(two)).pages)
    middle = [[at(50, 500, "Name and date:"), at(50, 700, f"Form {n}.")] for n in range(5)]
    assert all("Name and date:" in page.text for page in load(make_placed_pdf(middle)).pages)


def test_a_word_that_goes_on_in_the_next_column_is_joined(load: Load) -> None:
    left, right = [*LEFT[:-1], "the animals were con-"], ["sidered as rare and as shy", *RIGHT[1:]]
    drawn = [*column(50, 700, left), *column(320, 700, right)]
    text = load(make_placed_pdf([drawn])).pages[0].text
    assert "considered as rare" in text


def test_a_turned_page_is_read(load: Load) -> None:
    found = load(make_placed_pdf([column(50, 500, LEFT)], turned=True))
    assert found.pages[0].text.split("\n") == LEFT


@pytest.mark.parametrize(
    ("drawn", "meant"),
    [
        ("น ้ำ", "น้ำ"),
        ("กํา นํ้า", "กำ น้ำ"),
        ("ที\uf70a ป\uf702", "ที่ ปี"),
        ("ท่ี", "ที่"),
        ("ไป มา", "ไป มา"),
        ("أي ًضا", "أيضًا"),
        ("Pythonمن", "Python من"),
        ("naïve café", "naïve café"),
    ],
)
def test_marks_stand_behind_their_letters(drawn: str, meant: str) -> None:
    assert logical(drawn) == meant


def test_a_text_layer_without_meaning_is_named(load: Load) -> None:
    from retrievers.loaders.scripts import require_meaning

    require_meaning("Some words \uf0b7 and a bullet.")
    with pytest.raises(DocumentError, match="unreadable text layer"):
        require_meaning("".join(chr(0xE000 + n % 90) for n in range(500)))


def test_a_scan_names_tesseract_where_it_is_not_installed(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DocumentError, match=r"no text layer.*install Tesseract"):
        load(make_pdf([[]], image=True))


def write_command(folder: Path, body: str) -> None:
    """A stand-in for the command `tesseract`, which checks that it gets a picture."""
    file = folder / "tesseract"
    file.write_text(
        '#!/bin/sh\nif [ "$1" = --list-langs ]; then printf "Languages:\\neng\\ntha\\n"; exit; fi\n'
        f"/usr/bin/head -c 4 | /bin/grep -q PNG || exit 1\n{body}\n"
    )
    file.chmod(0o755)


def test_a_scan_is_read_by_tesseract_where_it_is_installed(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/usr/bin")
    write_command(tmp_path, 'echo "Read with $*"')
    found = load(make_pdf([[], []], image=True))
    assert [page.text for page in found.pages] == [
        "Read with stdin stdout --dpi 200 -l eng+tha"
    ] * 2
    write_command(tmp_path, "exit 1")
    with pytest.raises(DocumentError, match="OCR found no text"):
        load(make_pdf([[]], image=True))
