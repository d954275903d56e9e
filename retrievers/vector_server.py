"""Vectors in an engine of their own, for indexes that outgrow this process's memory.

    address = "http://127.0.0.1:8000"                  # a server that `chroma run` started
    address = "postgresql://user:password@host/name"   # PostgreSQL with pgvector
    library = open_library(index, docs, embeddings, served=address)

The engine gets ids and vectors, never a text. The store of the index stays the source of truth:
it notes what the engine was given, so that an update sends what is new, takes out what is gone,
and goes on where it was killed.
"""

import itertools
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from langchain_core.embeddings import Embeddings

from retrievers.corpus import Corpus, vector_of
from retrievers.dense import DenseIndex
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.ranking import Floats

if TYPE_CHECKING:
    from retrievers.store_index import StoreIndex

_SLAB: Final = 500  # vectors sent in one call
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sent(engine TEXT NOT NULL, id TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY(engine, id)) WITHOUT ROWID
"""
_ON_ITS_WAY: Final = ""  # in place of a hash: the engine may have it or not
_STALE: Final = (
    "SELECT id FROM sent WHERE engine = ? AND NOT EXISTS (SELECT 1 FROM passages"
    " WHERE passages.id = sent.id AND passages.hash = sent.hash)"
)
_NEW: Final = (
    "SELECT passages.id, passages.hash, texts.vector FROM passages JOIN texts USING (hash)"
    " WHERE texts.vector IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM sent WHERE engine = ? AND sent.id = passages.id) LIMIT ?"
)


def open_vector_server(
    corpus: Corpus, address: str, embeddings: Embeddings
) -> "tuple[StoreIndex, str]":
    """The vectors of an index in the engine at `address`, and a name for them there.

    Each index has a collection, or a table, of its own.

    Raises:
        RetrievalError: the address is of no engine we know.
        IndexStoreError: a package is missing, or the engine does not answer.
    """
    name = corpus.meta("collection")
    if not name:
        name = f"deerstalker_{uuid.uuid4().hex[:12]}"
        corpus.set_meta(collection=name)
    if address.startswith(("http://", "https://")):
        from retrievers.chroma_store import open_chroma
        from retrievers.store_index import StoreIndex

        store = open_chroma(embeddings, url=address, collection=name)
        return StoreIndex(store, embeddings), f"{without_user(address)} {name}"
    if address.startswith(("postgresql://", "postgres://")):
        from retrievers.pgvector_store import pgvector_index

        size = _dimension(corpus, embeddings)
        server = pgvector_index(address, embeddings, table=name, size=size)
        return server, f"{without_user(address)} {name}"
    raise RetrievalError(
        f"{address.split('://')[0]!r} is no engine for vectors that we know: give http://HOST:PORT"
        " of a Chroma server, or postgresql://..."
    )


def served_vectors(
    corpus: Corpus, address: str, embeddings: Embeddings, ids: Sequence[str]
) -> "ServedVectors":
    """The engine at `address` as the dense side of `ids`, once it holds what the store holds.

    Raises as `open_vector_server` and `send_changes`.
    """
    engine, name = open_vector_server(corpus, address, embeddings)
    send_changes(corpus, engine, name)
    return ServedVectors(engine, corpus, ids)


def without_user(address: str) -> str:
    """An address without its user and password, which are not to be kept on disk."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _dimension(corpus: Corpus, model: Embeddings) -> int:
    """The length of a vector: of one that is held, else of one that `model` makes."""
    with corpus.guard() as connection:
        row = connection.execute(
            "SELECT vector FROM texts WHERE vector IS NOT NULL LIMIT 1"
        ).fetchone()
    return len(vector_of(row[0])) if row else len(model.embed_query("length"))


