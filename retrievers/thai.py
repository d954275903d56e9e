"""Thai: words, and units of the length of a sentence."""

import re
from collections.abc import Iterator
from typing import Final

THAI_RUN: Final = re.compile(r"[\u0e01-\u0e4e\u0e50-\u0e59]+")
_MIN_CLAUSE = 90  # characters: phrases are joined until a unit holds about a dozen words
_MIN_STOPPED = 30  # characters: enough where a full stop ends the unit
_MAX_CLAUSE = 280
_LONG = 5000  # characters
_SPACE = re.compile(r"[ \t\u00a0]*\n\s*|[ \t\u00a0]+")
_STOP = re.compile(r"(?<![\s.A-Z])[.!?…]+[\"'”’)]*$")
_ABBREVIATION = re.compile(r"(?:^|[^ก-๙])(?:[ก-ฮ]{1,4}\.)+$")  # พ.ศ., จ.
# A phrase that begins with one of these continues the one before it.
_JOINING: Final = (
    "และ", "หรือ", "ที่", "ซึ่ง", "โดย", "เพื่อ", "แต่", "ก็", "คือ", "ของ", "ใน", "กับ", "ได้แก่",
    "เช่น", "ว่า", "อัน", "จึง", "ให้", "จาก", "ด้วย", "พ.ศ.", "ค.ศ.", "ๆ", "ฯ",
)  # fmt: skip
# A phrase that ends so waits for what it introduces.
_WAITING: Final = ("เช่น", "ได้แก่", "คือ", "ว่า", "และ", "หรือ", "ของ", "ที่", ":", ",", "(")


def words(text: str) -> list[str]:
    """Thai words of `text` by longest matching in a dictionary; white space is dropped."""
    from pythainlp.tokenize import word_tokenize

    # Longest matching may take very long on long text; the safe variant cuts it into windows.
    engine = "newmm" if len(text) <= _LONG else "newmm-safe"
    return [word for word in word_tokenize(text, engine=engine) if word.strip()]


def clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of sentence-like units of text[start:end]: phrases joined to 90-280 characters.

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
    length = gap.start() - begin
    before = text[max(begin, gap.start() - 30) : gap.start()]
    following = text[gap.end() : min(end, gap.end() + 12)]
    if following.startswith("."):
        return False
    if length >= _MAX_CLAUSE - _MIN_CLAUSE:
        return True
    if length >= _MIN_STOPPED and _STOP.search(before) and not _ABBREVIATION.search(before):
        return True
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
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end


def _last_word_end(window: str) -> int:
    """Where the last word that surely lies whole in `window` ends."""
    from pythainlp.tokenize import word_tokenize

    found = word_tokenize(window, engine="newmm", keep_whitespace=True)
    return max(len(window) - len(found[-1]), 1) if len(found) > 1 else len(window)


# Thai text mislabelled as Latin-1, as in PDFs made with 8-bit Thai fonts. Three parts, each found
# by comparing the text layer of samples/lshort-thai.pdf with the TeX source of that book:
# 1. The letters themselves: TIS-620 bytes A1-FB shown as the Latin-1 characters U+00A1-U+00FB.
_TIS620: Final = {code: code + 0xD60 for code in (*range(0xA1, 0xDB), *range(0xDF, 0xFC))}
# 2. Vowels and tone marks drawn higher, or further left over the tall letters ป ฝ ฟ ฬ, have codes
#    of their own below A1. Fonts of the Norasi family leave them as control characters ...
_NORASI: Final = {
    0x81: 0x0E34, 0x82: 0x0E35, 0x83: 0x0E36, 0x84: 0x0E37,  # vowels above, left: ิ ี ึ ื
    0x86: 0x0E48, 0x87: 0x0E49, 0x88: 0x0E4A, 0x89: 0x0E4B, 0x8A: 0x0E4C,  # low, left: ่ ้ ๊ ๋ ์
    0x8B: 0x0E48, 0x8C: 0x0E49, 0x8D: 0x0E4A, 0x8E: 0x0E4B, 0x8F: 0x0E4C,  # high: ่ ้ ๊ ๋ ์
    0x90: 0x0E0D,  # ญ without its foot
    0x98: 0x0E31, 0x99: 0x0E4D, 0x9A: 0x0E47,  # left: ั ํ ็
    0x9B: 0x0E48, 0x9C: 0x0E49, 0x9D: 0x0E4A, 0x9E: 0x0E4B, 0x9F: 0x0E4C,  # high, left: ่ ้ ๊ ๋ ์
}  # fmt: skip
# 3. ... and fonts with the Macintosh Thai layout show them as the Windows-1252 letters there.
_MACINTOSH: Final = {
    "ˆ": "่", "‰": "้", "Š": "๊", "‹": "๋", "Œ": "์",  # 88-8C: low tone marks
}  # fmt: skip
# The left-hand ones look like quotes and dashes: they count only between ป ฝ ฟ ฬ and a Thai letter.
_MACINTOSH_LEFT: Final = {"’": "ั", "“": "็", "”": "ิ", "•": "ี", "–": "ึ", "—": "ื"}  # 92-97
_TABLE: Final = {**_TIS620, **_NORASI, **{ord(k): ord(v) for k, v in _MACINTOSH.items()}}

