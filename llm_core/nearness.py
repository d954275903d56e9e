"""How near a value of a text stands to words that speak of an argument.

"With a base of 10 and 3 nights" tells by its words which number is the base and which the
nights; "from Oslo to Rome" tells by its prepositions which is the origin.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llm_core.words import stems

_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]+|[,.;:?!](?=\s|$)")
_BEFORE = (1.0, 0.9, 0.6, 0.3)  # by the distance in words
_AFTER = (0.9, 0.4)
_STOPS = frozenset((b",", b".", b";", b"?", b"!", b"and", b"or"))
_PLAIN = frozenset(b"a an the my your our of in on at to for from by with and or i me".split())
_ROLES = {
    b"from": "from origin source start begin departure initial old current first lower since",
    b"to": "to destination target end arrival final new receiver recipient second upper until",
    b"by": "by author artist director creator composer owner",
    b"in": "in location city country state place area region language",
    b"near": "location place area",
    b"for": "for duration",
    b"on": "date day",
    b"at": "time",
    b"between": "from origin source start first",
}
_MARKS = {  # beside a number: what its sign says it is
    b"$": "price cost amount balance budget salary income money value payment principal fee",
    b"%": "percent percentage rate interest discount tax tip probability",
}


def _cut(text: str) -> frozenset[str]:
    return frozenset(word[:5] for word in text.split())


_ROLE_STEMS = {word: _cut(text) for word, text in _ROLES.items()}
_MARK_STEMS = {mark: _cut(text) for mark, text in _MARKS.items()}


class Nearness:
    """The words of a text in UTF-8, and where they stand."""

    def __init__(self, text: bytes) -> None:
        found = list(_WORD.finditer(text))
        self._text = text
        self._starts = [match.start() for match in found]
        self._words = [match.group().lower() for match in found]
        self._stems = [word.decode(errors="replace")[:5] for word in self._words]
        self._known = set(self._stems)
        for word in _ROLE_STEMS.keys() & set(self._words):
            self._known |= _ROLE_STEMS[word]
        for mark in _MARK_STEMS:
            if mark in text:
                self._known |= _MARK_STEMS[mark]

    def speaks_of(self, about: frozenset[str]) -> bool:
        """Whether any value of the text can be near any of the stems."""
        return not self._known.isdisjoint(about)

    def of(self, start: int, end: int, about: frozenset[str]) -> float:
        """From 0 for far to 1 for beside: the span text[start:end] and any of the stems."""
        if not self.speaks_of(about):
            return 0.0
        at, after = bisect_left(self._starts, start), bisect_left(self._starts, end)
        near = 0.0
        if at < after and (self._words[at] in _PLAIN or self._stems[at] in about):
            return near
        for distance, worth in enumerate(_BEFORE, start=1):
            place = at - distance
            if place < 0 or (distance > 1 and self._words[place] in _STOPS):
                break
            if self._stems[place] in about:
                near = max(near, worth)
            elif distance == 1 and _ROLE_STEMS.get(self._words[place], frozenset()) & about:
                near = max(near, _BEFORE[0])
        for distance, worth in enumerate(_AFTER):
            place = after + distance
            if place >= len(self._words) or self._words[place] in _STOPS:
                break
            if self._stems[place] in about:
                near = max(near, worth)
        for mark in (self._text[max(0, start - 1) : start], self._text[end : end + 1]):
            if _MARK_STEMS.get(mark, frozenset()) & about:
                near = max(near, _AFTER[0])
        return near


@lru_cache(maxsize=8)
def nearness(text: bytes) -> Nearness:
    """The words of a text, kept for the next question."""
    return Nearness(text)


def stems_of(name: str, part: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """The stems of an argument's name, and those of its description."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()
    names = frozenset(word[:5] for word in spaced.split() if len(word) > 1)
    return names, frozenset(stems(str(part.get("description", "")))) - names
