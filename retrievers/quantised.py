"""Vectors at one byte or one bit a number, searched exhaustively and scored again.

A random rotation spreads what a vector says evenly over its numbers, so that one fixed scale fits
every model, nothing is trained, and vectors come and go one by one. With `bits` 1 the signs alone
are compared first (the idea of RaBitQ; Gao and Long, 2024); the bytes decide among the best, and
stay on disk after `load`. Signs are taken about the mean, for models whose vectors all point
one way.
"""

import json
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrievers.artefact import ArtefactError, read_artefact, write_artefact
from retrievers.dense import unit_rows
from retrievers.errors import RetrievalError
from retrievers.ranking import Floats

KIND, VERSION = "quantised vectors", 1
Codes: TypeAlias = NDArray[np.int8]
Signs: TypeAlias = NDArray[np.uint8]
Rows: TypeAlias = NDArray[np.int64]
_DEVIATIONS: Final = 5  # of a number of a rotated unit vector; 1 in 10^6 lies beyond and is cut
_LARGEST: Final = 127
_SEED: Final = 20240521  # of the rotation; another one would make stored codes unreadable
_RESCORED: Final = {8: 2, 1: 30}  # candidates scored again for each hit wanted
_LEAST: Final = 100  # candidates scored again, whatever is wanted
_BLOCK: Final = 1 << 14  # rows unpacked at a time


