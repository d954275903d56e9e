"""One form for what a person types: Unicode composed, invisible signs gone, Thai marks in order."""

import re
import unicodedata
from typing import Final

# Zero-width signs, marks of direction, soft hyphens and byte order marks say nothing to a search.
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_WIDE: Final = re.compile("[\uff01-\uff5e\u3000]+")  # full-width ASCII, the ideographic space
_MARKS: Final = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'", "`": "'",
     "‐": "-", "‑": "-", "‒": "-", "–": "-", "−": "-", "…": "..."}
)  # fmt: skip
_LIGATURE: Final = re.compile("[\ufb00-\ufb06]")
_THAI: Final = re.compile("[\u0e00-\u0e7f]")


def normalise(question: str) -> str:
    """`question` in one form, so that what looks alike is searched alike.

    Composed (NFC), ligatures and full-width ASCII as plain letters, typographic quotes and hyphens
    as ASCII, invisible signs and runs of white space gone; Thai vowels and tone marks in the order
    of the dictionary, typed twice counts once. Case stays: names are read from it.
    """
    text = unicodedata.normalize("NFC", question)
    for pattern in (_WIDE, _LIGATURE):
        text = pattern.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    text = _INVISIBLE.sub("", text).translate(_MARKS)
    if _THAI.search(text):
        text = _in_thai_order(text)
    return " ".join(text.split())


def _in_thai_order(text: str) -> str:
    from pythainlp.util import normalize

    # Its dictionary order is for Thai alone: other scripts are left as they came.
    parts = re.split("([\u0e00-\u0e7f]+)", text)
    return "".join(normalize(part) if _THAI.match(part) else part for part in parts)
