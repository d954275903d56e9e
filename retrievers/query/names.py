"""Names in a text: runs of capitalised words, read without a model."""

import re
from typing import Final

from retrievers.analysis import STOP_WORDS

_JOINING: Final = r"(?:of\s+the|of|the|de|la|von|van|der|and|&)"
_WORD: Final = r"[\w'’.-]*[\w]"
_CAPITAL: Final = rf"(?:[A-ZÀ-ÖØ-Þ]|\d)(?:{_WORD})?"
_GAP: Final = r"(?:(?<=\b[A-Z])\.|(?<=\b[A-Z][a-z])\.)?\s+"  # "J. Hall", "Mr. Hall"
_NAME: Final = re.compile(rf"\b{_CAPITAL}(?:{_GAP}(?:{_JOINING}\s+)?{_CAPITAL})*")
_OPENERS: Final = STOP_WORDS | {"whose", "much", "many"}


def names_of(text: str) -> list[str]:
    """The names in `text`, in order and without repeats.

    A name is a run of capitalised words and numbers, with small words such as "of the" between
    them; function words that open it ("The", "In") are left out, and so is a bare number.
    """
    found: dict[str, None] = {}
    for match in _NAME.finditer(text):
        words = match[0].split()
        while words and words[0].lower() in _OPENERS:
            words = words[1:]
        name = " ".join(words)
        if any(letter.isalpha() for letter in name) and name[:1].isupper():
            found.setdefault(name)
    return list(found)
