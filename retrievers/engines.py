"""What any vector store must do to hold our vectors, and how each kind of store does it.

FAISS and Chroma take vectors and give them back. Any other LangChain store does so through
`GivenVectors`, the embedding model it is made with: it hands the store the vectors we have.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from retrievers.dense import unit_rows
from retrievers.errors import RetrievalError
from retrievers.faiss_store import FaissStore
from retrievers.filters import Where, holds, parse_where
from retrievers.ranking import Floats, searchable_text

_KEPT: Final = 50_000  # vectors remembered of a store that gives none back
_CLOSE: Final = 2e-3  # between a cosine and what is taken for it
_WIDER: Final = 4  # how much further a filtered search looks each time
_QUESTION: Final = "\0question"  # stands for the text of a vector that is searched with


class Engine(Protocol):
    """Documents with their vectors, wherever they are."""

    def put(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Store documents with distinct ids and their unit vectors (N, D); known ids change."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        ...

    def count(self) -> int:
        """How many documents are held."""
        ...

    def nearest(
        self, vector: Floats, k: int, where: Where | None, among: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to a unit vector (D) with their cosine, best first."""
        ...

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D); KeyError where one is not held."""
        ...


class GivenVectors(Embeddings):
    """An embedding model that knows some vectors already and asks `model` for the others."""

    def __init__(self, model: Embeddings) -> None:
        self.model = model
        self._given: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def giving(self, texts: Sequence[str], vectors: Floats) -> Iterator[None]:
        """Meanwhile each text has its vector of (N, D); one thread at a time."""
        with self._lock:
            self._given = dict(zip(texts, vectors.tolist(), strict=True))
            try:
                yield
            finally:
                self._given = {}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors given, or made."""
        given = self._given
        left = [text for text in texts if text not in given]
        made = iter(self.model.embed_documents(left) if left else [])
        return [given[text] if text in given else next(made) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector given, or made."""
        return self._given[text] if text in self._given else self.model.embed_query(text)


class FaissEngine:
    """Our own store; see `Engine`."""

    def __init__(self, store: FaissStore) -> None:
        self._store = store

    def put(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Store documents with distinct ids and their unit vectors (N, D); known ids change."""
        self._store.add_vectors(documents, vectors)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        self._store.delete(list(ids))

    def count(self) -> int:
        """How many documents are held."""
        return len(self._store)

    def nearest(
        self, vector: Floats, k: int, where: Where | None, among: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to a unit vector (D) with their cosine, best first."""
        return self._store.nearest(vector, k, where, among)

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D); KeyError where one is not held."""
        return self._store.vectors(ids)


class PlainEngine:
    """Any LangChain store of unit vectors that can search by vector or was made with `given`.

    Args:
        embeddings: makes the vector of a text again when it is asked for and forgotten; the
            store's own by default.
        given: the embedding model the store was made with, where it is of this kind.
        text: what is embedded of a document.
        count: how many documents the store holds; LangChain has no way to ask.
    """

    def __init__(
        self,
        store: VectorStore,
        embeddings: Embeddings | None = None,
        given: GivenVectors | None = None,
        text: Callable[[Document], str] = searchable_text,
        count: Callable[[], int] | None = None,
    ) -> None:
        self._store, self._given = store, given
        self._embeddings = embeddings or store.embeddings
        self._text, self._count = text, count
        self._known: OrderedDict[str, Floats] = OrderedDict()  # (D) each, least used first
        self._lock = threading.Lock()
        self._cosine: Callable[[float], float] | None = None  # of the store's score

    @property
    def takes_vectors(self) -> bool:
        """Whether the store can be handed vectors; else it makes them itself."""
        return self._given is not None

    def put(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Store documents with distinct ids and their unit vectors (N, D); known ids change.

        Without `given` the store makes the vectors itself.
        """
        self.remove([document.id or "" for document in documents])  # not every store upserts
        texts = [document.page_content for document in documents]
        # Equal texts may have titles that differ, and so vectors of their own.
        apart = self._given is not None and len(set(texts)) < len(texts)
        size = 1 if apart else max(1, len(documents))
        for at in range(0, len(documents), size):
            self._add(documents[at : at + size], vectors[at : at + size])

    def _add(self, documents: Sequence[Document], vectors: Floats) -> None:
        held, ids = list(documents), [document.id or "" for document in documents]
        if self._given is None:
            self._store.add_documents(held, ids=ids)
        else:
            with self._given.giving([document.page_content for document in held], vectors):
                self._store.add_documents(held, ids=ids)
        self._remember(ids, vectors)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        held = [document.id or "" for document in self._store.get_by_ids(list(ids))]
        if held:
            self._store.delete(held)
        with self._lock:
            for id_ in ids:
                self._known.pop(id_, None)

    def count(self) -> int:
        """How many documents are held.

        Raises:
            RetrievalError: it was made without a way to know.
        """
        if self._count is None:
            raise RetrievalError(
                f"{type(self._store).__name__} does not tell how much it holds: give `count`"
            )
        return self._count()

    def nearest(
        self, vector: Floats, k: int, where: Where | None, among: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to a unit vector (D) with their cosine, best first.

        With a limit on what may be found it looks further until there are `k`, or no more.
        """
        wanted = parse_where(where) if where else None
        allowed = set(among) if among is not None else None
        asked = k
        while k > 0:
            found = self._search(vector, asked)
            kept = [
                (document.id or "", score)
                for document, score in found
                if (allowed is None or document.id in allowed)
                and (wanted is None or holds(wanted, document.metadata))
            ]
            if len(kept) >= k or len(found) < asked:
                return self._with_cosines(vector, kept[:k])
            asked *= _WIDER
        return []

    def _search(self, vector: Floats, k: int) -> list[tuple[Document, float]]:
        by_vector = getattr(self._store, "similarity_search_with_score_by_vector", None)
        if by_vector is not None:
            return list(by_vector(vector.tolist(), k=k))
        if self._given is None:
            raise RetrievalError(
                f"{type(self._store).__name__} cannot be searched with a vector: make it with "
                "GivenVectors as its embedding model"
            )
        with self._given.giving([_QUESTION], vector.reshape(1, -1)):
            return self._store.similarity_search_with_score(_QUESTION, k=k)

    def _with_cosines(
        self, vector: Floats, found: list[tuple[str, float]]
    ) -> list[tuple[str, float]]:
        """The store's scores as cosines; the first search finds out what they are."""
        if not found:
            return []
        if self._cosine is None:
            some = [found[0], found[-1]]
            true = (self.vectors([id_ for id_, _ in some]) @ vector).tolist()
            fits = [
                guess
                for guess in _SCORES
                if all(abs(guess(s) - t) < _CLOSE for (_, s), t in zip(some, true, strict=True))
            ]
            if len(fits) != 1:  # another score, or one cosine that two of them explain
                cosines = (self.vectors([id_ for id_, _ in found]) @ vector).tolist()
                pairs = [(id_, c) for (id_, _), c in zip(found, cosines, strict=True)]
                return sorted(pairs, key=lambda pair: -pair[1])
            self._cosine = fits[0]
        return [(id_, self._cosine(float(score))) for id_, score in found]

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D); KeyError where one is not held."""
        with self._lock:
            left = list(dict.fromkeys(id_ for id_ in ids if id_ not in self._known))
        if left:
            found = self._store.get_by_ids(left)
            texts = [self._text(document) for document in found]
            if texts and self._embeddings is not None:
                made = unit_rows(self._embeddings.embed_documents(texts))
                self._remember([document.id or "" for document in found], made)
        with self._lock:
            for id_ in ids:
                self._known.move_to_end(id_)
            return unit_rows([self._known[id_] for id_ in ids])

    def _remember(self, ids: Sequence[str], vectors: Floats) -> None:
        with self._lock:
            for id_, row in zip(ids, vectors, strict=True):
                self._known[id_] = row.copy()
            while len(self._known) > max(_KEPT, len(ids)):
                self._known.popitem(last=False)


# What stores call a score: the cosine, a cosine distance, or the square of a distance.
_SCORES: Final[tuple[Callable[[float], float], ...]] = (
    lambda score: score,
    lambda score: 1 - score,
    lambda score: 1 - score / 2,
    lambda score: -score,
)


def engine_of(store: VectorStore, **options: Any) -> Engine:
    """The engine for a store; `options` are those of `PlainEngine`, for other kinds than two."""
    if isinstance(store, FaissStore):
        return FaissEngine(store)
    if type(store).__module__.startswith("langchain_chroma"):
        from langchain_chroma import Chroma

        from retrievers.chroma_store import ChromaEngine

        if isinstance(store, Chroma):
            return ChromaEngine(store)
    return PlainEngine(store, **options)
