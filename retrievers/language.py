"""Name the language of a text by its script, and Latin-script ones by their commonest words."""

import re
import unicodedata
from collections import Counter
from typing import Final

UNKNOWN: Final = "und"
_SAMPLE = 4000  # characters looked at
_LATIN = "latin"
_LATIN_SHARE = 0.06  # of common words; fewer do not tell one language from another
_SCRIPTS: Final = {
    "THAI": "th", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "zh",
    "CYRILLIC": "ru", "ARABIC": "ar", "HEBREW": "he", "DEVANAGARI": "hi", "GREEK": "el",
    "LAO": "lo", "KHMER": "km", "MYANMAR": "my",
}  # fmt: skip
_COMMON: Final = {
    "en": "the of and to in is was that for it with as on be at by this are he his from not which",
    "de": "der die das und ist nicht ein eine den mit von zu auf im dem sich des auch wird sind",
    "fr": "le la les des et est une un dans que qui pour pas sur au par du avec ce sont il",
    "es": "el la los las de que y en un una es por con para del se no su como al más",
    "it": "il la di che e un una per non con del della sono è le gli si nel alla",
    "pt": "o a os as de que e um uma em para com não do da por se mais dos ao",
    "nl": "de het een en van is dat op te in niet zijn met voor aan er ook door",
    "vi": "của và là không được có cho trong những một người các với này đã khi để",
}
_WORDS: Final = {code: frozenset(words.split()) for code, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]+")
_THAI_SHARE = 0.2  # Thai pages often quote English terms; a fifth of Thai letters makes it Thai


def detect(text: str, default: str = "en") -> str:
    """ISO 639-1 code of the main language of `text`; "und" where it has no letters.

    `default` is the answer for Latin script with too few common words to tell.
    """
    sample = text[:_SAMPLE]
    scripts = Counter(script_of(char) for char in sample if char.isalpha())
    total = sum(scripts.values())
    if not total:
        return UNKNOWN
    if scripts["th"] >= _THAI_SHARE * total:
        return "th"
    if scripts["ja"] and scripts["ja"] + scripts["zh"] > total / 2:
        return "ja"
    best, count = max(scripts.items(), key=lambda item: (item[1], item[0]))
    if best != _LATIN and count > total / 2:
        return best
    code, share = _latin(sample)
    return code if share >= _LATIN_SHARE else default


def script_of(letter: str) -> str:
    """Language code that the script of one letter stands for; "latin" for every other script."""
    if letter < "\u0370":
        return _LATIN
    if "\u0e00" <= letter <= "\u0e7f":
        return "th"
    return _SCRIPTS.get(unicodedata.name(letter, "").split(" ")[0], _LATIN)


def common_word_share(text: str) -> float:
    """Share of the words that are common ones (two letters or more) of the best-fitting language.

    Between 0 and 1: near 0.3 in running Western European text, near 0 in a wrong decoding of it.
    """
    return _latin(text[:_SAMPLE])[1]


def _latin(sample: str) -> tuple[str, float]:
    """The best-fitting language and the share of its common words among those of two letters up."""
    words = Counter(word for word in _WORD.findall(sample.lower()) if len(word) > 1)
    if not words:
        return "en", 0.0
    hits = {code: sum(words[word] for word in common) for code, common in _WORDS.items()}
    best = max(hits, key=lambda code: (hits[code], code == "en"))
    return best, hits[best] / words.total()
