"""Verifier: does a sentence say what its evidence says? Words, numbers, meaning, likelihood.

A quotation stands by being there. A composed sentence stands when its numbers and names are the
evidence's, the names in the same order, nothing is denied in either, nearly all its words come
from the evidence or the question, it lies near the evidence in meaning, and the model finds it
likelier with the evidence than without. The last two catch little at 135M parameters; the exact
checks carry the weight.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from agents.capabilities import ScoresReplies
from agents.notes import Verdict
from agents.prompts import CLAIM, CLAIM_WITHOUT_TEXT
from agents.question import NUMBER_WORDS, Question
from retrievers.analysis import STOP_WORDS, tokenize
from retrievers.token_vectors import TokenEncoder, mean_vector

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_WORD: Final = re.compile(r"[\w'’-]+")
_NEGATION: Final = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|neither|nor|without|cannot|hardly|barely|scarcely)\b"
    r"|n['’]t\b|ไม่|มิได้|ไร้|ปราศจาก",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Limits:
    """The least a composed sentence must reach in each check."""

    words: float = 0.9  # share of its terms held by the evidence or the question
    meaning: float = 0.45  # cosine of mean token vectors
    likelihood: float = 0.1  # gain in natural log probability a token


class Verifier:
    """Scores sentences against the text they cite."""

    def __init__(
        self, model: BaseChatModel, encoder: TokenEncoder, limits: Limits | None = None
    ) -> None:
        self._model = model
        self._encoder = encoder
        self._limits = limits or Limits()

    def check(self, sentence: str, evidence: Sequence[str], question: Question) -> Verdict:
        """Judge one sentence against the evidence sentences it cites."""
        if any(same_words(sentence, t) and _denies(sentence) == _denies(t) for t in evidence):
            return Verdict(supported=True, score=1.0, checks={"quoted": 1.0})
        given = " ".join(" ".join(text.split()) for text in evidence)
        if not given.strip():
            return Verdict(supported=False, score=0.0, checks={"evidence": 0.0})
        checks = {
            "words": _words_held(sentence, given, question),
            "numbers": float(_numbers(sentence) <= _numbers(given)),
            "names": float(_names(sentence) <= _plain_words(given)),
            "order": float(_same_order(sentence, given)),
            "negation": float(not _denies(sentence) and not _denies(given)),
            "meaning": self._meaning(sentence, given),
        }
        exact = all(checks[name] == 1.0 for name in ("numbers", "names", "order", "negation"))
        supported = (
            exact
            and checks["words"] >= self._limits.words
            and checks["meaning"] >= self._limits.meaning
        )
        if supported and isinstance(self._model, ScoresReplies):
            checks["likelihood"] = self._gain(sentence, given)
            supported = checks["likelihood"] >= self._limits.likelihood
        score = min(checks["words"], checks["meaning"], 1.0) if supported else 0.0
        return Verdict(supported=supported, score=score, checks=checks)

    def _meaning(self, sentence: str, given: str) -> float:
        one = mean_vector(self._encoder.encode(sentence).vectors)
        other = mean_vector(self._encoder.encode(given).vectors)
        return round(float(one @ other), 6)

    def _gain(self, sentence: str, given: str) -> float:
        """Log probability of the sentence with the evidence, less without, a token."""
        if not isinstance(self._model, ScoresReplies):
            raise AssertionError("only called for models that score replies")
        told = [HumanMessage(CLAIM.format(text=given))]
        untold = [HumanMessage(CLAIM_WITHOUT_TEXT)]
        with_text = self._model.score(told, [sentence])[0]
        without = self._model.score(untold, [sentence])[0]
        return round((with_text - without) / max(self._model.get_num_tokens(sentence), 1), 6)


def same_words(sentence: str, text: str) -> bool:
    """Whether `sentence` stands in `text` word for word, white space apart, from word to word."""
    wanted = re.escape(" ".join(sentence.split()))
    found = re.search(rf"(?<!\w){wanted}(?!\w)", " ".join(text.split()))
    return bool(wanted) and found is not None


def _words_held(sentence: str, given: str, question: Question) -> float:
    terms = set(tokenize(sentence))
    held = set(tokenize(given)) | set(question.terms)
    return round(len(terms & held) / len(terms), 6) if terms else 0.0


def _denies(text: str) -> bool:
    return _NEGATION.search(text) is not None


def _numbers(text: str) -> set[str]:
    """Numbers in digits, whole, and number words."""
    return set(_NUMBER.findall(text)) | (_plain_words(text) & NUMBER_WORDS)


def _names(sentence: str) -> set[str]:
    """Capitalised words, the first too, that are not function words."""
    found = {_plain(w) for w in _WORD.findall(sentence) if len(w) > 1 and w[0].isupper()}
    return found - STOP_WORDS


def _same_order(sentence: str, given: str) -> bool:
    """Whether the names of a sentence come in the order in which the evidence first has them."""
    names = _names(sentence)
    first: dict[str, int] = {}
    for at, word in enumerate(_WORD.findall(given)):
        first.setdefault(_plain(word), at)
    places = [first[p] for w in _WORD.findall(sentence) if (p := _plain(w)) in names & first.keys()]
    return places == sorted(places)


def _plain_words(text: str) -> set[str]:
    return {_plain(word) for word in _WORD.findall(text)}


def _plain(word: str) -> str:
    """Lower case, straight apostrophes, no possessive ending."""
    return re.sub(r"'s?$", "", word.lower().replace("’", "'"))
