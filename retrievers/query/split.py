"""Split a question that asks for several things by its words alone, and strip it to them."""

import re
from collections.abc import Sequence
from typing import Final

from retrievers.analysis import STOP_WORDS, THAI_STOP_WORDS
from retrievers.query.names import names_of

MAX_PARTS: Final = 4
_ASKING: Final = r"(?:who|whom|whose|what|which|when|where|why|how)\b"
_SECOND_PART: Final = re.compile(
    rf"(?:,\s*|(?<!\s)\s+)(?:and|but|then)\s+(?={_ASKING})", re.IGNORECASE
)
_SENTENCE_END: Final = re.compile(r"(?<=[?？])\s+")
_REFERS_BACK: Final = re.compile(r"\b(?:he|she|they|him|her|them|his|their|its)\b", re.IGNORECASE)
_COMPARES: Final = re.compile(r"\b(?:between|differences?|differ|compared?|than)\b", re.IGNORECASE)
_BARE_WORD: Final = re.compile(r"[\w\u0e31-\u0e4e]+(?:['’-][\w\u0e31-\u0e4e]+)*")  # and Thai signs
_SMALL_WORDS: Final = STOP_WORDS | THAI_STOP_WORDS | {"whose", "much", "many"}


def split_question(question: str) -> list[str]:
    """The parts of a question that ask for several things, by its words alone."""
    parts: list[str] = []
    for sentence in _SENTENCE_END.split(question):
        if _COMPARES.search(sentence):
            parts.append(sentence)  # one question about two things
        else:
            parts.extend(_SECOND_PART.split(sentence))
    whole: list[str] = []
    for part in (text.strip().rstrip("?？, ").strip() for text in parts):
        if whole and len(part.split()) < 3:
            whole[-1] = f"{whole[-1]} and {part}"  # "and when" asks of what stands before it
        elif part:
            whole.append(part)
    if len(whole) < 2 or len(whole) > MAX_PARTS:
        return [question]
    return [_with_name(part, whole[:at]) + "?" for at, part in enumerate(whole)]


def _with_name(part: str, before: Sequence[str]) -> str:
    """Say whom a pronoun means, where the earlier parts name exactly one."""
    if not _REFERS_BACK.search(part) or names_of(part):
        return part
    names = {name for text in before for name in names_of(text)}
    return f"{part} ({names.pop()})" if len(names) == 1 else part


def bare_words(question: str) -> str:
    """The question without its function words, in the same order."""
    kept = [w for w in _BARE_WORD.findall(question) if w.lower() not in _SMALL_WORDS]
    return " ".join(kept) or question
