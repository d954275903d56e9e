"""Thai: words, and units of the length of a sentence."""

import re
from collections.abc import Iterator
from typing import Final

THAI_RUN: Final = re.compile(r"[\u0e01-\u0e4e\u0e50-\u0e59]+")
_MIN_CLAUSE = 60  # characters: phrases are joined until a unit holds about a dozen words
_MAX_CLAUSE = 280
_SPACE = re.compile(r"[ \t\u00a0]+|\s*\n\s*")
_STOP = re.compile(r"[.!?…]+[\"'”’)]*$")
# A phrase that begins with one of these continues the one before it.
_JOINING: Final = (
    "และ", "หรือ", "ที่", "ซึ่ง", "โดย", "เพื่อ", "แต่", "ก็", "คือ", "ของ", "ใน", "กับ", "ได้แก่",
    "เช่น", "ว่า", "อัน", "จึง", "ให้", "จาก", "ด้วย", "ๆ", "ฯ",
)  # fmt: skip
# A phrase that ends so waits for what it introduces.
_WAITING: Final = ("เช่น", "ได้แก่", "คือ", "ว่า", "และ", "หรือ", "ของ", "ที่", ":", ",", "(")


def words(text: str) -> list[str]:
    """Thai words of `text` by longest matching in a dictionary; white space is dropped."""
    from pythainlp.tokenize import word_tokenize

    return [word for word in word_tokenize(text, engine="newmm") if word.strip()]


def clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of sentence-like units of text[start:end]: phrases joined to 60-280 characters.

    A line end is a line end only: Thai lines are broken between words without any space.
    """
    begin = start
    for gap in _SPACE.finditer(text, start, end):
        if gap.start() > begin and _closes(text, begin, gap, end):
            yield from _cut(text, begin, gap.start())
            begin = gap.end()
    if begin < end:
        yield from _cut(text, begin, end)


def _closes(text: str, begin: int, gap: re.Match[str], end: int) -> bool:
    if "\n" in gap[0]:
        return False
    before, length = text[begin : gap.start()], gap.start() - begin
    if length >= _MAX_CLAUSE - _MIN_CLAUSE:
        return True
    if _STOP.search(before) and length >= _MIN_CLAUSE // 2:
        return True
    following = text[gap.end() : min(end, gap.end() + 12)]
    thai_on_both_sides = _is_thai(before[-1:]) and _is_thai(following[:1])
    joined = following.startswith(_JOINING) or before.endswith(_WAITING)
    return length >= _MIN_CLAUSE and thai_on_both_sides and not joined


def _is_thai(char: str) -> bool:
    return "\u0e01" <= char <= "\u0e5b"


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a unit that has no space in it for too long between two of its words."""
    while end - start > _MAX_CLAUSE:
        window = text[start : start + _MAX_CLAUSE]
        cut = max(window.rfind(" ", _MAX_CLAUSE // 2), window.rfind("\n", _MAX_CLAUSE // 2)) + 1
        if not cut:
            cut = _last_word_end(window)
        yield start, start + len(window[:cut].rstrip())
        start += cut
        start += len(text[start:end]) - len(text[start:end].lstrip())
    if start < end:
        yield start, end


def _last_word_end(window: str) -> int:
    """Where the last word that surely lies whole in `window` ends."""
    from pythainlp.tokenize import word_tokenize

    found = word_tokenize(window, engine="newmm", keep_whitespace=True)
    return max(len(window) - len(found[-1]), 1) if len(found) > 1 else len(window)
