"""Drop passages that say what a better ranked passage says already, word for word or in meaning.

Two measures: the share of word triples two texts have in common (Jaccard, found by MinHash as in
Broder 1997, then counted), and the cosine of their vectors. The first is for copies and versions
of one text, the second for the same said in other words.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from typing_extensions import override

from retrievers.dense import unit_rows
from retrievers.ranking import passage_key, with_scores

Signature: TypeAlias = NDArray[np.uint64]

HASHES: Final = 128
SHINGLE: Final = 3  # words
_MARGIN: Final = 0.15  # more than three standard errors of an estimate from 128 hashes
_PRIME: Final = (1 << 61) - 1
_MASK: Final = np.uint64((1 << 32) - 1)
_WORD: Final = re.compile(r"\w")
_RUN: Final = re.compile(r"[^\W_]+")
_SPACELESS: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
)


def shingles(text: str, size: int = SHINGLE) -> frozenset[int]:
    """Hashes of every run of `size` words, of all words together where there are fewer.

    A script without spaces is taken character by character, five times as many in a run. Case and
    punctuation do not count. A text without a word has no shingle.
    """
    lowered = text.casefold()
    if len(_SPACELESS.findall(lowered)) * 2 > len(lowered):
        words, size = _WORD.findall(lowered), size * 5
    else:
        words = _RUN.findall(lowered)
    runs = max(len(words) - size + 1, min(len(words), 1))
    return frozenset(zlib.crc32(" ".join(words[at : at + size]).encode()) for at in range(runs))


def minhash(held: frozenset[int], hashes: int = HASHES, seed: int = 0) -> Signature:
    """The least value of each of `hashes` hash functions over 32-bit shingles, (hashes,).

    Two sets agree in about as many places as their Jaccard similarity; an empty set agrees with
    an empty one alone.
    """
    rng = np.random.default_rng(seed)
    factors = rng.integers(1, 1 << 31, hashes, dtype=np.uint64)  # products stay below 2^63
    shifts = rng.integers(0, 1 << 31, hashes, dtype=np.uint64)
    if not held:
        return np.full(hashes, np.iinfo(np.uint64).max, dtype=np.uint64)
    values = np.fromiter(held, dtype=np.uint64, count=len(held))
    mixed = values[:, None] * factors + shifts  # (n, hashes)
    least: Signature = ((mixed % np.uint64(_PRIME)) & _MASK).min(axis=0)
    return least


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Shared members over all members; 1 for two empty sets."""
    together = len(one | other)
    return len(one & other) / together if together else 1.0


def repeats_by_words(texts: Sequence[str], threshold: float = 0.7) -> list[int]:
    """For each text the first earlier kept text it repeats, or its own row where it is kept.

    MinHash finds what may be alike, the shingles themselves decide, so an estimate never drops
    a text.
    """
    sets = [shingles(text) for text in texts]
    signatures = np.stack([minhash(held) for held in sets]) if sets else np.zeros((0, HASHES))
    kept: list[int] = []
    found: list[int] = []
    for row, held in enumerate(sets):
        agree = (signatures[kept] == signatures[row]).mean(axis=1)  # (kept,)
        maybe = [kept[at] for at in np.flatnonzero(agree >= threshold - _MARGIN)]
        same = next((at for at in maybe if jaccard(sets[at], held) >= threshold), row)
        found.append(same)
        if same == row:
            kept.append(row)
    return found


def repeats_by_vectors(vectors: Any, threshold: float = 0.95) -> list[int]:
    """As `repeats_by_words`, by the cosine of vectors (N, D)."""
    if not len(vectors):
        return []
    rows = unit_rows(vectors)
    kept: list[int] = []
    found: list[int] = []
    for row in range(len(rows)):
        near = np.flatnonzero(rows[kept] @ rows[row] >= threshold)
        found.append(kept[int(near[0])] if len(near) else row)
        if not len(near):
            kept.append(row)
    return found


class NearDuplicateFilter(BaseDocumentCompressor):
    """Keeps the best ranked of documents that repeat one another.

    Metadata of a kept document names those dropped for it, best first, as `duplicates`: their
    ids, or source and text where they have none. With `embeddings` the cosine counts as well.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    # A paragraph of ten like sentences with one rewritten keeps 9 of 11 triples, with two 8 of 12.
    threshold: float = Field(default=0.7, gt=0, le=1, description="shared word triples")
    embeddings: Embeddings | None = Field(default=None, repr=False)
    cosine: float = Field(default=0.95, gt=0, le=1, description="used with `embeddings` alone")

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents without repetitions, in the order they came."""
        texts = [document.page_content for document in documents]
        stands_for = repeats_by_words(texts, self.threshold)
        left = [row for row, of in enumerate(stands_for) if row == of]
        if self.embeddings is not None and len(left) > 1:
            vectors = self.embeddings.embed_documents([texts[row] for row in left])
            for row, of in zip(left, repeats_by_vectors(vectors, self.cosine), strict=True):
                stands_for[row] = left[of]
        dropped: dict[int, list[str]] = {}
        for row, of in enumerate(stands_for):
            final = stands_for[of]  # a copy by words of one that is then dropped by its vector
            dropped.setdefault(final, [])
            if final != row:
                dropped[final].append(passage_key(documents[row]))
        return [
            with_scores(documents[row], duplicates=names) if names else documents[row]
            for row, names in sorted(dropped.items())
        ]
