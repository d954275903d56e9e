"""Scores of answers against reference answers: exact match, F1, and whether one is contained.

Normalisation, exact match and F1 follow the SQuAD evaluation script (Rajpurkar et al., 2016).
Thai and other text without spaces is compared by dictionary words.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

from retrievers.language import detect

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation + "“”‘’«»…–—")


def normalise(text: str) -> list[str]:
    """Words of `text`, lower-cased, without punctuation and articles."""
    plain = _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION))
    if detect(text) == "th":
        from retrievers.thai import words

        return [word.strip() for word in words(plain) if word.strip()]
    return plain.split()


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 where the prediction equals an answer, else 0.0; no answers: an empty prediction."""
    given = normalise(prediction)
    return float(any(given == normalise(answer) for answer in answers or [""]))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The best word-overlap F1 over the answers."""
    given = normalise(prediction)
    return max(_f1(given, normalise(answer)) for answer in answers or [""])


def contains_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether `text` holds one of the answers as whole words."""
    held = _spaced(text)
    return any(_spaced(answer) in held for answer in answers if normalise(answer))


def count_words(text: str) -> int:
    """How many words `text` has; dictionary words where the script has no spaces."""
    if detect(text) == "th":
        from retrievers.thai import words

        return sum(any(map(str.isalnum, word)) for word in words(text))
    return len(text.split())


def area_under_roc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """How often a positive scores above a negative, ties half; None where one kind is missing."""
    if not positives or not negatives:
        return None
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    return sum(pairs) / len(pairs)


def _spaced(text: str) -> str:
    return " " + " ".join(normalise(text)) + " "


def _f1(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * shared / (len(given) + len(wanted))
