"""Choose evidence sentence by sentence: code measures, a small fitted weighting decides.

Each sentence of the passages found gets features (below), each a plain number; a linear score
over them ranks the sentences. The weights come from `python -m graphs.fit_evidence` and lie in
`agents/data/evidence.json`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from agents.library import Library
from agents.question import Question
from retrievers.analysis import tokenize
from retrievers.sentences import split
from retrievers.token_vectors import (
    TokenEncoder,
    TokenVectors,
    max_similarity,
    mean_vector,
    query_weights,
)

Matrix = NDArray[np.float64]

FEATURES: Final = (
    "sentence_cosine",  # question against the sentence's tokens in context, mean
    "sentence_coverage",  # share of the question's idf that the sentence holds
    "passage_cosine",
    "passage_coverage",
    "window_coverage",  # the sentence with its neighbours
    "sentence_match",  # late interaction, question against sentence
    "passage_match",
    "type_held",  # the sentence brings something of the type asked for
    "type_missing",
    "short",  # words, up to 12, as a share
    "long",  # words, up to 60, as a share
    "rarest_missing",  # idf of the rarest question term the sentence lacks, over 8
    "rarest_missing_passage",
    "neighbour_cosine",
    "first",
)
_IDF_SCALE = 8.0


@dataclass(frozen=True)
class Scored:
    """Sentences of passages with their features; row i of `rows` belongs to `spans[i]`."""

    spans: list[tuple[int, int, int]]  # (passage, start, end) in the passage's own text
    rows: Matrix  # (N, F)


@dataclass
class _PassageView:
    text: str
    cosine: float
    spans: list[tuple[int, int]]
    tokens: TokenVectors
    terms: list[frozenset[str]] = field(default_factory=list)


class EvidenceFeatures:
    """Measures how sentences of passages answer a question."""

    def __init__(self, library: Library, encoder: TokenEncoder) -> None:
        self._library = library
        self._encoder = encoder

    def measure(self, question: Question, passages: Sequence[Document]) -> Scored:
        """Features of every sentence of `passages`, best passages first."""
        asked = self._encoder.encode(question.text)
        weights = query_weights(question.text, asked)
        vector = mean_vector(asked.vectors)
        idf = dict(zip(question.terms, self._library.idf(question.terms), strict=True))
        spans: list[tuple[int, int, int]] = []
        rows: list[list[float]] = []
        for at, document in enumerate(passages):
            view = self._view(document)
            passage = _passage_features(idf, view, asked, weights)
            cosines = [float(mean_vector(view.tokens.within(a, b)) @ vector) for a, b in view.spans]
            for row, (start, end) in enumerate(view.spans):
                sentence = view.text[start:end]
                match = max_similarity(asked.vectors, weights, view.tokens.within(start, end))
                spans.append((at, start, end))
                rows.append(_row(question, idf, view, row, sentence, cosines, match, passage))
        return Scored(spans, np.asarray(rows, dtype=np.float64).reshape(len(rows), len(FEATURES)))

    def _view(self, document: Document) -> _PassageView:
        text = document.page_content
        spans = split(text, document.metadata.get("language"))
        view = _PassageView(
            text=text,
            cosine=float(document.metadata.get("dense", 0.0)),
            spans=spans,
            tokens=self._encoder.encode(text),
        )
        view.terms = [frozenset(tokenize(text[a:b])) for a, b in spans]
        return view


def _coverage(idf: Mapping[str, float], terms: frozenset[str]) -> float:
    total = sum(idf.values())
    return sum(value for term, value in idf.items() if term in terms) / total if total else 0.0


def _rarest_missing(idf: Mapping[str, float], terms: frozenset[str]) -> float:
    return max((v for term, v in idf.items() if term not in terms), default=0.0) / _IDF_SCALE


def _passage_features(
    idf: Mapping[str, float],
    view: _PassageView,
    asked: TokenVectors,
    weights: NDArray[np.float32],
) -> dict[str, float]:
    terms = frozenset[str]().union(*view.terms)
    return {
        "passage_cosine": view.cosine,
        "passage_coverage": _coverage(idf, terms),
        "passage_match": max_similarity(asked.vectors, weights, view.tokens.vectors),
        "rarest_missing_passage": _rarest_missing(idf, terms),
    }


def _row(
    question: Question,
    idf: Mapping[str, float],
    view: _PassageView,
    row: int,
    sentence: str,
    cosines: Sequence[float],
    match: float,
    passage: Mapping[str, float],
) -> list[float]:
    window = frozenset[str]().union(*view.terms[max(0, row - 1) : row + 2])
    held = question.holds_type(sentence)
    words = len(sentence.split())
    beside = [cosines[at] for at in (row - 1, row + 1) if 0 <= at < len(cosines)]
    values = {
        **passage,
        "sentence_cosine": cosines[row],
        "sentence_coverage": _coverage(idf, view.terms[row]),
        "window_coverage": _coverage(idf, window),
        "sentence_match": match,
        "type_held": float(held is True),
        "type_missing": float(held is False),
        "short": min(words, 12) / 12,
        "long": min(words, 60) / 60,
        "rarest_missing": _rarest_missing(idf, view.terms[row]),
        "neighbour_cosine": max(beside, default=0.0),
        "first": float(row == 0),
    }
    return [values[name] for name in FEATURES]
