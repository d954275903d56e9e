"""Character classes that do not change with the Python that runs.

A tokenizer must split a text the same way for ever, but each release of Unicode adds letters
and marks. `characters.txt` freezes the classes at the versions that the Rust `tokenizers`
library was built with, by which published models are used: Unicode 16 for the classes of
patterns, 17 for digits and case, 8 for BERT's punctuation, marks and control characters.
A test compares every code point with that library.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import regex

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

# One character of each general category that every Unicode since version 3 classes so.
_STAND_INS = {
    "Lu": "\u0100", "Ll": "\u0101", "Lt": "\u01c5", "Lm": "\u02c6", "Lo": "\ua000",
    "Mn": "\u0300", "Mc": "\u0903", "Me": "\u0488", "Nd": "\u0660", "Nl": "\u2160",
    "No": "\u2460", "Pc": "\u203f", "Pd": "\u2010", "Ps": "\u2045", "Pe": "\u2046",
    "Pi": "\u00ab", "Pf": "\u00bb", "Po": "\u2020", "Sm": "\u2200", "Sc": "\u20ac",
    "Sk": "\u02d8", "So": "\u2600", "Cf": "\u200e", "Cn": "\ufdd0",
}  # fmt: skip
_SIGMA = {ord("Σ"): "σ"}  # Python lowers a final sigma by its place, tokenizers do not
_CJK = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF),
    (0x2A700, 0x2B81F), (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip
_SPACES = frozenset(
    (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029)
) | {0x202F, 0x205F, 0x3000}


class CharacterMap(dict[int, str | None]):
    """A table for `str.translate` that asks `find` once for each character it meets."""

    def __init__(self, find: Callable[[int], str | None]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, code: int) -> str | None:
        found = self[code] = self._find(code)
        return found


class CharacterSet:
    """A set of code points kept as sorted ranges."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self._starts = [start for start, _ in ranges]
        self._ends = [end for _, end in ranges]  # inclusive

    def __contains__(self, code: int) -> bool:
        at = bisect_right(self._starts, code) - 1
        return at >= 0 and code <= self._ends[at]


class Characters:
    """The frozen classes, with the text operations that rest on them."""

    def __init__(self, lines: dict[str, str]) -> None:
        sets = {name: _read_ranges(line) for name, line in lines.items() if name != "lower.to"}
        self._newer = {
            name.removeprefix("newer."): CharacterSet(ranges)
            for name, ranges in sets.items()
            if name.startswith("newer.")
        }
        self.numeric = CharacterSet(sets["numeric"])
        self.punctuation = CharacterSet(sets["punctuation"])  # beyond ASCII
        self.other = CharacterSet(sets["other"])  # control, format, private
        self.marks = CharacterSet(sets["mark"])
        self._inert = CharacterSet(sets["inert"])
        capitals = [c for start, end in sets["lower.from"] for c in range(start, end + 1)]
        small = [chr(int(word, 16)) for word in lines["lower.to"].split()]
        self._lower = dict(zip(capitals, small, strict=True))
        self._stand_ins = CharacterMap(lambda code: self._new_class(code) or chr(code))
        self._settled = CharacterMap(self._settle)

    def stand_in(self, text: str) -> str:
        """`text` with a well-known character of the same class for each newer one.

        Same length, so that the places where a pattern matches hold for `text` too.
        """
        return text if text.isascii() else text.translate(self._stand_ins)

    def normalize(self, form: Form, text: str) -> str:
        """The Unicode normal form of `text`; what was added since stays as it is."""
        if text.isascii():
            return text
        shape = text.translate(self._settled)
        if "!" not in shape:
            return unicodedata.normalize(form, text)
        spans = (match.span() for match in regex.finditer("!|[^!]+", shape))
        return "".join(
            text[a:b] if shape[a] == "!" else unicodedata.normalize(form, text[a:b])
            for a, b in spans
        )

    def lower(self, text: str) -> str:
        """`text` in small letters, each character by itself."""
        if text.isascii() or "!" not in text.translate(self._settled):
            return text.translate(_SIGMA).lower()
        return "".join(map(self._lower_one, text))

    def _lower_one(self, char: str) -> str:
        code = ord(char)
        if self._new_class(code) is not None:
            return self._lower.get(code, char)
        return char.translate(_SIGMA).lower()

    def _new_class(self, code: int) -> str | None:
        """The stand-in of a character that came or changed after Unicode 14, or None."""
        if code < 0x250:
            return None
        found = (name for name, newer in self._newer.items() if code in newer)
        return next((_STAND_INS[name] for name in found), None)

    def _settle(self, code: int) -> str:
        """`!` for a character that normal forms and case leave alone, whatever Python says."""
        return "!" if code in self._inert or self._new_class(code) is not None else "a"


def is_space(code: int) -> bool:
    """Whether Unicode calls the character white space (25 of them do)."""
    return code in _SPACES


def is_chinese(code: int) -> bool:
    """Whether BERT puts spaces around the character: the ideographs, not kana or hangul."""
    return code >= 0x3400 and any(start <= code <= end for start, end in _CJK)


@cache
def characters() -> Characters:
    """The one table of this process, read on first use."""
    text = Path(__file__).with_name("characters.txt").read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return Characters(dict(line.split(": ", 1) for line in lines))


def _read_ranges(line: str) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    last = 0
    for word in line.split():
        gap, _, more = word.partition("+")
        start = last + int(gap, 16)
        last = start + int(more or "0", 16)
        ranges.append((start, last))
    return ranges
