"""What a request asks for, cut into parts that may each need a call of a tool of their own.

Cuts are only proposed here, by sentence ends, by words that begin a further wish ("then",
"also", "and find") and by lists of values of one kind; `llm_core.tool_choice` decides which of
them stand for calls of their own.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.toolcalls import ToolSpec

# Cosines (texts, tools) between texts and the tools.
Closeness = Callable[[Sequence[str]], NDArray[np.float64]]

_CLOSE = 0.25  # cosine from which on a part may be meant for a tool
_LOSS = 0.1  # by how much a part may be less close to its tool than the whole request is

# Quotes and brackets are kept whole, as are numbers and abbreviations with dots.
_WHOLE = re.compile(
    r"\"[^\"\n]{0,80}\"|“[^”\n]{0,80}”|(?<!\w)'[^'\n]{0,80}'(?!\w)|\[[^\[\]\n]*\]|\([^()\n]*\)|\{[^{}\n]*\}"
    r"|\b(?:Dr|Mr|Mrs|Ms|St|No|vs|e\.g|i\.e|etc|approx|a\.m|p\.m|U\.S|Inc|Jr|Sr)\."
)
_ASKS = (
    "find|get|give|calculate|compute|determine|search|show|tell|list|fetch|retrieve|book|convert"
    "|check|create|send|make|generate|add|set|what|who|how|when|where|which|can|could|would|will"
    "|please|look|play|order|estimate|predict|identify|analyze|analyse|compare|translate|provide"
    "|schedule|reserve|buy|sort|solve|verify|evaluate|update|delete|remove|turn|open|is|are|do|does"
    "|multiply|subtract|divide|sum|read|write|save|call|notify|rent|simulate|plot|draw|i"
)
_ENDS = re.compile(r"[.?!;。？！]+[\"'”’)]*(?:\s+|$)|\n+|(?<=[。？！])")
_FURTHER = re.compile(
    r",?\s+(?:and\s+then|and\s+also|and\s+finally|after\s+that,?|then|also|as\s+well\s+as|plus)\s+"
    rf"|,?\s+and,?\s+(?=(?:{_ASKS})\b)|,\s+(?=(?:{_ASKS})\b)",
    re.IGNORECASE,
)
_AND_THE = re.compile(
    r"(?:,\s+(?:and\s+)?|\s+and\s+)(?=(?:the|a|an|for|from|another|also)\s)", re.IGNORECASE
)
_NUMBER = r"[$€£]?-?\d+(?:,\d{3})*(?:\.\d+)?%?"
_NAME = r"[A-Z][\w'’&-]*(?:\s(?:of|de|the|la|del|van|von)?\s?[A-Z][\w'’&-]*)*"
_PLACE = rf"{_NAME},\s(?:[A-Z]{{2,3}}|[A-Z][a-z]+)\b"
_QUOTED = r"\"[^\"\n]+\"|“[^”\n]+”|(?<!\w)'[^'\n]+'(?!\w)"
_AND = r"(?:,\s+and\s+|\s+and\s+|\s+or\s+|,\s+or\s+|\s+as\s+well\s+as\s+|\s*&\s*)"
_UNIT = r"(?:\s?[a-zA-Z°]{1,12})?"
_KINDS = tuple(
    (re.compile(rf"({item})(?:,\s+(?:{item}))*{_AND}(?:(?:in|for|of|at)\s+)?({item})"), item)
    for item in (_QUOTED, _PLACE, _NAME, _NUMBER)
)
_BACK = re.compile(
    r"\b(?:the|that|this|these|those|its|their)\s+(?:result|answer|sum|product|number|value|total"
    r"|output|outcome|results|amount|quotient|difference|temperature|price)\b|\b(?:it|them|that)\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"(?:(?:and|for|in|on|also|then|finally|lastly)\W+)*(?:the\s+)?"
    r"(?:first|second|third|fourth|fifth|sixth|another|other|last|next|one)\b",
    re.IGNORECASE,
)
_A_NUMBER = re.compile(
    r"\d[\d,]*(?:\.\d+)?|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|dozen|hundred|thousand|million|once|twice|half)\b",
    re.IGNORECASE,
)
_VALUE = re.compile(rf"{_QUOTED}|\d|(?<=[a-z,:]\s)[A-Z]\w")

_SPAN = re.compile(rf"{_QUOTED}|(?<=[\w,:]\s){_NAME}")


@dataclass(frozen=True)
class Wish:
    """A part of a request, the tool closest to it, and whether it needs an earlier result."""

    text: str
    tool: ToolSpec | None
    waits: bool


@dataclass(frozen=True)
class ValueList:
    """Values of one kind that a text lists, and where the list stands: text[start:end]."""

    values: tuple[str, ...]
    start: int
    end: int

    def only(self, text: str, value: str) -> str:
        """The text with one of the values in the list's place."""
        return text[: self.start] + value + text[self.end :]


