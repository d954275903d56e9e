"""Where a vector store keeps its documents: the interface, and one that holds them in memory."""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from langchain_core.documents import Document

from retrievers.approximate import Policy
from retrievers.dense import VectorIndex
from retrievers.ranking import Floats


class Shelf(Protocol):
    """Documents with an id, and the index of their vectors; row i of the index is one document."""

    index: VectorIndex

    def reading(self) -> AbstractContextManager[None]:
        """Nothing changes meanwhile, and what other processes wrote before is seen."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """As `reading`, and no other process writes."""
        ...

    def put(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Store documents with distinct ids and their unit vectors (N, D); known ids change."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        ...

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Copies of the documents of `ids`, in that order; unknown ids are left out."""
        ...

    def scan(self, start: int) -> Iterable[tuple[int, Mapping[str, Any]]]:
        """Row and metadata of each document from row `start` on."""
        ...


class MemoryShelf:
    """Documents held in a dictionary."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.index = VectorIndex(policy)
        self._documents: dict[str, Document] = {}
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """No other thread changes anything meanwhile."""
        with self._lock:
            yield

    writing = reading

    def put(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Store documents with distinct ids and their unit vectors (N, D); known ids change."""
        self.index.put([document.id or "" for document in documents], vectors)
        self._documents.update((document.id or "", document) for document in documents)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        self.index.remove(ids)
        for id_ in ids:
            self._documents.pop(id_, None)

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Copies of the documents of `ids`, in that order; unknown ids are left out."""
        held = [self._documents[id_] for id_ in ids if id_ in self._documents]
        return [d.model_copy(update={"metadata": dict(d.metadata)}) for d in held]

    def scan(self, start: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Row and metadata of each document from row `start` on."""
        for row, name in enumerate(self.index.names[start:], start):
            if name is not None:
                yield row, self._documents[name].metadata
