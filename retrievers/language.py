"""Name the language of a text by its script, and Latin-script ones by their commonest words."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
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
    "en": "the of and to in is was that for it with as on be at by this are he his from not which "
    "what where when who how why did does",
    "de": "der die das und ist nicht ein eine den mit von zu auf im dem sich des auch wird sind "
    "wo wie wer wann warum welche",
    "fr": "le la les des et est une un dans que qui pour pas sur au par du avec ce sont il "
    "où quand comment pourquoi quel quelle",
    "es": "el la los las de que y en un una es por con para del se no su como al más "
    "qué dónde cuándo quién cómo cuál",
    "it": "il la di che e un una per non con del della sono è le gli si nel alla "
    "dove quando chi come perché quale",
    "pt": "o a os as de que e um uma em para com não do da por se mais dos ao "
    "onde quando quem como qual",
    "nl": "de het een en van is dat op te in niet zijn met voor aan er ook door "
    "waar wie wanneer hoe welke",
    "sv": "och att det som en är av för på med den till inte har ett om var sig från de",
    "da": "og at det som en er af for på med den til ikke har et de der hvor hvad blev fra",
    "no": "og å det som en er av for på med den til ikke har et de ble hvor hva fra",
    "fi": "ja on ei se että oli hän ovat myös kun mutta joka sen tai mitä missä kuka sekä ole",
    "hu": "a az és hogy nem egy is ez volt meg csak van mint ki hol mikor vagy ezt azt",
    "ro": "și în de la cu care nu este pe un din pentru sau mai ce fost unde sunt ale lui",
    "tr": "ve bir bu için ile da de ne olarak daha olan çok gibi nerede kim mi kadar sonra",
    "cs": "a v je na se že s z do ve to jako pro by nebo jsou kde kdo co byl podle při ale",
    "pl": "i w na z się nie do to jest że o jak po przez od dla są gdzie kto czy oraz był",
    "ca": "el la els les de que i en un una és per amb no del al se com més on qui són dels",
    "id": "yang dan di dari untuk dengan ini itu pada adalah dalam tidak ke akan oleh juga apa",
    "vi": "của và là không được có cho trong những một người các với này đã khi để",
}
_CODES: Final = {
    word: [code for code, words in _COMMON.items() if word in words.split()]
    for words in _COMMON.values()
    for word in words.split()
    if len(word) > 1
}
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


def latin_language(words: Iterable[str]) -> tuple[str, int]:
    """The best-fitting language of lower-cased words and how many of them are common in it.

    Words of one letter do not count. English is preferred among equals.
    """
    hits = Counter(code for word in words for code in _CODES.get(word, ()))
    if not hits:
        return "en", 0
    best = max(hits.values())
    code = next((code for code in _COMMON if hits[code] == best), "en")
    return code, best


def _latin(sample: str) -> tuple[str, float]:
    """The best-fitting language and the share of its common words among those of two letters up."""
    words = [word for word in _WORD.findall(sample.lower()) if len(word) > 1]
    if not words:
        return "en", 0.0
    code, hits = latin_language(words)
    return code, hits / len(words)