def clauses(text: str) -> list[str]:
    """Sentences, cut further where a word begins another wish; joined they cover the text."""
    found = []
    for sentence in cut(text, _ENDS):
        found += [part for piece in cut(sentence, _FURTHER) for part in cut(piece, _AND_THE)]
    return found


def cut(text: str, pattern: re.Pattern[str]) -> list[str]:
    """The pieces between matches outside quotes and brackets; what ends a sentence stays."""
    hidden = _WHOLE.sub(lambda found: "\x00" * len(found.group()), text)
    pieces, begin = [], 0
    for found in pattern.finditer(hidden):
        kept = text[begin : found.end()] if pattern is _ENDS else text[begin : found.start()]
        pieces.append(kept.strip())
        begin = found.end()
    pieces.append(text[begin:].strip())
    return [piece for piece in pieces if piece.strip(" .,;:?!-\"'")]


def has_values(text: str) -> bool:
    """Whether a text names something: a number, a quotation, a name."""
    return _VALUE.search(text) is not None


def looks_back(text: str) -> bool:
    """Whether a text needs the result of something before it."""
    return _BACK.search(text) is not None


def value_lists(text: str) -> Iterator[ValueList]:
    """Every list of two or more values of one kind, such as "Paris, Rome and Oslo"."""
    taken: list[tuple[int, int]] = []
    for pattern, item in _KINDS:
        for found in pattern.finditer(text):
            start, end = found.span()
            if any(start < other[1] and other[0] < end for other in taken):
                continue
            taken.append((start, end))
            values = tuple(
                dict.fromkeys(value.rstrip(",") for value in re.findall(item, found.group()))
            )
            if len(values) > 1:
                yield ValueList(values, start, end)


def numbers_lacking(text: str, parameters: Mapping[str, Any]) -> float:
    """The share, 0 to 1, of the numbers that a call must give which `text` does not hold."""
    needed = needed_numbers(parameters)
    return max(0, needed - count_numbers(text)) / needed if needed else 0.0


def needed_numbers(parameters: Mapping[str, Any]) -> int:
    """How many of the required parameters are a number each, by the JSON schema of all."""
    properties = parameters.get("properties", {})
    required = (properties.get(name) for name in parameters.get("required", ()))
    return sum(
        isinstance(part, Mapping) and part.get("type") in ("integer", "number") for part in required
    )


def count_numbers(text: str) -> int:
    """How many numbers a text holds, in digits or words."""
    return len(_A_NUMBER.findall(text))


def count_spans(text: str) -> int:
    """How many quotations and names a text holds."""
    return len(_SPAN.findall(text))


def divide(text: str, tools: Sequence[ToolSpec], closeness: Closeness) -> list[Wish]:
    """The parts of a request that want a call of their own, in order; the whole where it is one.

    A part stands alone if some tool is close to it, its required numbers are there, and it
    wants another tool than the part before it, or the same one with other values.
    """
    pieces = clauses(text)
    if len(pieces) < 2:
        return [Wish(text, None, False)]
    whole = closeness([text])[0]
    wishes: list[Wish] = []
    waiting = head = ""
    for piece in pieces:
        joined = f"{waiting} {piece}".strip()
        close = closeness([joined])[0]
        best = int(np.argmax(close))
        counted = _COUNTED.match(piece) is not None
        if counted and not wishes:
            head, joined = waiting, piece
        if counted and has_values(piece):
            best = int(np.argmax(closeness([f"{head} {piece}"])[0])) if head else best
            joined = f"{head} {piece}".strip()
        elif close[best] < _CLOSE or close[best] < whole[best] - _LOSS:
            waiting = joined
            continue
        if numbers_lacking(piece if counted else joined, tools[best].parameters):
            waiting = joined
            continue
        wish = Wish(joined, tools[best], bool(wishes) and looks_back(piece))
        waiting = ""
        if wishes and not _apart(wishes[-1], wish):
            wishes[-1] = replace(wishes[-1], text=f"{wishes[-1].text} {piece}")
        else:
            wishes.append(wish)
    if len(wishes) < 2:
        return [Wish(text, None, False)]
    if waiting:
        wishes[-1] = replace(wishes[-1], text=f"{wishes[-1].text} {waiting}")
    return wishes


def _apart(before: Wish, after: Wish) -> bool:
    if before.tool != after.tool:
        return True
    return has_values(before.text) and has_values(after.text)


def siblings(text: str, arguments: Mapping[str, Any]) -> list[str]:
    """The text once more for each value of its lists that the first call has left out.

    A list counts if the call holds one of its values, and no other, as an argument of its own.
    """
    given = {_plain(value) for value in arguments.values() if not isinstance(value, list | dict)}
    written = _plain(" ".join(map(str, arguments.values())))
    lists = []
    for found in value_lists(text):
        used = [value for value in found.values if _plain(value) in given]
        held = [value for value in found.values if _plain(value) in written]
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