class ServedVectors:
    """What a search asks of the dense side: nearest ids from the engine, vectors from the store.

    Ids that the engine holds beyond those of this state of the index are passed over.
    """

    def __init__(self, engine: DenseIndex, corpus: Corpus, ids: Sequence[str]) -> None:
        self.engine = engine
        self._corpus = corpus
        self._ids = frozenset(ids)

    def __len__(self) -> int:
        """How many vectors this state of the index has."""
        return len(self._ids)

    def put(self, ids: Sequence[str], vectors: Any) -> None:
        """Store `vectors` (N, D) in the engine, one for each id."""
        self.engine.put(ids, vectors)
        self._ids |= frozenset(ids)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`, in the engine too."""
        self.engine.remove(ids)
        self._ids -= frozenset(ids)

    def search(
        self, query: Any, k: int, among: Sequence[str] | None = None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to the vector `query` (D) with their cosine, best first."""
        wanted = k
        while True:
            found = self.engine.search(query, wanted, among)
            known = [(id_, cosine) for id_, cosine in found if id_ in self._ids]
            if len(known) >= k or len(found) < wanted:
                return known[:k]
            wanted *= 2

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D); zeros where one left the index meanwhile."""
        held = stored_vectors(self._corpus, ids)
        if not held:
            return np.zeros((len(ids), 0), dtype=np.float32)
        none = np.zeros_like(next(iter(held.values())))
        return np.stack([held.get(id_, none) for id_ in ids])


def stored_vectors(corpus: Corpus, ids: Sequence[str]) -> dict[str, Floats]:
    """The vectors (D) that the store holds of `ids`."""
    found: dict[str, Floats] = {}
    with corpus.guard() as connection:
        for at in range(0, len(ids), _SLAB):
            part = list(ids[at : at + _SLAB])
            marks = ",".join("?" * len(part))
            rows = connection.execute(
                "SELECT passages.id, texts.vector FROM passages JOIN texts USING (hash)"
                f" WHERE passages.id IN ({marks}) AND texts.vector IS NOT NULL",
                part,
            )
            found.update((id_, vector_of(blob)) for id_, blob in rows)
    return found


def send_changes(corpus: Corpus, engine: DenseIndex, name: str) -> tuple[int, int]:
    """Bring the engine `name` to what the store holds; returns how many were sent and taken out.

    Call it while holding `writing`, after an update was published. Each slab is noted before it
    is sent and once the engine has it: what a kill leaves between is taken out and sent again.

    Raises:
        IndexStoreError: the engine holds vectors that are not of this index.
    """
    with corpus.transaction() as connection:
        connection.execute(_SCHEMA)
    taken = _take_out(corpus, engine, name)
    sent = _send(corpus, engine, name)
    total = _count(corpus, name)
    if len(engine) < total:  # it was emptied behind our back
        with corpus.transaction() as connection:
            connection.execute("DELETE FROM sent WHERE engine = ?", (name,))
        sent = _send(corpus, engine, name)
    if len(engine) > total:
        raise IndexStoreError(
            f"the engine at {name} holds {len(engine)} vectors for {total} passages: "
            "something else writes to the same collection; delete that collection, then run again"
        )
    return sent, taken


def forget_engine(corpus: Corpus, engine: DenseIndex, name: str) -> int:
    """Take everything of this index out of the engine `name`; returns how many vectors."""
    with corpus.transaction() as connection:
        connection.execute(_SCHEMA)
        rows = connection.execute("SELECT id FROM sent WHERE engine = ?", (name,)).fetchall()
    for slab in _slabs(rows):
        engine.remove([row[0] for row in slab])
    with corpus.transaction() as connection:
        connection.execute("DELETE FROM sent WHERE engine = ?", (name,))
    return len(rows)


def _take_out(corpus: Corpus, engine: DenseIndex, name: str) -> int:
    with corpus.guard() as connection:
        rows = connection.execute(_STALE, (name,)).fetchall()
    for slab in _slabs(rows):
        engine.remove([row[0] for row in slab])
        with corpus.transaction() as connection:
            connection.executemany(
                "DELETE FROM sent WHERE engine = ? AND id = ?", [(name, row[0]) for row in slab]
            )
    return len(rows)


def _send(corpus: Corpus, engine: DenseIndex, name: str) -> int:
    sent = 0
    while True:
        with corpus.guard() as connection:
            rows = connection.execute(_NEW, (name, _SLAB)).fetchall()
        if not rows:
            return sent
        _note(corpus, [(name, id_, _ON_ITS_WAY) for id_, _, _ in rows])
        engine.put([row[0] for row in rows], np.stack([vector_of(row[2]) for row in rows]))
        _note(corpus, [(name, id_, hash_) for id_, hash_, _ in rows])
        sent += len(rows)


def _note(corpus: Corpus, rows: Sequence[tuple[str, str, str]]) -> None:
    """Note of an engine and an id which text's vector it has."""
    with corpus.transaction() as connection:
        connection.executemany("INSERT OR REPLACE INTO sent VALUES (?, ?, ?)", rows)


def _count(corpus: Corpus, name: str) -> int:
    with corpus.guard() as connection:
        rows = connection.execute("SELECT count(*) FROM sent WHERE engine = ?", (name,))
        return int(rows.fetchone()[0])


def _slabs(rows: Sequence[Any]) -> Iterator[list[Any]]:
    waiting = iter(rows)
    while slab := list(itertools.islice(waiting, _SLAB)):
        yield slab
