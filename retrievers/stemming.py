"""Word forms brought together: accents, and the endings of each language (Snowball)."""

import unicodedata
from functools import lru_cache
from typing import Final

from retrievers.language import latin_language

_LATIN_END: Final = "\u0370"
# Letters that Unicode does not take apart into a plain one and a mark.
_PLAIN: Final = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ı": "i", "þ": "th"}
)
_LATIN: Final = {
    "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "es": "spanish",
    "fi": "finnish", "fr": "french", "hu": "hungarian", "id": "indonesian", "it": "italian",
    "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian",
    "sv": "swedish", "tr": "turkish",
}  # fmt: skip
# Scripts that name the stemmer by themselves: the first and the last letter.
_BY_SCRIPT: Final = (
    ("\u0370", "\u03ff", "greek"), ("\u0400", "\u052f", "russian"),
    ("\u0530", "\u058f", "armenian"), ("\u0600", "\u06ff", "arabic"),
    ("\u0900", "\u097f", "hindi"), ("\u0b80", "\u0bff", "tamil"),
)  # fmt: skip
_LEAST_HITS: Final = 2  # common words of another language than English that name it


def language_of(words: list[str]) -> str | None:
    """The code of the Latin-script language other than English that words are surely of.

    Lower-cased words; one common word is enough only beside a letter that English lacks.
    """
    code, hits = latin_language(words)
    if code not in _LATIN or not hits:
        return None
    foreign = hits >= _LEAST_HITS or any(not word.isascii() for word in words)
    return code if foreign else None


@lru_cache(maxsize=100_000)
def forms(word: str, language: str | None = None) -> tuple[str, ...]:
    """The terms of a lower-cased word; mostly one.

    A word in Latin letters is stemmed as an English one, without its accents, in every text, so
    that a short query meets a page whose language it does not tell; `language` adds the stem of
    that language where it differs. Other scripts have the stemmer their letters name.
    """
    if word[0] >= _LATIN_END:
        return (_other_script(word),)
    plain = word if word.isascii() else without_accents(word)
    usual = _stem("english", plain) if len(plain) > 3 and plain.isalpha() else plain
    if language not in _LATIN or len(word) < 4 or not word.isalpha():
        return (usual,)
    own = without_accents(_stem(_LATIN[language], word))
    return (usual,) if own == usual else (usual, own)


def without_accents(word: str) -> str:
    """A lower-cased word in plain letters: "naïve" is "naive", "straße" is "strasse"."""
    apart = unicodedata.normalize("NFKD", word)
    return "".join(char for char in apart if not unicodedata.combining(char)).translate(_PLAIN)


def _other_script(word: str) -> str:
    for first, last, name in _BY_SCRIPT:
        if first <= word[0] <= last:
            stem = _stem(name, word.replace("ё", "е"))
            return without_accents(stem) if name == "greek" else stem
    return word


def _stem(name: str, word: str) -> str:
    import snowballstemmer

    # A stemmer holds the word it works on: one of its own for each call keeps threads apart.
    return str(snowballstemmer.stemmer(name).stemWord(word)) or word
