"""Words and lines of a PDF page as PDFium finds them, with where they stand."""

import ctypes
import re
from dataclasses import dataclass
from typing import Any, Final

HYPHEN: Final = "\ufffe"  # for a hyphen at a line end
_HYPHEN_CODE: Final = 2  # how PDFium gives it; it drops the line end itself
_ALEF_LAM: Final = re.compile("[اأإآٱ]ل")


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its box in points, y upwards."""

    text: str
    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True)
class Line:
    """Words of one line, in reading order; `glued` where a word goes on in the next line."""

    words: tuple[Word, ...]
    glued: bool = False

    @property
    def left(self) -> float:
        return min(word.left for word in self.words)

    @property
    def right(self) -> float:
        return max(word.right for word in self.words)

    @property
    def bottom(self) -> float:
        return min(word.bottom for word in self.words)

    @property
    def top(self) -> float:
        return max(word.top for word in self.words)

    @property
    def height(self) -> float:
        """Of its tallest word, at least a point."""
        return max(1.0, *(word.top - word.bottom for word in self.words))

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def read_lines(textpage: Any, count: int) -> list[Line]:
    """The lines of a page of `count` characters, in the order the file draws them."""
    from pypdfium2 import raw

    codes = [raw.FPDFText_GetUnicode(textpage, at) for at in range(count)]
    reader = _Reader(textpage, codes)
    for at, code in enumerate(codes):
        if code == _HYPHEN_CODE and reader.begin is not None:
            reader.end_word(at)
            reader.end_line(glued=True)
        elif code in (10, 13):
            reader.end_word(at)
            reader.end_line()
        elif code in (9, 32, 0xA0):
            reader.end_word(at)
        elif reader.begin is None:
            reader.begin = at
    reader.end_word(count)
    reader.end_line()
    return reader.lines


class _Reader:
    def __init__(self, textpage: Any, codes: list[int]) -> None:
        self._textpage, self._codes = textpage, codes
        self._words: list[Word] = []
        self.begin: int | None = None
        self.lines: list[Line] = []

    def end_line(self, glued: bool = False) -> None:
        if self._words:
            self.lines.append(Line(tuple(self._words), glued))
        self._words = []

    def end_word(self, end: int) -> None:
        """The word that began at `begin` ends before character `end`."""
        begin, self.begin = self.begin, None
        if begin is None:
            return
        first, last = self._box(begin), self._box(end - 1)
        text = "".join(map(chr, self._codes[begin:end]))
        if _ALEF_LAM.search(text):
            text = self._mend_ligatures(text, begin)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        left, right = min(first[0], last[0]), max(first[2], last[2])
        bottom, top = min(first[1], last[1]), max(first[3], last[3])
        self._words.append(Word(text, left, bottom, right, top))

    def _mend_ligatures(self, text: str, begin: int) -> str:
        """Lam-alef drawn as one sign is two characters at one place, given back to front."""
        letters = list(text)
        for match in _ALEF_LAM.finditer(text):
            at = match.start()
            if self._box(begin + at) == self._box(begin + at + 1):
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
        return "".join(letters)

    def _box(self, at: int) -> tuple[float, float, float, float]:
        from pypdfium2 import raw

        box = raw.FS_RECTF()
        raw.FPDFText_GetLooseCharBox(self._textpage, at, ctypes.byref(box))
        return box.left, box.bottom, box.right, box.top
