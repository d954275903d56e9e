"""Approximate nearest neighbours with FAISS: which kind of index for how many vectors, and its use.

An `Approximate` covers the first rows of a matrix that its owner keeps. It holds them at one byte a
number and only proposes rows; the owner scores those exactly. HNSW is the graph of Malkov and
Yashunin (2016), IVF the inverted lists of Jegou et al. (2011).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrievers.ranking import Floats

Kind: TypeAlias = Literal["flat", "hnsw", "ivf"]
Rows: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

_SEED: Final = 1234  # chooses the rows that an index is trained on
_TRAINED_PER_LIST: Final = 40
_PROPOSED: Final = 4  # rows proposed for each one wanted, to be scored exactly
_BLOCK: Final = 65_536  # rows converted at once
_GROWTH: Final = 4  # retrained when it covers this many times the rows it was trained on
_LEAST_PROBES: Final = 16
_WIDEST: Final = 32  # how many times wider a filtered search may look


@dataclass(frozen=True, slots=True)
class Policy:
    """Which index serves how many vectors, and how far an approximate one looks.

    Up to `flat_limit` rows every vector is compared; above it a graph (HNSW) up to `hnsw_limit`,
    then inverted lists (IVF). `kind` sets one kind for every size. Up to
    `outside_limit` new rows stay outside the approximate index and are compared one by one.
    """

    kind: Kind | None = None
    flat_limit: int = 100_000
    outside_limit: int = 50_000
    hnsw_limit: int = 300_000
    exact_among: int = 20_000  # a filter that leaves so few rows is answered exactly
    neighbours: int = 16  # HNSW: links of a vector
    building: int = 80  # HNSW: candidates for the links of a new vector
    exploring: int = 96  # HNSW: candidates of a search
    probes: float = 0.02  # IVF: share of the lists that a search reads

    def kind_for(self, rows: int) -> Kind:
        """The index that serves `rows` vectors."""
        if self.kind is not None:
            return self.kind
        if rows <= self.flat_limit:
            return "flat"
        return "hnsw" if rows <= self.hnsw_limit else "ivf"


class Approximate:
    """A trained FAISS index over rows 0 to `size` of a matrix of unit vectors (N, D)."""

    def __init__(self, kind: Kind, index: Any, trained: int, policy: Policy) -> None:
        self.kind = kind
        self.trained = trained
        self._index = index
        self._policy = policy
        self._mapped: Path | None = None

    @classmethod
    def build(cls, kind: Kind, matrix: Floats, policy: Policy) -> "Approximate":
        """An index of `kind` ("hnsw" or "ivf") that is trained on `matrix` and covers it."""
        import faiss

        rows, dimension = matrix.shape
        if kind == "hnsw":
            spec, wanted = f"HNSW{policy.neighbours},SQ8", 20_000
        else:
            lists = max(1, 2 ** round(math.log2(4 * math.sqrt(rows))))
            spec, wanted = f"IVF{lists},SQ8", lists * _TRAINED_PER_LIST
        index: Any = faiss.index_factory(dimension, spec, faiss.METRIC_INNER_PRODUCT)
        if kind == "hnsw":
            index.hnsw.efConstruction = policy.building
        sample = np.arange(rows)
        if rows > wanted:
            sample = np.random.default_rng(_SEED).choice(rows, wanted, replace=False)
        index.train(np.ascontiguousarray(matrix[np.sort(sample)], dtype=np.float32))
        made = cls(kind, index, rows, policy)
        made.extend(matrix)
        return made

    @property
    def size(self) -> int:
        """How many rows it covers."""
        return int(self._index.ntotal)

    def outgrown(self, rows: int) -> bool:
        """Whether `rows` vectors need another kind, or lists trained on more of them."""
        kind = self._policy.kind_for(rows)
        return kind != self.kind or (kind == "ivf" and rows > _GROWTH * self.trained)

    def extend(self, matrix: Floats) -> None:
        """Cover all rows of `matrix`; those it covers already are not read."""
        import faiss

        if self._mapped is not None:  # a mapped index aborts the process when it is added to
            self._index, self._mapped = faiss.read_index(str(self._mapped)), None
        for at in range(self.size, len(matrix), _BLOCK):
            self._index.add(np.ascontiguousarray(matrix[at : at + _BLOCK], dtype=np.float32))

    def propose(self, query: Floats, k: int, allowed: Mask | None) -> Rows:
        """Rows near the unit vector `query` (1, D), more than `k` of them, in no order.

        `allowed` (N) leaves rows out; the search then looks as much wider as rows are missing.
        """
        import faiss

        make: Any = faiss  # the keywords of its classes are added at run time
        wider, wanted = 1.0, k * _PROPOSED
        options: dict[str, Any] = {}
        if allowed is not None:
            inside = allowed[: self.size]
            wider = min(_WIDEST, self.size / max(1, int(inside.sum())))
            options["sel"] = _selector(inside)
        if self.kind == "hnsw":
            make, reach = make.SearchParametersHNSW, self._policy.exploring * math.sqrt(wider)
            options["efSearch"] = max(wanted, int(reach))
        else:
            make, share = make.SearchParametersIVF, self._policy.probes * wider
            options["nprobe"] = max(
                _LEAST_PROBES, min(self._index.nlist, int(self._index.nlist * share))
            )
        _, found = self._index.search(query, min(wanted, self.size), params=make(**options))
        rows: Rows = found[0][found[0] >= 0]
        return rows

    def save(self, file: Path) -> None:
        """Write the index to `file`."""
        import faiss

        faiss.write_index(self._index, str(file))

    @classmethod
    def open(cls, file: Path, kind: Kind, trained: int, policy: Policy) -> "Approximate":
        """Map an index that `save` wrote; it is read from the disk as it is searched."""
        import faiss

        held = cls(kind, faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC), trained, policy)
        held._mapped = file
        return held


def nearest(
    matrix: Floats, query: Floats, k: int, allowed: Mask | None = None
) -> tuple[Rows, Floats]:
    """The `k` rows of `matrix` (N, D) nearest to `query` (1, D) and their inner products.

    Every row is compared, or every row that `allowed` (N) does not leave out; best first, equal
    ones in the order of the rows.
    """
    import faiss

    k = min(k, len(matrix))
    scores, rows = np.empty((1, k), np.float32), np.empty((1, k), np.int64)
    if k <= 0:
        return rows[0], scores[0]
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)  # a map of a file is not copied
    selector = [] if allowed is None else [_selector(allowed)]
    faiss.knn_inner_product(
        faiss.swig_ptr(query),
        faiss.swig_ptr(matrix),
        matrix.shape[1],
        1,
        len(matrix),
        k,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(rows),
        *selector,
    )
    held = rows[0] >= 0
    found, values = rows[0][held], scores[0][held]
    order = np.lexsort((found, -values))
    return found[order], values[order]


def _selector(allowed: Mask) -> Any:
    """What FAISS takes to leave rows out; it keeps its bits alive."""
    import faiss

    make: Any = faiss.IDSelectorBitmap  # its Python signature is added at run time
    return make(np.packbits(allowed, bitorder="little"))
