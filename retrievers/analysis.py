"""Terms of a text for lexical search: one function for passages and queries alike."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from retrievers.identifiers import SHORT_FORMS, code_language, parts
from retrievers.stemming import forms, language_of
from retrievers.thai import THAI_RUN, words

# Marks that Unicode does not count as letters but that stand inside words.
_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u0900-\u0903\u093a-\u0963\u0980-\u0de5\u0df2-\u0df4"
)
_LETTERS: Final = rf"[^\W_]+(?:[{_MARKS}]+[^\W_]*)*"
_SPACELESS: Final = "\u0e80-\u0eff\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3"  # Lao to Khmer
_PIECE: Final = re.compile(
    r"(?P<thai>[\u0e01-\u0e5b][\u0e01-\u0e5b\s]*[\u0e01-\u0e5b]|[\u0e01-\u0e5b])"
    r"|(?P<cjk>[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
    r"|[\u3040-\u309f]+|[\u30a0-\u30ff]+|[\uac00-\ud7af]+)"
    rf"|(?P<spaceless>[{_SPACELESS}]+)"
    r"|(?P<acronym>(?<![^\W_])(?:[A-Za-z]\.){2,})"
    r"|(?P<sharp>(?<![^\W_])(?:[Cc]\+\+|[CcFf]\#)(?![^\W_]))"
    r"|(?P<number>(?>\d+(?:[.,]\d+)*))(?![^\W\d_])"  # atomic: "1990s" is one word
    rf"|(?P<word>{_LETTERS}(?:[_'’]{_LETTERS})*)"
)
_CLUSTER: Final = re.compile(r"[^\W_](?:(?!\w)\S)*")  # a letter and its marks
_LONGEST_WORD: Final = 200  # characters; anything longer is encoded data
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ZEROS: Final = "\u0660\u06f0\u0966\u09e6\u0e50\u0ed0\u1040\u17e0"  # digits of other scripts
_CLEANED: Final = str.maketrans(
    dict.fromkeys("\u00ad\u200b\u2060\ufeff", "")
    | {chr(ord(zero) + value): str(value) for zero in _ZEROS for value in range(10)}
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


def tokenize(text: str, language: str | None = None) -> list[str]:
    """Search terms of `text` in order, repeats kept, stop words dropped.

    Latin-script words are lower-cased, freed of accents and stemmed as English ones, with a
    second term for the stem of another language that the text is surely in (`language` sets it:
    an ISO 639-1 code). Russian, Greek, Arabic, Armenian, Hindi and Tamil have their own stemmers.
    Thai is cut into dictionary words, other scripts without spaces into pairs of characters.
    Names in code are given whole and in parts; code also answers to the name of its language and
    to the words that short forms stand for.
    """
    clean = text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_CLEANED)
    pieces = list(_PIECE.finditer(clean))
    if language is None:
        language = language_of([m[0].lower() for m in pieces if m.lastgroup == "word"])
    code = code_language(clean)
    terms = [code] if code else []
    for match in pieces:
        terms.extend(_terms(match[0], match.lastgroup, language, code is not None))
    return terms


def _terms(piece: str, kind: str | None, language: str | None, in_code: bool) -> Iterator[str]:
    if kind == "word":
        yield from _word(piece, language, in_code)
    elif kind == "thai":
        yield from _thai(piece)
    elif kind == "number":
        yield _THOUSANDS.sub("", piece)
    elif kind == "acronym":
        yield piece.replace(".", "").lower()
    elif kind == "sharp":
        yield piece.lower()
    else:
        yield from _pairs(piece if kind == "cjk" else _CLUSTER.findall(piece))


def _thai(text: str) -> Iterator[str]:
    whole = _SARA_AM_APART.sub("\\1\u0e33", text)
    for word in words(whole):
        if word not in THAI_STOP_WORDS and THAI_RUN.search(word):
            yield word


def _pairs(run: Sequence[str]) -> Iterator[str]:
    if len(run) == 1:
        yield run[0]
    for left, right in pairwise(run):
        yield left + right


def _word(piece: str, language: str | None, in_code: bool) -> Iterator[str]:
    if len(piece) > _LONGEST_WORD:
        return
    bare = re.sub(r"['’]s?$|['’]s(?=_)", "", piece).replace("’", "'")
    lowered = bare.lower()
    if lowered not in STOP_WORDS:
        yield from forms(lowered, language)
        if in_code and lowered in SHORT_FORMS:
            yield from forms(SHORT_FORMS[lowered])
    if "'" in bare:
        inner = [part for part in lowered.split("'") if len(part) > 2]
    elif bare.isalpha() and (bare.islower() or bare.isupper() or bare.istitle()):
        return
    else:
        inner = [part for part in parts(bare) if part != lowered]
    for part in inner:
        if part not in STOP_WORDS:
            yield from forms(part, language)
            if "'" not in bare and part in SHORT_FORMS:
                yield from forms(SHORT_FORMS[part])
