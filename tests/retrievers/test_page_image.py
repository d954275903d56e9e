"""The cited page as a picture with its passage marked."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrievers.chunking import chunk
from retrievers.errors import DocumentError
from retrievers.loaders import load_document
from retrievers.loaders.pdf_words import Word
from retrievers.page_image import find_words, page_png
from tests.retrievers.pdf_files import make_placed_pdf

SAMPLE = Path(__file__).parents[2] / "samples" / "lshort-thai.pdf"
WORDS = [(50.0, 700.0, b"The deer eats grass."), (50.0, 600.0, b"The wolf runs.")]


def yellow(png: bytes) -> tuple[int, int, int, int]:
    """The box around all that is marked, as shares of 100 of the picture."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    pixels = np.asarray(picture).astype(int)
    rows, columns = np.nonzero((pixels[:, :, 0] > 200) & (pixels[:, :, 2] < 160))
    assert len(rows), "nothing is marked"
    (width, height) = picture.size
    left, right = 100 * columns.min() // width, 100 * columns.max() // width
    return int(left), int(100 * rows.min() // height), int(right), int(100 * rows.max() // height)


def test_the_words_of_the_passage_are_marked_where_they_stand() -> None:
    png, words = page_png(make_placed_pdf([[], WORDS]), 2, "wolf runs")
    left, top, right, bottom = yellow(png)
    assert words == 2
    assert 10 <= left <= 14 and right <= 22  # behind "The", to the end of the line
    assert 26 <= top <= 29 and bottom <= 30  # 600 of 842 points from below


def test_the_words_of_a_turned_page_are_marked_where_they_are_seen() -> None:
    turned = [(x, y - 300, text) for x, y, text in WORDS]  # the page is seen 842 wide, 595 high
    left, top, right, bottom = yellow(
        page_png(make_placed_pdf([turned], turned=True), 1, "wolf")[0]
    )
    assert 7 <= left <= 9 and right <= 12 and 47 <= top <= 50 and bottom <= 52


def test_a_passage_is_found_over_lines_and_hyphens() -> None:
    texts = ["It", "was", "con-", "sidered", "ﬁne", "there."]
    words = [Word(text, n, 0, n + 1, 1) for n, text in enumerate(texts)]
    assert find_words(words, "was considered fine") == words[1:5]
    assert find_words(words, "was considered (with something else) fine there") == words[1:]
    assert find_words(words, "nothing of it") == []
    assert find_words(words, "") == [] and find_words([], "word") == []


def test_every_passage_of_a_book_with_broken_thai_is_marked() -> None:
    data = SAMPLE.read_bytes()
    passages = chunk(load_document(SAMPLE, SAMPLE.parent))
    for passage in passages[40:200:40]:
        _, words = page_png(data, passage.metadata["page"], passage.page_content)
        assert words >= 0.8 * len(passage.page_content.split())


def test_a_page_that_is_not_there_is_named() -> None:
    with pytest.raises(DocumentError, match="there is no page 3: the file has 2"):
        page_png(make_placed_pdf([[], WORDS]), 3, "wolf")
    with pytest.raises(DocumentError, match="broken PDF"):
        page_png(b"no PDF", 1, "wolf")
