"""A LangChain vector store on FAISS: in memory or in a folder, exact or approximate by size.

    store = FaissStore.open(Path("store"), embeddings)
    store.add_documents(documents)
    store.similarity_search("question", filter={"year": {"$gte": 2020}})

Cosine search, upsert and delete by id, filters on metadata. In a folder every call that returned
stays, whatever happens to the process; other processes see it, and nothing is ever unpickled.
"""

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from typing_extensions import override

from retrievers.approximate import Mask, Policy
from retrievers.columns import Columns
from retrievers.dense import embedding_name, unit_rows
from retrievers.file_shelf import FileShelf
from retrievers.filters import Where, parse_where
from retrievers.mmr import mmr
from retrievers.ranking import Floats
from retrievers.shelf import MemoryShelf, Shelf

Filter: TypeAlias = Callable[[Document], bool] | Where | None
_BATCH: Final = 1000  # documents copied at once


class FaissStore(VectorStore):
    """Documents and their vectors. Safe between threads; in a folder, between processes too."""

    def __init__(self, embedding: Embeddings, *, policy: Policy | None = None) -> None:
        self._embedding = embedding
        self._hold(MemoryShelf(policy))

    def _hold(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._columns = Columns(shelf.scan)
        self._numbering = shelf.index.numbering

    @classmethod
    def open(
        cls,
        folder: Path,
        embedding: Embeddings,
        *,
        policy: Policy | None = None,
        wait: float = 30.0,
        verify: bool = True,
    ) -> Self:
        """The store in `folder`, which is made by the first document that is added.

        Args:
            wait: seconds that a change waits for another process that writes.
            verify: compare all checksums first; a damaged document is told when it is read in any
                case.

        Raises:
            ArtefactError: it is damaged, or of another version; `repair` is the mend.
            RetrievalError: it was made with another embedding model.
        """
        store = cls(embedding)
        shelf = FileShelf(folder, embedding_name(embedding), policy, wait)
        with shelf.reading():
            if verify:
                shelf.check()
        store._hold(shelf)
        return store

    @classmethod
    def repair(
        cls,
        folder: Path,
        embedding: Embeddings,
        *,
        text: Callable[[Document], str] = lambda document: document.page_content,
    ) -> tuple[int, list[str]]:
        """Mend a damaged store: embed texts whose vectors are damaged, take out damaged texts.

        Returns how many vectors were made again, and the ids of the documents that are lost.
        `text` is what was embedded of a document.

        Raises:
            IndexStoreError: the file of documents is damaged beyond that.
        """
        shelf = FileShelf(folder, embedding_name(embedding))
        try:
            return shelf.repair(
                lambda documents: unit_rows(embedding.embed_documents([text(d) for d in documents]))
            )
        finally:
            shelf.close()

    def close(self) -> None:
        """Give back open files; the next use opens them again."""
        if isinstance(self._shelf, FileShelf):
            self._shelf.close()

    def save(self, folder: Path) -> None:
        """Write a copy of the store to a new `folder`, with the vectors it has.

        Raises:
            FileExistsError: there is something at `folder`.
        """
        folder.mkdir(parents=True)
        try:
            copy = FileShelf(folder, embedding_name(self._embedding), self._shelf.index.policy)
            with copy.writing():
                for documents, vectors in self.batches():
                    copy.put(documents, vectors)
            copy.close()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def nearest(
        self, vector: Any, k: int, wanted: Filter = None, among: Sequence[str] | None = None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to a vector (D) with their cosine, best first.

        `wanted` and `among` both limit the search.
        """
        with self._shelf.reading():
            mask = None if wanted is None else self._mask(wanted)
            if among is not None:
                marked = self._shelf.index.mask_of(among)
                mask = marked if mask is None else mask & marked
            return self._shelf.index.search_rows(vector, k, mask)

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D); KeyError where one is not held."""
        with self._shelf.reading():
            return self._shelf.index.vectors(ids)

    def batches(self, size: int = _BATCH) -> Iterator[tuple[list[Document], Floats]]:
        """All documents with their unit vectors (N, D), in the order they were stored."""
        with self._shelf.reading():
            ids = self._shelf.index.ids
        for at in range(0, len(ids), size):
            with self._shelf.reading():
                documents = self._shelf.get(ids[at : at + size])
                vectors = self._shelf.index.vectors([d.id or "" for d in documents])
            yield documents, vectors

    @property
    def embeddings(self) -> Embeddings:
        """The embedding model that serves documents and queries."""
        return self._embedding

    def __len__(self) -> int:
        with self._shelf.reading():
            return len(self._shelf.index)

    @override
    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Store `documents` under `ids=`, their own ids or new ones; a known id is overwritten."""
        ids: Sequence[str | None] = kwargs.get("ids") or [d.id for d in documents]
        if len(ids) != len(documents):
            raise ValueError(f"{len(ids)} ids for {len(documents)} documents")
        vectors = self._embedding.embed_documents([d.page_content for d in documents])
        return self._put(documents, ids, vectors)

    @override
    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Store `texts`, each with its metadata and id where given."""
        words = list(texts)
        facts = metadatas or [{} for _ in words]
        documents = [
            Document(page_content=text, metadata=fact)
            for text, fact in zip(words, facts, strict=True)
        ]
        return self.add_documents(documents, ids=ids)

    def add_vectors(self, documents: Sequence[Document], vectors: Any) -> list[str]:
        """Store `documents` with vectors (N, D) that were made before."""
        return self._put(documents, [d.id for d in documents], vectors)

    def _put(
        self, documents: Sequence[Document], ids: Sequence[str | None], vectors: Any
    ) -> list[str]:
        if not documents:
            return []
        names = [id_ or uuid.uuid4().hex for id_ in ids]
        rows = unit_rows(vectors)
        if len(rows) != len(names):
            raise ValueError(f"{len(rows)} vectors for {len(names)} documents")
        latest = {name: row for row, name in enumerate(names)}
        held = [_named(name, documents[row]) for name, row in latest.items()]
        with self._shelf.writing():
            self._shelf.put(held, rows[list(latest.values())])
        return names

    @override
    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Forget `ids` (all documents when None); unknown ids are ignored."""
        with self._shelf.writing():
            self._shelf.remove(self._shelf.index.ids if ids is None else ids)
        return True

    @override
    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents held under `ids`, in that order; unknown ids are left out."""
        with self._shelf.reading():
            return self._shelf.get(ids)

    @override
    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` nearest documents; `filter=` is a metadata filter or a predicate."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    @override
    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The `k` nearest documents, each with its cosine with the query."""
        vector = self._embedding.embed_query(query)
        return self.similarity_search_with_score_by_vector(vector, k, **kwargs)

    @override
    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """The `k` documents nearest to a vector (D)."""
        found = self.similarity_search_with_score_by_vector(embedding, k, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The `k` documents nearest to a vector (D), each with its cosine."""
        with self._shelf.reading():
            found = dict(self.nearest(embedding, k, kwargs.get("filter")))
            return [
                (document, found[document.id or ""]) for document in self._shelf.get(list(found))
            ]

    @override
    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """`k` documents that are relevant and unlike one another, out of the `fetch_k` nearest."""
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, **kwargs
        )

    @override
    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector (D)."""
        with self._shelf.reading():
            ids = [id_ for id_, _ in self.nearest(embedding, fetch_k, kwargs.get("filter"))]
            rows = mmr(embedding, self._shelf.index.vectors(ids), k, lambda_mult)
            return self._shelf.get([ids[row] for row in rows])

    @override
    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda cosine: min(1.0, max(0.0, cosine))

    @classmethod
    @override
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A new store that holds `texts`."""
        store = cls(embedding)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _mask(self, wanted: Where | Callable[[Document], bool]) -> Mask:
        """The rows that a filter leaves, (N,)."""
        index = self._shelf.index
        if self._numbering != index.numbering:
            self._columns.clear()
            self._numbering = index.numbering
        if not callable(wanted):
            return self._columns.mask(parse_where(wanted), len(index.names))
        mask = np.zeros(len(index.names), dtype=np.bool_)
        rows = [row for row, name in enumerate(index.names) if name is not None]
        for at in range(0, len(rows), _BATCH):
            part = rows[at : at + _BATCH]
            documents = self._shelf.get([index.names[row] or "" for row in part])
            mask[part] = [wanted(document) for document in documents]
        return mask


def _named(id_: str, document: Document) -> Document:
    """A copy of `document` that is called `id_`."""
    return Document(id=id_, page_content=document.page_content, metadata=dict(document.metadata))
