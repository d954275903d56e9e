"""Copy a vector store into another one, of another kind if need be; nothing is embedded again.

export(FaissStore.open(folder, embeddings), open_chroma(embeddings, url=url))
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, cast

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from retrievers.engines import PlainEngine, engine_of
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.faiss_store import FaissStore
from retrievers.ranking import Floats
from retrievers.store_index import StoreIndex

_BATCH: Final = 1000


class Source(Protocol):
    """Something that gives all its documents with their vectors."""

    def batches(self, size: int) -> Iterator[tuple[list[Document], Floats]]:
        """All documents with their unit vectors (N, D)."""
        ...


def export(
    source: VectorStore | StoreIndex,
    target: VectorStore | StoreIndex,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Store every document of `source` in `target` under its id; returns how many.

    Args:
        target: what it holds under other ids stays. A store that is neither ours nor Chroma is
            given as a `StoreIndex`, which can hand it vectors.
        progress: called with how many are done.

    Raises:
        RetrievalError: `source` does not give its vectors back, or `target` takes none.
        IndexStoreError: fewer documents arrived than were sent.
    """
    into = target.store if isinstance(target, StoreIndex) else target
    engine = target.engine if isinstance(target, StoreIndex) else engine_of(target)
    if type(engine) is PlainEngine and not engine.takes_vectors:
        raise RetrievalError(
            f"{type(into).__name__} takes no vectors: give StoreIndex.over(...), which can hand "
            "them over"
        )
    done = 0
    for documents, vectors in _source(source).batches(_BATCH):
        engine.put(documents, vectors)
        ids = [document.id or "" for document in documents]
        if lost := len(ids) - len(into.get_by_ids(ids)):
            raise IndexStoreError(f"{lost} of {len(ids)} documents did not arrive: export again")
        done += len(documents)
        if progress is not None:
            progress(done)
    return done


def _source(store: VectorStore | StoreIndex) -> Source:
    held: Any = store
    if isinstance(store, StoreIndex):
        held = store.store if isinstance(store.store, FaissStore) else store.engine
    elif not isinstance(store, FaissStore):
        held = engine_of(store)
    if not hasattr(held, "batches"):
        raise RetrievalError(
            f"{type(store).__name__} does not give its vectors back: build the index again from "
            "the documents"
        )
    return cast("Source", held)
