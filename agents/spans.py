"""Candidate short answers: runs of a sentence's words that could answer on their own."""

import re
from collections.abc import Iterator
from typing import Final

from agents.question import Question
from retrievers.analysis import STOP_WORDS

MAX_CANDIDATES: Final = 40
_WORD: Final = re.compile(r"[\w$£€][\w$£€.,'’–-]*[\w%]|\w")
_BREAK: Final = re.compile(r"[,;:()\"“”.!?—]")
_NAME: Final = re.compile(r"\b[A-Z][\w'’-]*(?:\s+(?:(?:of|the|and|de|von|van)\s+)*[A-Z][\w'’-]*)*")
_QUANTITY: Final = re.compile(
    r"[$£€]?\d[\d,.]*(?:\s?%|\s+(?:percent|million|billion|thousand|hundred|\w+s)\b)?"
)


def candidates(sentence: str, question: Question) -> list[str]:
    """Spans of `sentence` that say something the question does not, in order of appearance.

    They are runs of content words between function words and punctuation, names
    with the small words inside them, and quantities with their unit.
    """
    spans = [*_content_runs(sentence), *_matches(_NAME, sentence)]
    spans += _matches(_QUANTITY, sentence)
    found: dict[str, None] = {}
    for start, end in sorted(spans):
        text = sentence[start:end].strip(" ,.;:'\"’")
        if _says_something(text, question):
            found.setdefault(text)
    return list(found)[:MAX_CANDIDATES]


def _content_runs(sentence: str) -> Iterator[tuple[int, int]]:
    run: tuple[int, int] | None = None
    for match in _WORD.finditer(sentence):
        if run is not None and _BREAK.search(sentence, run[1], match.start()):
            yield run
            run = None
        if match[0].lower() in STOP_WORDS:
            if run is not None:
                yield run
            run = None
        else:
            run = (run[0] if run is not None else match.start(), match.end())
    if run is not None:
        yield run


def _matches(pattern: re.Pattern[str], sentence: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(sentence))


def _says_something(text: str, question: Question) -> bool:
    words = [word.lower() for word in re.findall(r"\w+", text)]
    return any(word not in question.words and word not in STOP_WORDS for word in words)