class QuantisedIndex:
    """A `DenseIndex` that holds N vectors of D numbers in N x D bytes, or an eighth of that.

    `bits` 8 compares bytes: a quarter of the memory of float32. `bits` 1 compares signs: a
    thirty-second part once it is loaded from a folder, where the bytes are mapped. Both give the
    cosine with the vector as stored in bytes, within about 0.003. Safe between threads.
    """

    def __init__(self, bits: Literal[1, 8] = 8, *, rescored: int | None = None) -> None:
        if bits not in (1, 8):
            raise ValueError(f"bits must be 1 or 8, not {bits!r}")
        self.bits: Literal[1, 8] = bits
        self.rescored = _RESCORED[bits] if rescored is None else rescored
        self.ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._codes: Codes = np.zeros((0, 0), dtype=np.int8)  # (N, D)
        self._scan: Any | None = None  # FAISS over the bytes or the signs, made on first search
        self._centre: Floats = np.zeros(0, dtype=np.float32)  # (D,) signs are those about it
        self._lock = threading.RLock()

    @classmethod
    def build(cls, ids: Sequence[str], vectors: Any, bits: Literal[1, 8] = 8) -> Self:
        """An index over `vectors` (N, D), any length, under `ids` (N)."""
        index = cls(bits)
        index.put(ids, vectors)
        return index

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int | None:
        """Length of a vector; None while there has never been one."""
        return self._codes.shape[1] or None

    def put(self, ids: Sequence[str], vectors: Any) -> None:
        """Store one vector (D) per id; an id that is there already gets the new vector.

        Raises:
            RetrievalError: the dimension differs from that of the vectors held.
        """
        if not ids:
            return
        units = unit_rows(vectors)
        newest = dict(zip(ids, units, strict=True))  # of an id given twice the last vector
        with self._lock:
            self._check(units)
            self.remove(list(newest))
            codes = _encode(np.stack(list(newest.values())))
            held = self._codes if self.dimension else codes[:0]
            self._codes = np.concatenate([held, codes])
            self._rows |= {id_: row for row, id_ in enumerate(newest, len(self.ids))}
            self.ids += newest
            if self._scan is not None:
                self._scan.add(self._compared(codes))

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        with self._lock:
            rows = sorted({self._rows[id_] for id_ in ids if id_ in self._rows})
            if not rows:
                return
            self._codes = np.delete(self._codes, rows, axis=0)
            if self._scan is not None:
                self._scan.remove_ids(np.asarray(rows, dtype=np.int64))
            gone = set(rows)
            self.ids = [id_ for row, id_ in enumerate(self.ids) if row not in gone]
            self._rows = {id_: row for row, id_ in enumerate(self.ids)}

    def search(
        self, query: Any, k: int, among: Sequence[str] | None = None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to the vector `query` (D) with their cosine, best first.

        `among` limits the search to those ids, every one of which is then scored.
        """
        unit = unit_rows(query)
        with self._lock:
            if not self.ids or k <= 0:
                return []
            self._check(unit)
            turned = unit @ _rotation(unit.shape[1])  # (1, D)
            if among is None:
                rows = self._proposed(turned, min(len(self.ids), max(k * self.rescored, _LEAST)))
            else:
                held = {self._rows[id_] for id_ in among if id_ in self._rows}
                rows = np.asarray(sorted(held), dtype=np.int64)
            cosine = self._cosines(rows, turned[0])
            best = np.lexsort((rows, -cosine))[:k]
            return [(self.ids[rows[at]], float(cosine[at])) for at in best]

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids` as the bytes hold them, (len(ids), D); each must be held."""
        with self._lock:
            rows = [self._rows[id_] for id_ in ids]
            if not self.dimension:
                return np.zeros((0, 0), dtype=np.float32)
            return unit_rows(_unit_codes(self._codes[rows]) @ _rotation(self.dimension).T)

    def save(self, folder: Path) -> None:
        """Write the index to `folder`, replacing what is there in one step."""

        def fill(new: Path) -> None:
            (new / "ids.json").write_text(json.dumps(self.ids), encoding="utf-8")
            np.save(new / "codes.npy", self._codes)

        with self._lock:
            write_artefact(folder, KIND, VERSION, fill, bits=self.bits, rescored=self.rescored)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open an index that `save` wrote; its bytes are mapped, not read.

        Raises:
            ArtefactError: it is missing, damaged, or of another version.
        """
        facts = read_artefact(folder, KIND, VERSION)
        index = cls(facts["bits"], rescored=facts["rescored"])
        index.ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        index._rows = {id_: row for row, id_ in enumerate(index.ids)}
        index._codes = np.load(folder / "codes.npy", mmap_mode="r", allow_pickle=False)
        if len(index._codes) != len(index.ids):
            raise ArtefactError(
                f"{folder} holds {len(index._codes)} vectors for {len(index.ids)} ids"
            )
        return index

    def _proposed(self, turned: Floats, count: int) -> Rows:
        """The rows whose bytes or signs are nearest to a rotated query (1, D)."""
        if self._scan is None:
            self._centre = _mean(self._codes)
            self._scan = self._empty_scan()
            for at in range(0, len(self._codes), _BLOCK):
                self._scan.add(self._compared(self._codes[at : at + _BLOCK]))
        # FAISS cuts a query to whole numbers too, so it is spread over all that a byte holds.
        most = float(np.abs(turned).max()) or 1.0
        if self.bits == 8:
            sought = np.rint(turned * (_LARGEST / most))
        else:
            sought = _signs(turned * _scale(turned.shape[1]) - self._centre)
        rows: Rows = self._scan.search(sought, count)[1][0]
        return rows

    def _empty_scan(self) -> Any:
        import faiss

        dimension = self._codes.shape[1]
        if self.bits == 1:
            return faiss.IndexBinaryFlat(8 * _signs(np.zeros((1, dimension))).shape[1])
        kind = faiss.ScalarQuantizer.QT_8bit_direct_signed  # the numbers given are the bytes held
        scan = faiss.IndexScalarQuantizer(dimension, kind, faiss.METRIC_INNER_PRODUCT)
        scan.is_trained = True
        return scan

    def _compared(self, codes: Codes) -> NDArray[Any]:
        return codes.astype(np.float32) if self.bits == 8 else _signs(codes - self._centre)

    def _cosines(self, rows: Rows, turned: Floats) -> Floats:
        """The cosine of each of `rows` with a rotated query (D), a block at a time."""
        found = np.empty(len(rows), dtype=np.float32)
        for at in range(0, len(rows), _BLOCK):
            part = slice(at, at + _BLOCK)
            found[part] = _unit_codes(self._codes[rows[part]]) @ turned
        return found

    def _check(self, units: Floats) -> None:
        if self.dimension not in (None, units.shape[1]):
            raise RetrievalError(
                f"vectors of {units.shape[1]} numbers do not fit an index of {self.dimension}: "
                "use the embedding model the index was made with, or build another index"
            )


@lru_cache(maxsize=4)
def _rotation(dimension: int) -> Floats:
    """A random rotation (D, D), always the same for a dimension."""
    normal = np.random.default_rng(_SEED).standard_normal((dimension, dimension))
    turn, upper = np.linalg.qr(normal)
    return np.ascontiguousarray(turn * np.sign(np.diag(upper)), dtype=np.float32)


def _encode(units: Floats) -> Codes:
    """Unit rows (N, D) as rotated bytes (N, D)."""
    scaled = (units @ _rotation(units.shape[1])) * _scale(units.shape[1])
    codes: Codes = np.clip(np.rint(scaled), -_LARGEST, _LARGEST).astype(np.int8)
    return codes


def _scale(dimension: int) -> float:
    """What a number of a rotated unit vector is multiplied by to be a byte."""
    return float(_LARGEST * dimension**0.5 / _DEVIATIONS)


def _mean(codes: Codes) -> Floats:
    """The mean row (D), a block at a time."""
    blocks = range(0, len(codes), _BLOCK)
    total = sum(codes[at : at + _BLOCK].sum(axis=0, dtype=np.int64) for at in blocks)
    return np.asarray(total / max(len(codes), 1), dtype=np.float32)


def _unit_codes(codes: Codes) -> Floats:
    """Bytes (N, D) as rotated unit rows (N, D)."""
    return unit_rows(codes.astype(np.float32))


def _signs(rows: NDArray[Any]) -> Signs:
    """One bit for each number above zero, (N, bytes)."""
    return np.packbits(rows > 0, axis=1)
