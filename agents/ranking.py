"""Rank evidence and say how likely it answers the question, with weights fitted beforehand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from agents.evidence import FEATURES, EvidenceFeatures, Scored
from agents.notes import EvidenceRef
from agents.question import Question

Vector = NDArray[np.float64]

BEST_OF: Final = (
    "passage_cosine",
    "passage_coverage",
    "window_coverage",
    "passage_match",
    "sentence_match",
)
ANSWERABLE: Final = (
    "top_score",
    *(f"top_{name}" for name in FEATURES if name not in ("first", "short", "long")),
    *(f"best_{name}" for name in BEST_OF),
)


@dataclass(frozen=True)
class Weights:
    """One linear weighting of sentences, one logistic model of answerability."""

    evidence: Mapping[str, float]
    answerable: Mapping[str, float]
    bias: float

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Weights":
        """Read the entry of one language."""
        return cls(value["evidence"], value["answerable"], float(value["bias"]))

    def scores(self, rows: Vector) -> Vector:
        """Linear scores (N,) of sentence features (N, F)."""
        scores: Vector = rows @ np.asarray([self.evidence.get(name, 0.0) for name in FEATURES])
        return scores

    def probability(self, facts: Mapping[str, float]) -> float:
        """How likely the evidence answers the question, 0 to 1."""
        logit = self.bias + sum(self.answerable.get(n, 0.0) * v for n, v in facts.items())
        return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


@cache
def fitted_weights() -> Mapping[str, Weights]:
    """The shipped weights by language; "en" serves scripts with spaces, "th" those without."""
    text = (files("agents") / "data" / "evidence.json").read_text(encoding="utf-8")
    return {code: Weights.from_json(value) for code, value in json.loads(text)["weights"].items()}


def weights_for(language: str) -> Weights:
    """The weights for a question's language."""
    held = fitted_weights()
    return held["th"] if language in ("th", "zh", "ja", "ko", "lo", "km", "my") else held["en"]


def answerability_facts(scored: Scored, scores: Vector) -> dict[str, float]:
    """What the logistic model of answerability reads; empty where nothing was found."""
    if not len(scores):
        return {}
    top = scored.rows[int(scores.argmax())]
    facts = {"top_score": float(scores.max())}
    facts |= {f"top_{name}": float(value) for name, value in zip(FEATURES, top, strict=True)}
    for name in BEST_OF:
        facts[f"best_{name}"] = float(scored.rows[:, FEATURES.index(name)].max())
    return {name: facts[name] for name in ANSWERABLE}


def place(evidence: EvidenceRef) -> tuple[str, int, int]:
    """Where evidence stands: document and page, start, end; overlapping passages share it."""
    return evidence.passage_id.rsplit(":", 1)[0], evidence.start, evidence.end


def overlap(one: EvidenceRef, other: EvidenceRef) -> bool:
    """Whether two pieces of evidence share words of one page."""
    (page, start, end), (other_page, other_start, other_end) = place(one), place(other)
    return page == other_page and start < other_end and other_start < end


@dataclass(frozen=True)
class Ranked:
    """Evidence, best first, and the probability that it answers the question."""

    evidence: list[EvidenceRef]
    answerable: float


class EvidenceRanker:
    """Turns passages into ranked evidence sentences."""

    def __init__(self, features: EvidenceFeatures, keep: int = 12) -> None:
        self._features = features
        self._keep = keep

    def rank(self, question: Question, passages: Sequence[Document]) -> Ranked:
        """The best sentences of `passages`, each with its share of the belief as `score`."""
        scored = self._features.measure(question, passages)
        if not scored.spans:
            return Ranked([], 0.0)
        weights = weights_for(question.language)
        scores = weights.scores(scored.rows)
        refs: list[EvidenceRef] = []  # passages overlap, and so may their sentences
        for at in np.argsort(-scores, kind="stable").tolist():
            ref = self._ref(scored, at, float(np.exp(scores[at] - scores.max())), passages)
            if not any(overlap(ref, held) for held in refs):
                refs.append(ref)
        total = sum(ref.score for ref in refs)
        evidence = [
            ref.model_copy(update={"score": ref.score / total}) for ref in refs[: self._keep]
        ]
        return Ranked(evidence, weights.probability(answerability_facts(scored, scores)))

    @staticmethod
    def _ref(scored: Scored, at: int, belief: float, passages: Sequence[Document]) -> EvidenceRef:
        passage, start, end = scored.spans[at]
        document = passages[passage]
        offset = int(document.metadata.get("start", 0))
        row = zip(FEATURES, scored.rows[at].tolist(), strict=True)
        return EvidenceRef(
            passage_id=document.id or "",
            start=offset + start,
            end=offset + end,
            score=belief,
            features={name: round(value, 6) for name, value in row},
        )
