"""Short and long forms of one name: "World Health Organization (WHO)", read from the corpus.

The rule is that of Schwartz and Hearst (2003): a short form stands in brackets behind its long
form, or the other way round, and its letters stand in the long form in their order, the first one
at the start of a word.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import Field
from typing_extensions import override

from retrievers.query.plan import Query, QueryExpander

_BRACKETS: Final = re.compile(r"\(([^()]{2,80})\)")
_SHORT: Final = re.compile(r"(?=[^\W_]*[A-Z])[^\W_][\w./&-]{0,9}s?")
_WORD: Final = re.compile(r"\w[\w.'’/&-]*")
_CLAUSE_END: Final = re.compile(r"[.;:!?]\s|\n")
_LONGEST: Final = 120  # characters before a bracket that are looked at
Pairs = Mapping[str, tuple[str, ...]]


def find_pairs(texts: Iterable[str], least: int = 1) -> dict[str, tuple[str, ...]]:
    """Each short form in `texts` with its long forms, the commonest first.

    `least` is how often a pair must stand there. Long forms are lower-cased.
    """
    counts: dict[str, Counter[str]] = {}
    for text in texts:
        for short, long in _pairs(text):
            counts.setdefault(short, Counter())[long.lower()] += 1
    kept = {
        short: tuple(long for long, count in forms.most_common() if count >= least)
        for short, forms in counts.items()
    }
    return {short: forms for short, forms in kept.items() if forms}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for match in _BRACKETS.finditer(text):
        inside = match[1].strip()
        before = text[max(0, match.start() - _LONGEST) : match.start()].rstrip()
        before = before[max((m.end() for m in _CLAUSE_END.finditer(before)), default=0) :]
        if _SHORT.fullmatch(inside):
            long = long_form(inside, before)
            if long:
                yield inside, long
            continue
        last = _WORD.findall(before)[-1:]
        if last and _SHORT.fullmatch(last[0]):
            long = long_form(last[0], inside)
            if long and long == inside:
                yield last[0], long


def long_form(short: str, text: str) -> str:
    """The end of `text` whose letters, in order, are those of `short`; "" where there is none."""
    letters = [c.lower() for c in short if c.isalnum()]
    if short.endswith("s") and not short[:-1].islower() and len(letters) > 2:
        letters.pop()  # the plural of a short form
    words = list(_WORD.finditer(text))
    most = min(len(letters) + 5, 2 * len(letters))
    at = len(text)
    for number in range(len(letters) - 1, -1, -1):
        at = _place(text, letters[number], at, first=number == 0)
        if at < 0:
            return ""
    found = text[at:].strip()
    held = sum(match.start() >= at for match in words)
    fits = len(found) > len(short) and 0 < held <= most and len(letters) > 1
    return found if fits and short.lower() not in found.lower().split() else ""


def _place(text: str, letter: str, before: int, *, first: bool) -> int:
    """Where `letter` last stands before `before`; the first letter must begin a word. -1: none."""
    for at in range(before - 1, -1, -1):
        if text[at].lower() == letter and not (first and at and text[at - 1].isalnum()):
            return at
    return -1


class AcronymExpander(QueryExpander):
    """Asks again with the other form of each short or long form in the question."""

    pairs: Pairs = Field(repr=False, description="long forms of each short form: `find_pairs`")
    forms: int = Field(default=1, ge=1, description="long forms of a short form that are tried")
    weight: float = 0.5
    dense: bool = False

    @override
    def expand(self, question: str) -> list[Query]:
        found = dict.fromkeys(other_forms(question, self.pairs, self.forms))
        if not found:
            return []
        text = f"{question} {' '.join(found)}"
        return [Query(text, self.weight, "variant", dense=self.dense)]


def other_forms(question: str, pairs: Pairs, forms: int = 1) -> Iterator[str]:
    """What `question` says in its long form by its short one, and the other way round."""
    words = _WORD.findall(question)
    lowered = f" {' '.join(words).lower()} "
    for word in words:
        for key in dict.fromkeys((word, word.removesuffix("s"))):
            yield from (long for long in pairs.get(key, ())[:forms] if f" {long} " not in lowered)
    for short, longs in pairs.items():
        if longs and f" {longs[0]} " in lowered and short not in words:
            yield short
