"""Values that a request lists, and whether a tool must be called once for each of them.

A list is a run of values of one kind ("Paris, Rome and Oslo") or of word groups of one shape
("10 profiles in English and 8 in German"). A tool whose schema has fewer places for such values
than the list holds can only be called once for each; where it has enough, its first call shows
whether the list was meant for one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llm_core.toolcalls import ToolSpec

Kind = Literal["text", "number"]

QUOTED = r"\"[^\"\n]+\"|“[^”\n]+”|(?<!\w)'[^'\n]+'(?!\w)"
NAME = r"[A-Z][\w'’&-]*(?:\s(?:of|de|the|la|del|van|von)?\s?[A-Z][\w'’&-]*)*"
_PLACE = rf"{NAME},\s(?:[A-Z]{{2,3}}|[A-Z][a-z]+)\b"
_NAMED = rf"{NAME}(?:\s\([^()\n]{{1,20}}\))?"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DATE = rf"{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?|\d{{4}}-\d\d-\d\d"
_LINK = r"https?://[^\s,]*[^\s,.?!]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?:[\w-]+\.)+[a-z]{2,}"
_NUMBER = r"(?<![\w.:/-])[$€£]?-?\d+(?:,\d{3})*(?:\.\d+)?%?(?![\w:/-])(?!\.\d)"
_CODE = r"#?(?=[\w-]*\d)[A-Z0-9][\w-]*"
_UNIT = (
    r"(?:\s?(?:°[CF]?|[cmk]?m|[mk]?g|meters?|metres?|feet|ft|inches|miles|years?|months?|days?"
    r"|hours?|minutes?|seconds?|dollars?|euros?|degrees?|pages?|people)\b)?"
)
_AND = r"(?:,\s+and\s+|\s+and\s+|\s+or\s+|,\s+or\s+|,?\s+as\s+well\s+as\s+|\s*&\s*|,?\s+then\s+)"
_AGAIN = r"(?:(?:also\s+)?(?:in|for|of|at|on|with)\s+)?(?:then\s+)?"
_KINDS: tuple[tuple[str, Kind], ...] = (
    (QUOTED, "text"),
    (_LINK, "text"),
    (_DATE, "text"),
    (_PLACE, "text"),
    (_CODE, "text"),
    (_NAMED, "text"),
    (_NUMBER + _UNIT, "number"),
)
_LISTS = tuple(
    (re.compile(rf"({item})(?:,\s+{_AGAIN}(?:{item}))*{_AND}{_AGAIN}({item})"), item, kind)
    for item, kind in _KINDS
)
_VALUES = tuple((re.compile(item), kind) for item, kind in _KINDS)
_LEAD = re.compile(r"\b(?:between|from|difference\s+of)\s+(?:the\s+)?$", re.IGNORECASE)
_BEGINS = re.compile(r"(?:^|[.?!:]\s+|\n)$")
_WHOLE = rf"{QUOTED}|{_DATE}|{_PLACE}"  # holds commas that end no group
_STEP = re.compile(r",\s+(?:and\s+)?(?:then\s+)?|;\s*(?:and\s+)?|\s+and\s+")
_NO_NAMES = ("I", "ID", "IDs")
_STOPS = frozenset(("a", "an", "and", "are", "is", "or", "the", "was"))
_WORDS = re.compile(r"[a-z]+")
_SENTENCE = re.compile(r"[^.?!\n]+(?:[.?!](?=\S)[^.?!\n]*)*")
_FREE = re.compile(r"\bdefault|\boptional", re.IGNORECASE)
_HOLDS_LIST = re.compile(r"comma|separated|list of|multiple|one or more|several", re.IGNORECASE)
_OTHER_WORDS = 2  # that a group may have besides those that the one before has too
_MOST = 16  # texts that one request is spread over


@dataclass(frozen=True)
class ValueList:
    """Values of one kind that a text lists, and where the list stands: text[start:end].

    `per_value` is how many values of `kind` each of them holds; it is more than one for groups.
    """

    values: tuple[str, ...]
    start: int
    end: int
    kind: Kind = "text"
    per_value: int = 1

    def only(self, text: str, value: str) -> str:
        """The text with one of the values in the list's place."""
        return text[: self.start] + value + text[self.end :]


