"""A vector store in a folder: what was written stays, whatever happens to the process after.

`store.sqlite` holds texts and metadata and says which rows of `vectors-N.f32` count; each change is
one transaction of it, made after the vectors have reached the disk. Checksums cover vectors by
block and documents one by one. `approximate-N/` speeds up a search and can always be made again.
"""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document

from retrievers.approximate import Approximate, Policy
from retrievers.artefact import ArtefactError, read_artefact, write_artefact
from retrievers.dense import VectorIndex
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.ranking import Floats
from retrievers.store_errors import store_errors
from retrievers.store_tables import StoreTables, stored
from retrievers.vector_file import BLOCK, VectorFile

_APPROXIMATE = ("approximate", 1)


class FileShelf:
    """Documents in `folder`, which is made by the first of them. Safe between threads.

    Vectors were made by the model called `embedding`. A writer waits up to `wait` seconds for
    another one.
    """

    def __init__(
        self, folder: Path, embedding: str, policy: Policy | None = None, wait: float = 30.0
    ) -> None:
        self.folder = folder
        self.index = VectorIndex(policy, fixed_rows=True)
        self._tables = StoreTables(folder / "store.sqlite")
        self._embedding = embedding
        self._wait = wait
        self._seen = -1  # what the tables said of changes when they were last read
        self._vectors: VectorFile | None = None
        self._saved = 0  # rows of the approximate index on the disk
        self._mutex = threading.RLock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Nothing changes meanwhile, and what other processes wrote before is seen."""
        with self._mutex, store_errors(self.folder):
            if self._tables.file.exists():
                changes = self._tables.changes()
                if changes != self._seen:
                    self._load()
                    self._seen = changes
            elif next(self.folder.glob("vectors-*"), None) is not None:
                raise ArtefactError(f"{self._tables.file} is gone: store the documents again")
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """As `reading`, and no other process writes.

        Raises:
            IndexStoreError: another process kept the store too long, or it cannot be written.
        """
        with self._mutex, self._locked(), self.reading():
            self._drop_leftovers()
            yield

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        with store_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            try:
                lock.acquire(timeout=self._wait)
            except Timeout:
                raise IndexStoreError(
                    f"the store {self.folder} was being written by another process for "
                    f"{self._wait:g} s: try again later, or use another folder"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._mutex:
            self._tables.close()
            self._seen = -1

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The documents of `ids`, in that order; unknown ids are left out.

        Raises:
            ArtefactError: one of them is damaged.
        """
        return self._tables.get(ids) if len(self.index) else []

    def scan(self, start: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Row and metadata of each document from row `start` on."""
        if len(self.index):
            yield from self._tables.metadata(start)

    def put(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Store documents with distinct ids and their unit vectors (N, D); known ids change.

        Raises:
            RetrievalError: metadata that JSON cannot hold, or vectors of another length.
        """
        rows = [stored(document) for document in documents]
        self.index.check_dimension(vectors)
        facts = self._tables.facts() or self._tables.begin(self._embedding, vectors.shape[1])
        start, total = facts["rows"], facts["rows"] + len(rows)
        self._vectors = self._file(facts)
        self._vectors.append(start, vectors)
        self._tables.put(rows, start, self._vectors.blocks(start - start % BLOCK, total))
        self.index.adopt([row[0] for row in rows], self._vectors.matrix(total))
        self._settle()

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        if len(self.index):
            self._tables.remove(ids)
            self.index.remove(ids)
            self._settle()

    def _settle(self) -> None:
        """After a change: close the gaps when there are many, keep the approximate index."""
        if self.index.wasted and self._vectors is not None:
            matrix = self._vectors.matrix(len(self.index.names))
            self._rewrite(lambda rows: matrix[rows])
        else:
            self._save_approximate()

    def _rewrite(self, vectors_of: Callable[[list[int]], Floats]) -> None:
        """Number the rows anew without gaps; `vectors_of` old rows gives their vectors."""
        held = list(self._tables.rows())
        facts = self._tables.facts()
        old, facts["serial"] = self._file(facts), facts["serial"] + 1
        new = self._file(facts)
        for at in range(0, len(held), BLOCK):
            rows = [row for row, _ in held[at : at + BLOCK]]
            new.append(at, vectors_of(rows), flush=at + BLOCK >= len(held))
        rows = [row for row, _ in held]
        self._tables.renumber(rows, facts["serial"], new.blocks(0, len(held)))
        self._take([name for _, name in held], new.matrix(len(held)), new)
        self.index.promote()
        self._save_approximate()
        old.path.unlink(missing_ok=True)
        self._drop_leftovers()

    # ------------------------------------------------------------------ what the folder holds

    def _load(self) -> None:
        """Take over what the folder holds now."""
        with self._tables.transaction("DEFERRED"):  # nobody replaces the vector file meanwhile
            facts = self._tables.facts()
            if not facts:
                return
            self._require_model(facts)
            names: list[str | None] = [None] * facts["rows"]
            for row, name in self._tables.rows():
                names[row] = name
            vectors = self._file(facts)
            matrix = vectors.matrix(facts["rows"])
        if len(matrix) < len(names):
            raise self._damage(len(names) - len(matrix), vectors)
        self._take(names, matrix, vectors)

    def _require_model(self, facts: Mapping[str, Any]) -> None:
        if facts["embedding"] != self._embedding:
            raise RetrievalError(
                f"the store {self.folder} holds vectors of {facts['embedding']}, not of "
                f"{self._embedding}: open it with that embedding model, or use another folder"
            )

    def _take(self, names: list[str | None], matrix: Floats, vectors: VectorFile) -> None:
        """Hold the rows of a vector file, with the approximate index that belongs to it."""
        held = self.index.approximate
        if self._vectors is None or self._vectors.path != vectors.path:
            held = self._open_approximate(vectors, len(names))
        self.index.restore(names, matrix, held)
        self._vectors, self._saved = vectors, held.size if held is not None else 0

    def _file(self, facts: Mapping[str, Any]) -> VectorFile:
        return VectorFile(self.folder / f"vectors-{facts['serial']}.f32", facts["dimension"])

    def _drop_leftovers(self) -> None:
        """Delete what a killed process left beside the files in use."""
        if self._vectors is None:
            return
        used = {self._vectors.path.name, self._beside(self._vectors).name}
        for path in self.folder.glob("vectors-*"):
            if path.name not in used:
                path.unlink(missing_ok=True)
        for path in (*self.folder.glob("approximate-*"), *self.folder.glob(".approximate-*")):
            if path.name not in used:
                shutil.rmtree(path, ignore_errors=True)

    @staticmethod
    def _beside(vectors: VectorFile) -> Path:
        """Where the approximate index of a vector file is kept."""
        return vectors.path.with_name(vectors.path.stem.replace("vectors", "approximate"))

    def _open_approximate(self, vectors: VectorFile, rows: int) -> Approximate | None:
        """The approximate index on the disk; None where it is missing or damaged."""
        folder = self._beside(vectors)
        try:
            facts = read_artefact(folder, *_APPROXIMATE)
        except ArtefactError:
            return None
        file, policy = folder / "approximate.faiss", self.index.policy
        held = Approximate.open(file, facts["index"], facts["trained"], policy)
        return held if held.size <= rows else None

    def _save_approximate(self) -> None:
        held = self.index.approximate
        if held is None or self._vectors is None or held.size == self._saved:
            return
        write_artefact(
            self._beside(self._vectors),
            *_APPROXIMATE,
            lambda new: held.save(new / "approximate.faiss"),
            index=held.kind,
            trained=held.trained,
        )
        self._saved = held.size

    # ------------------------------------------------------------------ damage

    def check(self) -> None:
        """Compare every checksum of the vectors, and let SQLite look through the documents.

        Raises:
            ArtefactError: something is damaged; the message says what and how to mend it.
        """
        with self.reading():
            if self._vectors is not None:
                self._tables.check()
                if bad := len(self._damaged_rows(self._vectors)):
                    raise self._damage(bad, self._vectors)

    def _damage(self, rows: int, vectors: VectorFile) -> ArtefactError:
        return ArtefactError(
            f"{rows} vectors in {vectors.path} are damaged: FaissStore.repair makes them again "
            "from their texts"
        )

    def _damaged_rows(self, vectors: VectorFile) -> set[int]:
        """Rows of the blocks whose checksum does not fit, and those that are gone."""
        blocks = self._tables.blocks()
        rows = sum(count for _, count, _ in blocks)
        found = {start: (count, digest) for start, count, digest in vectors.blocks(0, rows)}
        return {
            row
            for start, count, digest in blocks
            if found.get(start) != (count, digest)
            for row in range(start, start + count)
        }

    def repair(self, embed: Callable[[list[Document]], Floats]) -> tuple[int, list[str]]:
        """Take out damaged documents and let `embed` make damaged vectors (N, D) again.

        Returns how many vectors were made again, and the ids of the documents that were lost.
        """
        with self._mutex, self._locked(), store_errors(self.folder):
            facts = self._tables.facts() if self._tables.file.exists() else {}
            if not facts:
                return 0, []
            self._tables.check()
            self._require_model(facts)
            vectors = self._file(facts)
            bad, lost = self._damaged_rows(vectors), self._tables.damaged()
            self._tables.remove(lost)
            held = vectors.matrix(facts["rows"])
            made = 0

            def vectors_of(rows: list[int]) -> Floats:
                nonlocal made
                block = np.zeros((len(rows), vectors.dimension), dtype=np.float32)
                good = [at for at, row in enumerate(rows) if row not in bad]
                block[good] = held[[rows[at] for at in good]]
                again = [at for at, row in enumerate(rows) if row in bad]
                if again:
                    block[again] = embed(self._tables.at_rows([rows[at] for at in again]))
                    made += len(again)
                return block

            if bad or lost:
                self._rewrite(vectors_of)
            return made, lost
