"""A page of a PDF as a picture, with the words of a passage marked."""

import bisect
import ctypes
import difflib
import io
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from retrievers.errors import DocumentError
from retrievers.loaders.pdf import LIGATURES, PDFIUM, lines_of
from retrievers.loaders.pdf_layout import ordered_lines
from retrievers.loaders.pdf_words import Word
from retrievers.loaders.scripts import logical
from retrievers.thai import is_mojibake, repair_mojibake

Box = tuple[float, float, float, float]

SCALE: Final = 2.0  # pixels for each point
MAX_PIXELS: Final = 5000.0  # of the longer side
_MARK: Final = (255, 214, 0, 110)  # yellow, with the print still to be read
_DROPPED: Final = re.compile(r"[\W_]+")
_MIN_MATCH: Final = 4  # characters that are found together
_MAX_COMPARED: Final = 20_000  # characters of a page that are compared piece by piece


def page_png(data: bytes, number: int, passage: str) -> tuple[bytes, int]:
    """Page `number` (from 1) of a PDF as PNG, and how many of its words are marked.

    Raises DocumentError where the file cannot be opened or has no such page.
    """
    import pypdfium2

    with PDFIUM:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as err:
            raise DocumentError("broken PDF: it cannot be opened") from err
        try:
            if not 1 <= number <= len(document):
                raise DocumentError(f"there is no page {number}: the file has {len(document)}")
            return _draw(document[number - 1], passage)
        except pypdfium2.PdfiumError as err:
            raise DocumentError(f"page {number} cannot be drawn: {err}") from err
        finally:
            document.close()


def _draw(page: Any, passage: str) -> tuple[bytes, int]:
    from PIL import Image, ImageDraw

    lines, _ = lines_of(page)
    words = [word for line in ordered_lines(lines) for word in line.words]
    marked = find_words(words, passage)
    width, height = page.get_size()
    scale = min(SCALE, MAX_PIXELS / max(width, height, 1.0))
    picture = page.render(scale=scale).to_pil().convert("RGBA")
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for word in marked:
        draw.rectangle(_box(page, word, picture.size), fill=_MARK)
    stream = io.BytesIO()
    Image.alpha_composite(picture, layer).convert("RGB").save(stream, "PNG")
    page.close()
    return stream.getvalue(), len(marked)


def find_words(words: Sequence[Word], passage: str) -> list[Word]:
    """Those of a page's words that a passage of its text is made of, signs and spaces apart."""
    texts = [word.text for word in words]
    if is_mojibake(" ".join(texts)):
        texts = [repair_mojibake(text, certain=True) for text in texts]
    keys = [_key(text) for text in texts]
    starts, whole = [], ""
    for key in keys:
        starts.append(len(whole))
        whole += key
    found = _spans(whole, _key(passage))
    chosen: list[Word] = []
    for number, word in enumerate(words):
        start, end = starts[number], starts[number] + len(keys[number])
        at = bisect.bisect_right(found, (start, end)) - 1
        near = found[max(0, at) : at + 2]
        if start < end and any(low < end and start < high for low, high in near):
            chosen.append(word)
    return chosen


def _spans(whole: str, wanted: str) -> list[tuple[int, int]]:
    """Where `wanted` stands in `whole`: as one piece, else in pieces, by their characters."""
    at = whole.find(wanted) if wanted else -1
    if at >= 0:
        return [(at, at + len(wanted))]
    matcher = difflib.SequenceMatcher(None, whole[:_MAX_COMPARED], wanted, autojunk=False)
    blocks = matcher.get_matching_blocks()
    return [(b.a, b.a + b.size) for b in blocks if b.size >= _MIN_MATCH]


def _key(text: str) -> str:
    plain = unicodedata.normalize("NFKC", logical(text.translate(LIGATURES)))
    return _DROPPED.sub("", plain).casefold()


def _box(page: Any, word: Word, size: tuple[int, int]) -> Box:
    """The pixels that a word covers, also where the page is turned or cut."""
    left, top = _pixel(page, word.left, word.top, size)
    right, bottom = _pixel(page, word.right, word.bottom, size)
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def _pixel(page: Any, x: float, y: float, size: tuple[int, int]) -> tuple[int, int]:
    from pypdfium2 import raw

    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(
        page, 0, 0, size[0], size[1], 0, x, y, ctypes.byref(across), ctypes.byref(down)
    )
    return across.value, down.value
