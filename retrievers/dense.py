"""Search by meaning: cosine search over embedding vectors, exact or through FAISS's indexes.

`VectorIndex` keeps vectors and their ids and knows no text; `DenseRetriever` joins it, or any other
`DenseIndex`, to an embedding model and to whatever holds the documents.
"""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, SkipValidation
from typing_extensions import override

from retrievers.approximate import Approximate, Mask, Policy, Rows, nearest
from retrievers.artefact import ArtefactError, read_artefact, write_artefact
from retrievers.errors import RetrievalError
from retrievers.ranking import Fetch, Floats, searchable_text, with_scores

KIND, VERSION = "vectors", 2
_FEW: Final = 1000  # rows that may stand empty in any matrix
_SPARSE: Final = 8  # fewer than one row in so many are copied out before they are compared
_MAPPED: Final = 64 << 20  # bytes; a larger file is mapped, not read


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


class DenseIndex(Protocol):
    """The dense side of an index: vectors by id, whatever engine holds them."""

    def __len__(self) -> int:
        """How many vectors are held."""
        ...

    def put(self, ids: Sequence[str], vectors: Any) -> None:
        """Store `vectors` (N, D), one for each id; an id that is there gets the new one."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        ...

    def search(
        self, query: Any, k: int, among: Sequence[str] | None = None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to the vector `query` (D) with their cosine, best first."""
        ...

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D); every id must be held."""
        ...


class VectorIndex:
    """N unit vectors; each row belongs to an id. Safe between threads.

    Up to `policy.flat_limit` vectors every one is compared; beyond, an approximate index proposes
    and the vectors themselves decide, so a cosine is always exact. With `fixed_rows` the owner of
    the matrix numbers the rows, and gaps stay until it gives another matrix.
    """

    def __init__(self, policy: Policy | None = None, *, fixed_rows: bool = False) -> None:
        self.policy = policy or Policy()
        self.fixed_rows = fixed_rows
        self.numbering = 0  # goes up whenever rows are numbered anew
        self.approximate: Approximate | None = None
        self._names: list[str | None] = []  # by row; None where the vector was removed
        self._rows: dict[str, int] = {}
        self._matrix: Floats | None = None  # made by the first vector, which sets the dimension
        self._live: Mask | None = None  # by row; None while no row was removed
        self._lock = threading.RLock()

    @classmethod
    def build(cls, ids: Sequence[str], vectors: Any, policy: Policy | None = None) -> Self:
        """An index over `vectors` (N, D), any length, under `ids` (N)."""
        index = cls(policy)
        index.put(ids, vectors)
        return index

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ids(self) -> list[str]:
        """The ids held, in the order of their rows."""
        return [name for name in self._names if name is not None]

    @property
    def names(self) -> list[str | None]:
        """The id of each row; None where its vector was removed."""
        return self._names

    @property
    def dimension(self) -> int | None:
        """Length of a vector; None while the index is empty and has never held one."""
        return self._matrix.shape[1] if self._matrix is not None else None

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
            self.check_dimension(rows)
            held = self._room(len(latest), rows.shape[1])
            start = len(self._names)
            held[start : start + len(latest)] = rows[list(latest.values())]
            self.adopt(list(latest), held)

    def adopt(self, ids: Sequence[str], matrix: Floats) -> None:
        """Give the rows of `matrix` (at least N + len(ids), D) after the last to new `ids`.

        `matrix` takes the place of the one held and has the same rows as far as that went.
        """
        with self._lock:
            self._forget(ids)
            self._matrix = matrix
            for id_ in ids:
                self._rows[id_] = len(self._names)
                self._names.append(id_)
            if self._live is not None:
                self._live = np.append(self._live, np.ones(len(ids), dtype=np.bool_))
            self._tidy()

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        with self._lock:
            self._forget(ids)
            self._tidy()

    def _forget(self, ids: Sequence[str]) -> None:
        rows = [self._rows.pop(id_) for id_ in ids if id_ in self._rows]
        if not rows:
            return
        if self._live is None:
            self._live = np.ones(len(self._names), dtype=np.bool_)
        self._live[rows] = False
        for row in rows:
            self._names[row] = None

    @property
    def wasted(self) -> bool:
        """Whether so many rows stand empty that the matrix should be written anew."""
        return len(self._names) - len(self) > max(_FEW, len(self) // 2)

    def _tidy(self) -> None:
        if self.wasted and not self.fixed_rows:
            self._close_gaps()
        self.promote()

    def _close_gaps(self) -> None:
        if self._matrix is not None and self._live is not None:
            self._matrix = np.array(self._matrix[: len(self._names)][self._live])
        self._names = list(self.ids)
        self._rows = {id_: row for row, id_ in enumerate(self._names) if id_ is not None}
        self._live = self.approximate = None
        self.numbering += 1

    def restore(
        self, names: Sequence[str | None], matrix: Floats, approximate: Approximate | None = None
    ) -> None:
        """Hold `matrix` (at least len(names), D) in place of all; row i belongs to `names[i]`."""
        with self._lock:
            self._names = list(names)
            self._rows = {id_: row for row, id_ in enumerate(self._names) if id_ is not None}
            live = np.asarray([name is not None for name in self._names], dtype=np.bool_)
            self._live = None if live.all() else live
            self._matrix, self.approximate = matrix, approximate
            self.numbering += 1

    def promote(self) -> bool:
        """Build or extend the approximate index where many rows are outside it; say if so."""
        with self._lock:
            rows, held = len(self._names), self.approximate
            outside = rows - (held.size if held is not None else 0)
            kind = self.policy.kind_for(rows)
            if kind == "flat" or self._matrix is None or outside <= self.policy.outside_limit:
                return False
            if held is None or held.outgrown(rows):
                self.approximate = Approximate.build(kind, self._matrix[:rows], self.policy)
            else:
                held.extend(self._matrix[:rows])
            return True

    def search(
        self, query: Any, k: int, among: Sequence[str] | None = None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to the vector `query` (D) with their cosine, best first.

        `among` limits the search to those ids.
        """
        with self._lock:
            return self.search_rows(query, k, None if among is None else self.mask_of(among))

    def mask_of(self, ids: Sequence[str]) -> Mask:
        """The rows of `ids`, (N,)."""
        with self._lock:
            mask = np.zeros(len(self._names), dtype=np.bool_)
            mask[[self._rows[id_] for id_ in ids if id_ in self._rows]] = True
            return mask

    def search_rows(self, query: Any, k: int, mask: Mask | None) -> list[tuple[str, float]]:
        """As `search`, among the rows that `mask` (N) marks, or all."""
        vector = unit_rows(query)
        with self._lock:
            if self._matrix is None or not self._rows or k <= 0:
                return []
            self.check_dimension(vector)
            matrix = self._matrix[: len(self._names)]
            if mask is not None and self._live is not None:
                mask = mask & self._live
            found, scores = self._nearest(matrix, vector, k, self._live if mask is None else mask)
            pairs = zip(found.tolist(), scores.tolist(), strict=True)
            return [(self._names[row] or "", score) for row, score in pairs]

    def _nearest(
        self, matrix: Floats, vector: Floats, k: int, allowed: Mask | None
    ) -> tuple[Rows, Floats]:
        """Rows and cosines: few allowed rows one by one, many through the approximate index."""
        held, count = self.approximate, len(matrix) if allowed is None else int(allowed.sum())
        if held is None or (allowed is not None and count <= self.policy.exact_among):
            if allowed is None or count > len(matrix) // _SPARSE:
                return nearest(matrix, vector, k, allowed)
            return self._among(matrix, vector, k, np.flatnonzero(allowed))
        size = held.size
        after, _ = nearest(matrix[size:], vector, k, None if allowed is None else allowed[size:])
        proposed = held.propose(vector, k, allowed)
        return self._among(matrix, vector, k, np.sort(np.concatenate([proposed, after + size])))

    @staticmethod
    def _among(matrix: Floats, vector: Floats, k: int, rows: Rows) -> tuple[Rows, Floats]:
        """The best `k` of `rows`, in ascending order, compared one by one."""
        found, scores = nearest(matrix[rows], vector, k)
        return rows[found], scores

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The stored unit vectors of `ids`, (len(ids), D); every id must be held."""
        with self._lock:
            if self._matrix is None:
                return np.zeros((0, 0), dtype=np.float32)
            found: Floats = np.array(self._matrix[[self._rows[id_] for id_ in ids]])
            return found

    def save(self, folder: Path, **facts: Any) -> None:
        """Write the index to `folder`, replacing what is there in one step."""
        with self._lock:
            if self._live is not None:
                self._close_gaps()
                self.promote()
            held = self.approximate
            if held is not None:
                facts |= {"approximate": {"kind": held.kind, "trained": held.trained}}
            write_artefact(folder, KIND, VERSION, self._write_files, **facts)

    def _write_files(self, folder: Path) -> None:
        (folder / "ids.json").write_text(json.dumps(self.ids), encoding="utf-8")
        if self._matrix is not None:
            np.save(folder / "vectors.npy", self._matrix[: len(self._names)])
        if self.approximate is not None:
            self.approximate.save(folder / "approximate.faiss")

    @classmethod
    def load(cls, folder: Path, policy: Policy | None = None) -> Self:
        """Open an index that `save` wrote, after checking its checksums; many vectors are mapped.

        Raises:
            ArtefactError: it is missing, damaged, or of another version.
        """
        facts = read_artefact(folder, KIND, VERSION)
        index = cls(policy)
        ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        file = folder / "vectors.npy"
        mapped = file.exists() and file.stat().st_size > _MAPPED
        matrix = np.load(file, mmap_mode="r" if mapped else None) if file.exists() else None
        if (0 if matrix is None else len(matrix)) != len(ids):
            raise ArtefactError(f"{folder} does not hold a vector for each of its {len(ids)} ids")
        near = None
        if kept := facts.get("approximate"):
            at = folder / "approximate.faiss"
            near = Approximate.open(at, kept["kind"], kept["trained"], index.policy)
        if matrix is not None:
            index.restore(ids, matrix, near)
        return index

    def _room(self, rows: int, dimension: int) -> Floats:
        """The matrix, with room for `rows` more; it grows by half, so that adding stays cheap."""
        used, held = len(self._names), self._matrix
        if held is not None and held.flags.writeable and len(held) >= used + rows:
            return held
        grown = np.empty((max(used + rows, used + used // 2), dimension), dtype=np.float32)
        if held is not None:
            grown[:used] = held[:used]
        return grown

    def check_dimension(self, rows: Floats) -> None:
        """Accept vectors (N, D) of the length held.

        Raises:
            RetrievalError: they are of another length.
        """
        if self._matrix is not None and rows.shape[1] != self._matrix.shape[1]:
            raise RetrievalError(
                f"vectors of {rows.shape[1]} numbers do not fit an index of "
                f"{self._matrix.shape[1]}: use the embedding model the index was made with, "
                "or build another index"
            )


class DenseRetriever(BaseRetriever):
    """Search by meaning over a vector index; metadata of a hit holds `dense`, the cosine."""

    index: SkipValidation[DenseIndex] = Field(repr=False)
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