def value_lists(text: str) -> Iterator[ValueList]:
    """Every list of two or more values of one kind, such as "Paris, Rome and Oslo"."""
    taken: list[tuple[int, int]] = []
    for pattern, item, kind in _LISTS:
        at = 0
        while (found := pattern.search(text, at)) is not None:
            start, end = found.span()
            if text[start].isupper() and _BEGINS.search(text[:start]):
                at = start + len(found.group().split()[0])
                continue
            at = end
            if item == _CODE and not re.search(r"[A-Za-z]", found.group(1) + found.group(2)):
                continue
            if any(start < other[1] and other[0] < end for other in taken):
                continue
            taken.append((start, end))
            values = [value.group().rstrip(",") for value in re.finditer(item, found.group())]
            if kind == "number" and _bare(values[0]) == values[0] != values[-1]:
                # The unit stands once, behind the list: "5, 7 and 9 days".
                end -= len(values[-1]) - len(_bare(values[-1]))
                values[-1] = _bare(values[-1])
            values = list(dict.fromkeys(values))
            if any(value in _NO_NAMES for value in values):
                continue
            if len(values) > 1 and not _LEAD.search(text[:start]):
                yield ValueList(tuple(values), start, end, kind)


def _bare(number: str) -> str:
    return re.sub(rf"{_UNIT}$", "", number)


def spread(text: str, tool: ToolSpec) -> list[str]:
    """The text once for each call of the tool that its lists stand for, [text] for one call."""
    texts = [text]
    for _ in range(2):
        texts = [one for each in texts for one in _spread_once(each, tool)]
    return list(dict.fromkeys(texts))[:_MOST]


def _spread_once(text: str, tool: ToolSpec) -> list[str]:
    lists = [one for one in (*groups(text), *value_lists(text)) if _must_spread(one, tool)]
    if not lists:
        return [text]
    size = len(lists[0].values)
    first = lists[0]
    together = [first] + [
        one
        for one in lists[1:]
        if len(one.values) == size and (one.end <= first.start or first.end <= one.start)
    ]
    together.sort(key=lambda one: -one.start)
    texts = []
    for number in range(size):
        other = text
        for found in together:
            other = found.only(other, found.values[number])
        texts.append(other)
    return texts


def _must_spread(found: ValueList, tool: ToolSpec) -> bool:
    room = places(tool.parameters, found.kind)
    return 0 < room < len(found.values) * found.per_value


def places(parameters: Mapping[str, Any], kind: Kind) -> int:
    """How many values of a kind one call has a place for; 0 where lists may be given whole.

    Required parameters count, or all that have no default where none is required; numbers go
    to strings where no parameter is a number.
    """
    properties = parameters.get("properties", {})
    required = [properties[name] for name in parameters.get("required", ()) if name in properties]
    known = [part for part in required or properties.values() if isinstance(part, Mapping)]
    if not required:
        known = [part for part in known if not _FREE.search(str(part))] or known
    if any(_takes_lists(part) for part in known):
        return 0
    numbers = sum(part.get("type") in ("integer", "number") for part in known)
    if kind == "number" and numbers:
        return numbers
    return sum(part.get("type") == "string" for part in known)


def _takes_lists(part: Mapping[str, Any]) -> bool:
    if part.get("type") == "string":
        return _HOLDS_LIST.search(str(part.get("description", ""))) is not None
    return part.get("type") not in ("integer", "number", "boolean", "null")


def groups(text: str) -> Iterator[ValueList]:
    """Every list of word groups of one shape, such as "10 in English and 8 in German"."""
    for sentence in _SENTENCE.finditer(text):
        pieces = list(_pieces(text, *sentence.span()))
        first = 0
        while first < len(pieces) - 1:
            last = first + 1
            while last < len(pieces) and _alike(text, pieces[first], pieces[last]):
                last += 1
            if last - first > 1:
                yield _grouped(text, pieces[first:last])
            first = last


