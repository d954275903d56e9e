"""Vectors of the words of a text in their context, for matching a question word by word.

`LocalEmbeddings` gives one vector a token. Any other LangChain embeddings class gives one a
sentence, which then counts as one long token: coarser, same formulas.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from retrievers.sentences import split

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TokenVectors:
    """Character spans (T, 2) of a text's tokens and their unit vectors (T, D)."""

    spans: NDArray[np.int64]
    vectors: Floats

    def within(self, start: int, end: int) -> Floats:
        """Vectors of the tokens that lie in `start:end`, (t, D)."""
        inside = (
            (self.spans[:, 0] >= start)
            & (self.spans[:, 1] <= end)
            & (self.spans[:, 1] > self.spans[:, 0])
        )
        return self.vectors[inside]


@runtime_checkable
class _TokenEmbeddings(Protocol):
    def tokens_and_vectors(self, text: str) -> tuple[NDArray[np.int64], Floats]: ...


class TokenEncoder:
    """Token vectors of texts, the last `keep` of them remembered; safe between threads."""

    def __init__(self, embeddings: Embeddings, keep: int = 512) -> None:
        self._embeddings = embeddings
        self._keep = keep
        self._held: OrderedDict[str, TokenVectors] = OrderedDict()
        self._lock = Lock()

    def encode(self, text: str) -> TokenVectors:
        """Spans and vectors of `text`."""
        with self._lock:
            if text in self._held:
                self._held.move_to_end(text)
                return self._held[text]
        found = self._compute(text)
        with self._lock:
            self._held[text] = found
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
        return found

    def _compute(self, text: str) -> TokenVectors:
        embeddings: Any = self._embeddings
        if isinstance(embeddings, _TokenEmbeddings):
            return TokenVectors(*embeddings.tokens_and_vectors(text))
        spans = split(text) or [(0, len(text))]
        rows = self._embeddings.embed_documents([text[a:b] for a, b in spans])
        vectors = np.asarray(rows, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return TokenVectors(np.asarray(spans, dtype=np.int64), vectors / np.maximum(norms, 1e-9))


def mean_vector(vectors: Floats) -> Floats:
    """Unit mean of (t, D) vectors; zeros where there are none."""
    if not len(vectors):
        return np.zeros(vectors.shape[1], dtype=np.float32)
    mean: Floats = vectors.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)


def max_similarity(asked: Floats, weights: Floats, given: Floats) -> float:
    """Late interaction: each asked token's best cosine among the given, weighted mean.

    Khattab and Zaharia, ColBERT (2020). `asked` is (Q, D), `weights` (Q,), `given` (t, D).
    """
    if not len(given) or not len(asked):
        return 0.0
    best = (asked @ given.T).max(axis=1)
    return float(best @ weights / max(float(weights.sum()), 1e-9))
