"""Verifier: does a sentence say what its evidence says? Words, numbers, meaning, likelihood.

A quotation stands by being there. A composed sentence stands when its numbers, names and
negation are the evidence's, nearly all its words come from the evidence or the question, it lies
near the evidence in meaning, and the model finds it likelier with the evidence than without.
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
from agents.question import Question
from agents.token_vectors import TokenEncoder, mean_vector
from retrievers.analysis import tokenize

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_NAME: Final = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'’-]+")
_NEGATION: Final = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|neither|nor|without|cannot)\b|n['’]t\b", re.IGNORECASE
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
        if any(same_words(sentence, text) for text in evidence):
            return Verdict(supported=True, score=1.0, checks={"quoted": 1.0})
        given = " ".join(" ".join(text.split()) for text in evidence)
        if not given:
            return Verdict(supported=False, score=0.0, checks={"evidence": 0.0})
        checks = {
            "words": _words_held(sentence, given, question),
            "numbers": _held(_NUMBER, sentence, f"{given} {question.text}"),
            "names": _held(_NAME, sentence, f"{given} {question.text}"),
            "negation": float(bool(_NEGATION.search(sentence)) == bool(_NEGATION.search(given))),
            "meaning": self._meaning(sentence, given),
        }
        exact = min(checks["numbers"], checks["names"], checks["negation"]) == 1.0
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
    """Whether `sentence` stands in `text` word for word, white space apart."""
    return bool(sentence.strip()) and " ".join(sentence.split()) in " ".join(text.split())


def _words_held(sentence: str, given: str, question: Question) -> float:
    terms = set(tokenize(sentence))
    held = set(tokenize(given)) | set(question.terms)
    return round(len(terms & held) / len(terms), 6) if terms else 0.0


def _held(pattern: re.Pattern[str], sentence: str, text: str) -> float:
    """1.0 when everything `pattern` finds in the sentence stands in the text too."""
    there = {found.lower().rstrip("s'’") for found in pattern.findall(text)}
    there |= {word.lower().rstrip("s'’") for word in re.findall(r"[\w'’-]+", text)}
    return float(all(f.lower().rstrip("s'’") in there for f in pattern.findall(sentence)))