@dataclass(frozen=True)
class _Piece:
    """A part of a sentence, text[start:end], with the values in it: kind, start and end."""

    start: int
    end: int
    values: tuple[tuple[Kind, int, int], ...]

    def words(self, text: str) -> set[str]:
        """The words that are no values."""
        left = list(text[self.start : self.end])
        for _, start, end in self.values:
            left[start - self.start : end - self.start] = " " * (end - start)
        return set(_WORDS.findall("".join(left).lower())) - _STOPS


def _pieces(text: str, start: int, end: int) -> Iterator[_Piece]:
    hidden = re.sub(_WHOLE, lambda found: "\x00" * len(found.group()), text[start:end])
    cuts = [(start + found.start(), start + found.end()) for found in _STEP.finditer(hidden)]
    for left, right in zip(
        [start, *(cut[1] for cut in cuts)], [*(c[0] for c in cuts), end], strict=True
    ):
        taken: list[tuple[Kind, int, int]] = []
        for pattern, kind in _VALUES:
            for found in pattern.finditer(text, left, right):
                here = found.span()
                if any(here[0] < other[2] and other[1] < here[1] for other in taken):
                    continue
                if text[here[0]].isupper() and _BEGINS.search(text[: here[0]]):
                    continue
                if found.group() not in _NO_NAMES:
                    digits = found.group().isdigit()
                    taken.append(("number" if digits else kind, *here))
        yield _Piece(left, right, tuple(sorted(taken, key=lambda one: one[1])))


def _alike(text: str, first: _Piece, other: _Piece) -> bool:
    """Whether the first piece ends in values as the other has them, among words of the same."""
    size = len(other.values)
    if not size or len(first.values) < size:
        return False
    if [one[0] for one in first.values[-size:]] != [one[0] for one in other.values]:
        return False
    shared = first.words(text) & other.words(text)
    if shared and shared == other.words(text):
        return True
    return len(shared) > 1 and len(other.words(text) - shared) <= _OTHER_WORDS


def _grouped(text: str, pieces: list[_Piece]) -> ValueList:
    size = len(pieces[1].values)
    start = pieces[0].values[-size][1]
    lead = text[pieces[1].start : pieces[1].values[0][1]]
    if lead and text[:start].endswith(lead):
        start -= len(lead)
    kinds = [one[0] for one in pieces[1].values]
    kind: Kind = "number" if "number" in kinds else "text"
    values = [text[start : pieces[0].end], *(text[one.start : one.end] for one in pieces[1:])]
    return ValueList(tuple(values), start, pieces[-1].end, kind, kinds.count(kind))


def siblings(text: str, arguments: Mapping[str, Any]) -> list[str]:
    """The text once more for each value of its lists that the first call has left out.

    A list counts if the call holds one of its values, and no other, as an argument of its own.
    """
    given = {_plain(value) for value in arguments.values() if not isinstance(value, list | dict)}
    written = _plain(" ".join(map(str, arguments.values())))
    lists = []
    for found in value_lists(text):
        used = [value for value in found.values if _plain(_bare(value)) in given]
        held = [value for value in found.values if _plain(_bare(value)) in written]
        if len(used) == len(held) == 1:
            lists.append((found, used[0]))
    if not lists:
        return []
    size = len(lists[0][0].values)
    lists = [each for each in lists if len(each[0].values) == size]
    used_at = {found.values.index(used) for found, used in lists}
    if len(used_at) > 1:
        lists = lists[:1]
    at = lists[0][0].values.index(lists[0][1])
    texts = []
    for number in range(size):
        if number != at:
            other = text
            for found, _ in reversed(lists):
                other = found.only(other, found.values[number])
            texts.append(other)
    return texts


def _plain(value: Any) -> str:
    return re.sub(r"[^\w.%]", "", str(value)).lower().rstrip(".").removesuffix(".0")
