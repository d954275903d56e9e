"""Vectors of the words of a text in their context, for matching a question word by word.

`LocalEmbeddings` gives one vector a token. Any other LangChain embeddings class gives one a
sentence, which then counts as one long token: coarser, same formulas.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from retrievers.analysis import STOP_WORDS, tokenize
from retrievers.sentences import split

Floats = NDArray[np.float32]
Idf: TypeAlias = Callable[[Sequence[str]], Sequence[float]]

LIGHT: Final = 0.15  # weight of function words and punctuation beside 1 for other words


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

    def stored(self, number: type[np.floating[Any]]) -> "TokenVectors":
        """The same with vectors of another kind of number."""
        return TokenVectors(self.spans, self.vectors.astype(number, copy=False))


@runtime_checkable
class _TokenEmbeddings(Protocol):
    def tokens_and_vectors(self, text: str) -> tuple[NDArray[np.int64], Floats]: ...


@runtime_checkable
class _BatchTokenEmbeddings(Protocol):
    def many_tokens_and_vectors(
        self, texts: Sequence[str]
    ) -> list[tuple[NDArray[np.int64], Floats]]: ...


class TokenEncoder:
    """Token vectors of texts, the last `keep` of them remembered; safe between threads.

    A passage of 300 tokens of MiniLM takes 460 kB, half of that with `half` (16-bit numbers).
    """

    def __init__(self, embeddings: Embeddings, keep: int = 512, *, half: bool = False) -> None:
        self._embeddings = embeddings
        self._keep = keep
        self._number = np.float16 if half else np.float32
        self._held: OrderedDict[str, TokenVectors] = OrderedDict()
        self._lock = Lock()

    def encode(self, text: str) -> TokenVectors:
        """Spans and vectors of `text`."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[TokenVectors]:
        """Spans and vectors of each text; those not remembered are computed together."""
        with self._lock:
            found = {text: self._held[text] for text in texts if text in self._held}
            for text in found:
                self._held.move_to_end(text)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        made = [one.stored(self._number) for one in self._compute(missing)]
        new = dict(zip(missing, made, strict=True))
        with self._lock:
            self._held |= new
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
        found |= new
        return [found[text].stored(np.float32) for text in texts]

    def _compute(self, texts: Sequence[str]) -> list[TokenVectors]:
        embeddings: Any = self._embeddings
        if isinstance(embeddings, _BatchTokenEmbeddings) and len(texts) > 1:
            return [TokenVectors(*found) for found in embeddings.many_tokens_and_vectors(texts)]
        if isinstance(embeddings, _TokenEmbeddings):
            return [TokenVectors(*embeddings.tokens_and_vectors(text)) for text in texts]
        return [self._by_sentence(text) for text in texts]

    def _by_sentence(self, text: str) -> TokenVectors:
        spans = split(text) or [(0, len(text))]
        rows = self._embeddings.embed_documents([text[a:b] for a, b in spans])
        vectors = np.asarray(rows, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return TokenVectors(np.asarray(spans, dtype=np.int64), vectors / np.maximum(norms, 1e-9))


def query_weights(text: str, asked: TokenVectors, idf: Idf | None = None) -> Floats:
    """How much each token of a question counts in late interaction, (Q,).

    Function words and punctuation count `LIGHT`, other words 1 or, with `idf`, as much as the
    rarest of their search terms. Where nothing but light words is asked, all count 1.
    """
    pieces = [text[a:b].lower() for a, b in asked.spans]
    light = [piece in STOP_WORDS or not any(map(str.isalnum, piece)) for piece in pieces]
    if all(light):
        return np.ones(len(pieces), dtype=np.float32)
    weights = np.where(light, LIGHT, 1.0).astype(np.float32)
    if idf is None:
        return weights
    words = [_word_around(text, int(a), int(b)) for a, b in asked.spans]
    terms = {word: tokenize(word) for word in dict.fromkeys(words)}
    rarity = {word: max(idf(held), default=0.0) if held else 1.0 for word, held in terms.items()}
    return weights * np.asarray([rarity[word] for word in words], dtype=np.float32)


def _word_around(text: str, start: int, end: int) -> str:
    """The word that the piece `start:end` of a text belongs to."""
    while start > 0 and text[start - 1].isalnum() and text[start : start + 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum() and text[end - 1 : end].isalnum():
        end += 1
    return text[start:end]


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
