"""What a request asks for, cut into parts that may each need a call of a tool of their own.

Cuts are only proposed here, by sentence ends, by words that begin a further wish ("then",
"also", "and find") and by lists of values of one kind; `llm_core.tool_choice` decides which of
them stand for calls of their own.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_core.toolcalls import ToolSpec
from llm_core.value_lists import NAME, QUOTED

# Cosines (texts, tools) between texts and the tools.
Closeness = Callable[[Sequence[str]], NDArray[np.float64]]

_CLOSE = 0.25  # cosine from which on a part may be meant for a tool
_LOSS = 0.1  # by how much a part may be less close to its tool than the whole request is
_HALF_CLOSE = 0.3  # cosine from which on a side of an "and" may be meant for a tool
_APART = 0.15  # how much closer to its own tool than to the other's each side of an "and" is
_PLAIN_CLOSE, _PLAIN_LOSS = 0.2, 0.2  # the same where a part plainly begins with a wish
_PLAIN_LACKING = 0.34  # share of the needed numbers that it may leave to the rest, or to be guessed

_NUMBER = (
    r"(?:\d[\d,]*(?:\.\d+)?|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|dozen|hundred|thousand|million|once|twice|half)\b)"
)
_A_NUMBER = re.compile(_NUMBER, re.IGNORECASE)

# Quotes, brackets and sums are kept whole, as are numbers and abbreviations with dots.
_WHOLE = re.compile(
    rf"(?i:{_NUMBER}\s+plus\s+(?={_NUMBER}))"
    r"|\"[^\"\n]{0,80}\"|“[^”\n]{0,80}”|(?<!\w)'[^'\n]{0,80}'(?!\w)|\[[^\[\]\n]*\]|\([^()\n]*\)|\{[^{}\n]*\}"
    r"|\b(?:Dr|Mr|Mrs|Ms|St|No|vs|e\.g|i\.e|etc|approx|a\.m|p\.m|U\.S|Inc|Jr|Sr)\."
)
_ASKS = (
    "find|get|give|calculate|compute|determine|search|show|tell|list|fetch|retrieve|book|convert"
    "|check|create|send|make|generate|add|set|what|who|how|when|where|which|can|could|would|will"
    "|please|look|play|order|estimate|predict|identify|analyze|analyse|compare|translate|provide"
    "|schedule|reserve|buy|sort|solve|verify|evaluate|update|delete|remove|turn|open|is|are|do|does"
    "|suggest|execute|perform|run|conduct|predict|process|upload|download|log|multiply|subtract|divide|sum|read|write|save|call|notify|rent|simulate|plot|draw|i"
)
_JOIN = re.compile(r",?\s+and\s+", re.IGNORECASE)
_ENDS = re.compile(r"[.?!;。？！]+[\"'”’)]*(?:\s+|$)|\n+|(?<=[。？！])")
_FURTHER = re.compile(
    r",?\s+(?:and\s+then|and\s+also|and\s+finally|after\s+that,?|then|also|as\s+well\s+as|plus)\s+"
    rf"|,?\s+and,?\s+(?=(?:{_ASKS})\b)|,\s+(?=(?:{_ASKS})\b)",
    re.IGNORECASE,
)
_AND_THE = re.compile(
    r"(?:,\s+(?:and\s+)?|\s+and\s+)(?=(?:the|a|an|for|from|another|also)\s)", re.IGNORECASE
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
_PLAIN = re.compile(
    rf"(?:(?:and|also|additionally|furthermore|finally|lastly|then|next|please|hi|hey)[\s,]+)*"
    rf"(?:{_ASKS}|i (?:also )?(?:need|want)(?!\s(?:it|them|this|that)\b)"
    r"|i(?:'d| would) (?:also )?like)\b",
    re.IGNORECASE,
)
_TELLS = re.compile(
    r"(?:(?:and|also|hi|hey|hello|sure|yes)[\s,]+)*(?:(?:the|my|his|her|its|our|their)\s[^.?!]{1,40}?\s"
    r"(?:is|are)\b|here\s(?:is|are)\s|i\s(?:want|need)\s(?:it|them|this|that)\b|it\s|they\s|we\s|i\s?(?:['’]m|am|have|['’]ve|believe|think|was|could|had|will|['’]ll)"
    r"\b(?!\s(?:also\s)?(?:looking|interested|trying)))",
    re.IGNORECASE,
)
_SAME = re.compile(
    r"(?:(?:can|could|would|will|please)\s|you\s|help\s|assist\s|me\s|with\s|out\s|to\s"
    r"|(?:find|fetch|get|retrieve|list|show|provide|give|do|check|tell)\s|\d+\sof\s|for\s)*"
    r"(?:(?:it|them|that|this|these|those|both|help|assist)\W*|(?:for\s)?me\W*|please\W*|with\s)+$",
    re.IGNORECASE,
)
_VALUE = re.compile(rf"{QUOTED}|\d|(?<=[a-z,:]\s)[A-Z]\w")

_SPAN = re.compile(rf"{QUOTED}|(?<=[\w,:]\s){NAME}")


@dataclass(frozen=True)
class Wish:
    """A part of a request, the tool closest to it, and whether it needs an earlier result."""

    text: str
    tool: ToolSpec | None
    waits: bool


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
        return _halves(text, tools, closeness) or [Wish(text, None, False)]
    whole = closeness([text])[0]
    wishes: list[Wish] = []
    waiting = head = ""
    for piece in pieces:
        if _TELLS.match(piece) or (wishes and not waiting and _SAME.match(piece)):
            if wishes and not waiting:
                wishes[-1] = replace(wishes[-1], text=f"{wishes[-1].text} {piece}")
            else:
                waiting = f"{waiting} {piece}".strip()
            continue
        joined = f"{waiting} {piece}".strip()
        if _COUNTED.match(piece):
            head, joined = (head, joined) if wishes else (waiting, piece)
            joined = f"{head} {piece}".strip() if has_values(piece) else joined
        tool = _meant(piece, joined, tools, closeness, whole)
        if tool is None:
            waiting = joined
            continue
        wish = Wish(joined, tool, bool(wishes) and looks_back(piece))
        waiting = ""
        if wishes and not _apart(wishes[-1], wish):
            wishes[-1] = replace(wishes[-1], text=f"{wishes[-1].text} {piece}")
        else:
            wishes.append(wish)
    if len(wishes) < 2:
        return _halves(text, tools, closeness) or [Wish(text, None, False)]
    if waiting:
        wishes[-1] = replace(wishes[-1], text=f"{wishes[-1].text} {waiting}")
    return wishes


def _halves(text: str, tools: Sequence[ToolSpec], closeness: Closeness) -> list[Wish]:
    """Both sides of an "and", each plainly closer to a tool of its own; none if there are none."""
    for found in _JOIN.finditer(_WHOLE.sub(lambda whole: "\x00" * len(whole.group()), text)):
        sides = [text[: found.start()].strip(), text[found.end() :].strip()]
        if len(tools) < 2 or not all(map(has_values, sides)) or any(map(_TELLS.match, sides)):
            continue
        close = closeness(sides)
        left, right = (int(best) for best in np.argmax(close, axis=1))
        apart = min(close[0, left] - close[0, right], close[1, right] - close[1, left])
        least = min(close[0, left], close[1, right])
        if left == right or apart < _APART or least < _HALF_CLOSE:
            continue
        both = list(zip(sides, (tools[left], tools[right]), strict=True))
        if not any(numbers_lacking(side, tool.parameters) for side, tool in both):
            return [Wish(side, tool, False) for side, tool in both]
    return []


def _meant(
    piece: str,
    joined: str,
    tools: Sequence[ToolSpec],
    closeness: Closeness,
    whole: NDArray[np.float64],
) -> ToolSpec | None:
    """The tool that a piece, `joined` with what it belongs to, asks for; None for none."""
    plain, counted = _PLAIN.match(piece) is not None, _COUNTED.match(piece) is not None
    close = closeness([joined])[0]
    best = int(np.argmax(close))
    least = max(_PLAIN_CLOSE, whole[best] - _PLAIN_LOSS)
    if not plain:
        least = max(_CLOSE, whole[best] - _LOSS)
    if close[best] < least and not (counted and has_values(piece)):
        return None
    lacking = numbers_lacking(piece if counted else joined, tools[best].parameters)
    return tools[best] if lacking <= (_PLAIN_LACKING if plain else 0) else None


def _apart(before: Wish, after: Wish) -> bool:
    if before.tool != after.tool:
        return True
    return has_values(before.text) and has_values(after.text)
