"""Search by meaning: exact cosine search over embedding vectors with FAISS.

`VectorIndex` keeps vectors and their ids and knows no text; `DenseRetriever` joins it to an
embedding model and to whatever holds the documents.
"""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import Field
from typing_extensions import override

from retrievers.artefact import ArtefactError, read_artefact, write_artefact
from retrievers.errors import RetrievalError
from retrievers.ranking import Fetch, Floats, searchable_text, with_scores

KIND, VERSION = "vectors", 1


def unit_rows(vectors: Any) -> Floats:
    """(N, D) float32 rows of length 1; a zero row stays zero.

    Raises:
        RetrievalError: a value is not a finite number.
    """
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    if not np.isfinite(rows).all():
        raise RetrievalError("the embedding model returned a vector that is not finite")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(length > 0, length, 1), dtype=np.float32)


def embedding_name(embeddings: Embeddings) -> str:
    """What tells one embedding model from another: its weight hash, or its class and name."""
    weights = getattr(embeddings, "model_hash", None)
    if weights:
        return str(weights)
    name = getattr(embeddings, "model_name", None) or getattr(embeddings, "model", None) or ""
    return f"{type(embeddings).__module__}.{type(embeddings).__qualname__}:{name}"


class VectorIndex:
    """N unit vectors in a flat FAISS index; row i belongs to `ids[i]`. Safe between threads."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._faiss: Any | None = None  # made by the first vector, which sets the dimension
        self._lock = threading.RLock()

    @classmethod
    def build(cls, ids: Sequence[str], vectors: Any) -> Self:
        """An index over `vectors` (N, D), any length, under `ids` (N)."""
        index = cls()
        index.put(ids, vectors)
        return index

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int | None:
        """Length of a vector; None while the index is empty and has never held one."""
        return int(self._faiss.d) if self._faiss is not None else None

    def put(self, ids: Sequence[str], vectors: Any) -> None:
        """Store one vector (D) per id; an id that is there already gets the new vector.

        Raises:
            RetrievalError: the dimension differs from that of the vectors held.
        """
        latest = {id_: row for row, id_ in enumerate(ids)}
        if not latest:
            return
        rows = unit_rows(vectors)
        if len(rows) != len(ids):
            raise ValueError(f"{len(ids)} ids for {len(rows)} vectors")
        with self._lock:
            self._check_dimension(rows)
            self.remove(list(latest))
            if self._faiss is None:
                import faiss

                self._faiss = faiss.IndexFlatIP(rows.shape[1])
            self._faiss.add(rows[list(latest.values())])
            for id_ in latest:
                self._rows[id_] = len(self.ids)
                self.ids.append(id_)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        with self._lock:
            rows = sorted({self._rows[id_] for id_ in ids if id_ in self._rows})
            if not rows or self._faiss is None:
                return
            self._faiss.remove_ids(np.asarray(rows, dtype=np.int64))
            gone = set(rows)
            self.ids = [id_ for row, id_ in enumerate(self.ids) if row not in gone]
            self._rows = {id_: row for row, id_ in enumerate(self.ids)}

    def search(
        self, query: Any, k: int, among: Sequence[str] | None = None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to the vector `query` (D) with their cosine, best first.

        `among` limits the search to those ids.
        """
        vector = unit_rows(query)
        with self._lock:
            if self._faiss is None or not self.ids or k <= 0:
                return []
            self._check_dimension(vector)
            options: dict[str, Any] = {}
            if among is not None:
                import faiss

                rows = np.asarray([self._rows[i] for i in among if i in self._rows], np.int64)
                make: Any = faiss.SearchParameters  # its keywords are added at run time
                options["params"] = make(sel=faiss.IDSelectorBatch(rows))
            scores, found = self._faiss.search(vector, min(k, len(self.ids)), **options)
            order = sorted(zip(-scores[0], found[0], strict=True))  # ties: the earlier row first
            return [(self.ids[row], float(-score)) for score, row in order if row >= 0]

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The stored unit vectors of `ids`, (len(ids), D); every id must be held."""
        with self._lock:
            if self._faiss is None:
                return np.zeros((0, 0), dtype=np.float32)
            rows = np.asarray([self._rows[id_] for id_ in ids], dtype=np.int64)
            found: Floats = self._faiss.reconstruct_batch(rows)
            return found

    def save(self, folder: Path, **facts: Any) -> None:
        """Write the index to `folder`, replacing what is there in one step."""
        with self._lock:
            write_artefact(folder, KIND, VERSION, self.write_files, **facts)

    def write_files(self, folder: Path) -> None:
        """Write `ids.json` and, when there is a vector, `vectors.faiss` into `folder`."""
        (folder / "ids.json").write_text(json.dumps(self.ids), encoding="utf-8")
        if self._faiss is not None:
            import faiss

            faiss.write_index(self._faiss, str(folder / "vectors.faiss"))

    @classmethod
    def load(cls, folder: Path, kind: str = KIND, version: int = VERSION) -> Self:
        """Read an index that `save` wrote, after checking its checksums.

        Raises:
            ArtefactError: it is missing, damaged, or of another version.
        """
        read_artefact(folder, kind, version)
        index = cls()
        index.ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        index._rows = {id_: row for row, id_ in enumerate(index.ids)}
        if (folder / "vectors.faiss").exists():
            import faiss

            index._faiss = faiss.read_index(str(folder / "vectors.faiss"))
        held = index._faiss.ntotal if index._faiss is not None else 0
        if held != len(index.ids):
            raise ArtefactError(f"{folder} holds {held} vectors for {len(index.ids)} ids")
        return index

    def _check_dimension(self, rows: Floats) -> None:
        if self._faiss is not None and rows.shape[1] != self._faiss.d:
            raise RetrievalError(
                f"vectors of {rows.shape[1]} numbers do not fit an index of {self._faiss.d}: "
                "use the embedding model the index was made with, or build another index"
            )


class DenseRetriever(BaseRetriever):
    """Search by meaning over a vector index; metadata of a hit holds `dense`, the cosine."""

    index: VectorIndex = Field(repr=False)
    fetch: Fetch = Field(repr=False)
    embeddings: Embeddings = Field(repr=False)
    k: int = 4

    @classmethod
    def from_documents(
        cls, documents: Sequence[Document], embeddings: Embeddings, *, k: int = 4
    ) -> Self:
        """Embed `documents`, which must all have an id, and keep them in memory."""
        held = {document.id or "": document for document in documents}
        vectors = embeddings.embed_documents([searchable_text(d) for d in held.values()])
        return cls(
            index=VectorIndex.build(list(held), vectors),
            fetch=lambda ids: [held[id_] for id_ in ids],
            embeddings=embeddings,
            k=k,
        )

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        vector = self.embeddings.embed_query(query)
        cosine = dict(self.index.search(vector, self.k if k is None else k))
        return [with_scores(d, dense=cosine[d.id or ""]) for d in self.fetch(list(cosine))]
