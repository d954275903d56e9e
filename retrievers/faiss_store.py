"""A LangChain vector store on FAISS: exact cosine search, upsert by id, a checked file format.

Saved as a folder of `vectors.faiss`, `ids.json` and `documents.jsonl` with checksums; nothing in
it is ever unpickled.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from typing_extensions import override

from retrievers.artefact import write_artefact
from retrievers.dense import VectorIndex
from retrievers.mmr import mmr

KIND, VERSION = "faiss-store", 1
Filter: TypeAlias = Callable[[Document], bool] | dict[str, Any] | None


class FaissStore(VectorStore):
    """Documents and their vectors in memory, saved to and loaded from a folder."""

    def __init__(self, embedding: Embeddings) -> None:
        self._embedding = embedding
        self._index = VectorIndex()
        self._documents: dict[str, Document] = {}

    @property
    def embeddings(self) -> Embeddings:
        """The embedding model that serves documents and queries."""
        return self._embedding

    def __len__(self) -> int:
        return len(self._index)

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
        names = [id_ or uuid.uuid4().hex for id_ in ids]
        self._index.put(names, vectors)
        for name, document in zip(names, documents, strict=True):
            self._documents[name] = Document(
                id=name, page_content=document.page_content, metadata=dict(document.metadata)
            )
        return names

    @override
    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Forget `ids` (all documents when None); unknown ids are ignored."""
        gone = list(self._documents) if ids is None else ids
        self._index.remove(gone)
        for id_ in gone:
            self._documents.pop(id_, None)
        return True

    @override
    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents held under `ids`, in that order; unknown ids are left out."""
        return [self._copy(id_) for id_ in ids if id_ in self._documents]

    @override
    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` nearest documents; `filter=` is a predicate or metadata that must be equal."""
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
        found = self._index.search(embedding, k, self._among(kwargs.get("filter")))
        return [(self._copy(id_), score) for id_, score in found]

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
        found = self._index.search(embedding, fetch_k, self._among(kwargs.get("filter")))
        ids = [id_ for id_, _ in found]
        rows = mmr(embedding, self._index.vectors(ids), k, lambda_mult)
        return [self._copy(ids[row]) for row in rows]

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

    def save(self, folder: Path) -> None:
        """Write the store to `folder`, replacing what is there in one step.

        Raises:
            TypeError: metadata that JSON cannot hold.
        """
        lines = [
            json.dumps(
                {"id": id_, "text": d.page_content, "metadata": d.metadata}, ensure_ascii=False
            )
            for id_, d in ((id_, self._documents[id_]) for id_ in self._index.ids)
        ]

        def fill(new: Path) -> None:
            self._index.write_files(new)
            text = "".join(line + "\n" for line in lines)
            (new / "documents.jsonl").write_text(text, encoding="utf-8", newline="\n")

        write_artefact(folder, KIND, VERSION, fill)

    @classmethod
    def load(cls, folder: Path, embedding: Embeddings) -> Self:
        """Read a store that `save` wrote.

        Raises:
            ArtefactError: it is missing, damaged, or of another version.
        """
        store = cls(embedding)
        store._index = VectorIndex.load(folder, KIND, VERSION)
        with (folder / "documents.jsonl").open(encoding="utf-8", newline="\n") as lines:
            for row in map(json.loads, lines):
                store._documents[row["id"]] = Document(
                    id=row["id"], page_content=row["text"], metadata=row["metadata"]
                )
        return store

    def _copy(self, id_: str) -> Document:
        held = self._documents[id_]
        return held.model_copy(update={"metadata": dict(held.metadata)})

    def _among(self, wanted: Filter) -> list[str] | None:
        if wanted is None:
            return None
        if callable(wanted):
            return [id_ for id_ in self._documents if wanted(self._copy(id_))]
        return [
            id_
            for id_, document in self._documents.items()
            if all(document.metadata.get(key) == value for key, value in wanted.items())
        ]