_BROKEN_RUN: Final = re.compile(r"[\x80-\x9f\xa1-\xda\xdf-\xfbˆ‰Š‹Œ]+")
_LEFT_MARK: Final = re.compile(
    "(?<=[»½¿Ì])[’“”•–—](?=[\xa1-\xd0\xe8-\xecˆ‰Š‹Œ])"
)  # » is ป, and so on
# A soft hyphen is ญ (AD); at a line end a PDF reader takes it for a hyphen and joins the lines.
_HYPHEN_AT_END: Final = re.compile("(?<=[\u0e01-\u0e4e])\ufffe")
_ALONE: Final = re.compile(r"[ïæð-ù]")  # ๏, ๆ and the digits may stand without other letters
_ABBREVIATED: Final = re.compile(r"(?<![A-Za-z])[¡-Î](?=\.)")  # one letter and a full stop: พ.ศ.
_ORPHAN_MARK: Final = re.compile(
    "(?:^|[^\u0e01-\u0e2e\u0e31-\u0e3a\u0e47-\u0e4e])[\u0e31\u0e33-\u0e3a\u0e47-\u0e4e]"
    "|[\u0e40-\u0e44](?![\u0e01-\u0e2e])"
)
_MIN_RUN = 4  # accented letters of European languages seldom stand four in a row
_MIN_LETTERS = 8
_MAX_ORPHANS = 0.04  # of the letters: marks on no letter, front vowels before none
_MIN_WORDS = (
    0.5  # of the letters in dictionary words of three letters up: Thai has 0.9, others 0.15
)
_LOOKED_UP = 4000  # letters


def is_mojibake(text: str) -> bool:
    """Whether `text` holds Thai shown as Latin-1: long runs of accented letters, words in Thai."""
    every_run = _BROKEN_RUN.findall(text)
    runs = [run for run in every_run if len(run) >= _MIN_RUN]
    letters = sum(map(len, runs))
    if letters < _MIN_LETTERS or letters < sum(map(len, every_run)) / 2:
        return False
    thai = [run.translate(_TABLE) for run in runs]
    orphans = sum(len(_ORPHAN_MARK.findall(run)) for run in thai)
    return orphans <= _MAX_ORPHANS * letters and _are_words(thai)


def _are_words(runs: list[str]) -> bool:
    from pythainlp.corpus import thai_words

    sample = "\n".join(runs)[:_LOOKED_UP]
    known = [word for word in words(sample) if len(word) > 2 and word in thai_words()]
    return sum(map(len, known)) >= _MIN_WORDS * len("".join(sample.split()))


def repair_mojibake(text: str, certain: bool = False) -> str:
    """Readable Thai from Thai shown as Latin-1; any other text comes back unchanged.

    `certain` skips the look at the text, for a short page of a document known to be broken.
    """
    if not certain and not is_mojibake(text):
        return text
    shown = _LEFT_MARK.sub(lambda match: chr(ord(_MACINTOSH_LEFT[match[0]]) - 0xD60), text)
    fixed = _BROKEN_RUN.sub(lambda match: _repair_run(match, shown), shown)
    return _HYPHEN_AT_END.sub("ญ\n", fixed)


def _repair_run(match: re.Match[str], text: str) -> str:
    run, thai = match[0], match[0].translate(_TABLE)
    around = text[max(0, match.start() - 1) : match.start()] + text[match.end() : match.end() + 1]
    in_word = any(char.isascii() and char.isalpha() for char in around)
    if len(run) == 1:
        alone = _ALONE.match(run) and not in_word
        return thai if alone or _ABBREVIATED.match(text, match.start()) else run
    if len(run) < _MIN_RUN and in_word and (len(run) == 2 or _ORPHAN_MARK.search(thai)):
        return run  # "naïve", "créée": a European word quoted in a Thai page
    return thai
