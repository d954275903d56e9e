"""Terms of a text for lexical search: one function for passages and queries alike."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

from retrievers.thai import THAI_RUN, words

_PIECE: Final = re.compile(
    r"(?P<thai>[\u0e01-\u0e5b][\u0e01-\u0e5b\s]*[\u0e01-\u0e5b]|[\u0e01-\u0e5b])"
    r"|(?P<cjk>[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+)"
    r"|(?P<acronym>(?<![^\W_])(?:[A-Za-z]\.){2,})"
    r"|(?P<number>(?>\d+(?:[.,]\d+)*))(?![^\W\d_])"  # atomic: "1990s" is one word
    r"|(?P<word>[^\W_]+(?:[_'’][^\W_]+)*)"
)
_LONGEST_WORD: Final = 200  # characters; anything longer is encoded data
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_IDENTIFIER = re.compile(r"[A-Za-z]\w*")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LIGATURES: Final = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", "\u00ad": None}
)
_SARA_AM_APART: Final = re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32")
_ENGLISH_STOPS: Final = (
    "a about after again all am an and any are as at be because been before being below between "
    "both but by can could did do does doing down during each few for from further had has have "
    "having he her here hers herself him himself his how i if in into is it its itself just me "
    "more most my myself no nor not of off on once only or other our ours out over own same she "
    "should so some such than that the their theirs them themselves then there these they this "
    "those through to too under until up very was we were what when where which while who whom "
    "why will with would you your yours yourself"
)
_THAI_STOPS: Final = (
    "ที่ และ ใน ของ เป็น ได้ ให้ จะ มี การ ว่า ไม่ ก็ กับ ไป มา แล้ว นี้ นั้น อยู่ คือ โดย จาก หรือ ซึ่ง "
    "ถ้า แต่ เพื่อ อะไร ไหน ไหม ใคร อย่างไร ยังไง ทำไม เมื่อไร เมื่อไหร่ ที่ไหน เท่าไร เท่าไหร่ ครับ ค่ะ คะ "
    "นะ ๆ ฯ ความ ด้วย ต้อง กว่า ยัง อีก เรา เขา มัน คุณ ผม ฉัน อัน ตาม ถึง เมื่อ จึง อย่าง บ้าง ดัง"
)
STOP_WORDS: Final = frozenset(_ENGLISH_STOPS.split())
THAI_STOP_WORDS: Final = frozenset(_THAI_STOPS.split())


def tokenize(text: str) -> list[str]:
    """Search terms of `text` in order, repeats kept, stop words dropped.

    English words are lower-cased and stemmed, Thai is cut into dictionary words, Chinese,
    Japanese and Korean into pairs of characters, and code identifiers are given whole and in
    parts.
    """
    clean = unicodedata.normalize("NFC", text).translate(_LIGATURES)
    terms: list[str] = []
    for match in _PIECE.finditer(clean):
        piece = match[0]
        if match["thai"]:
            terms.extend(_thai(piece))
        elif match["cjk"]:
            terms.extend(_pairs(piece))
        elif match["acronym"]:
            terms.append(piece.replace(".", "").lower())
        elif match["number"]:
            terms.append(_THOUSANDS.sub("", piece))
        else:
            terms.extend(_word(piece))
    return terms


def _thai(text: str) -> Iterator[str]:
    whole = _SARA_AM_APART.sub("\\1\u0e33", text)
    for word in words(whole):
        if word not in THAI_STOP_WORDS and THAI_RUN.search(word):
            yield word


def _pairs(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
    for left, right in pairwise(run):
        yield left + right


def _word(piece: str) -> Iterator[str]:
    if len(piece) > _LONGEST_WORD:
        return
    bare = re.sub(r"['’]s?$|['’]s(?=_)", "", piece).replace("’", "'")
    lowered = bare.lower()
    if lowered not in STOP_WORDS:
        yield _stem(lowered)
    if "_" in bare or (not bare.islower() and not bare.isupper() and not bare.istitle()):
        yield from _parts(bare, lowered)
    elif "'" in bare:
        yield from (_stem(p) for p in lowered.split("'") if len(p) > 2 and p not in STOP_WORDS)


def _parts(identifier: str, lowered: str) -> Iterator[str]:
    """The words inside snake_case, camelCase and letters joined to digits."""
    if not _IDENTIFIER.match(identifier):
        return
    for match in _CAMEL.finditer(identifier):
        part = match[0].lower()
        if len(part) > 2 and part != lowered and part not in STOP_WORDS:
            yield _stem(part)


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    """Porter2 stem of an ASCII word; any other word as it is."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    from snowballstemmer.english_stemmer import EnglishStemmer

    # A stemmer holds the word it works on: one of its own for each call keeps threads apart.
    return str(EnglishStemmer().stemWord(word))
