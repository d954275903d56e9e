"""The store of an index: files, documents, passages, terms and vectors in one SQLite file.

It is the source of truth. Each document and each embedded batch is one transaction, so a process
that is killed loses the one in flight. The search structures of `generation.py` are made from it.
"""

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from langchain_core.documents import Document

from retrievers.dense import unit_rows
from retrievers.errors import IndexStoreError
from retrievers.rows import DocumentRow, FileRow, NewDocument
from retrievers.store_errors import DamagedIndexError, store_errors

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files(source TEXT PRIMARY KEY, sha256 TEXT NOT NULL, stamp TEXT NOT NULL)
    WITHOUT ROWID;
CREATE TABLE documents(sha256 TEXT PRIMARY KEY, source TEXT NOT NULL, title TEXT NOT NULL,
    reason TEXT) WITHOUT ROWID;
CREATE TABLE texts(hash TEXT PRIMARY KEY, tokens TEXT NOT NULL, vector BLOB);
CREATE TABLE passages(id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, position INTEGER NOT NULL,
    text TEXT NOT NULL, metadata TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX passages_of_document ON passages(sha256, position);
"""
_PASSAGE: Final = "passages.id, passages.text, passages.metadata"


class Corpus:
    """The index in `folder`; nothing is touched until it is used. Safe between threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "corpus.sqlite"
        self._mark = folder / "damaged"
        self._connection: sqlite3.Connection | None = None
        self._mutex = threading.RLock()
        self._manifest: dict[str, Any] | None = None

    # ------------------------------------------------------------------ opening

    @contextlib.contextmanager
    def writing(self, wait: float, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the index alone, waiting up to `wait` seconds for another process.

        Raises:
            IndexStoreError: the folder cannot be written, or the wait was in vain.
        """
        from filelock import FileLock, Timeout

        with store_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        with store_errors(self.folder):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if on_wait is not None:
                    on_wait()
                try:
                    lock.acquire(timeout=wait)
                except Timeout:
                    raise IndexStoreError(
                        f"the index {self.folder} is being built by another process: wait for it, "
                        "or use another folder with --index"
                    ) from None
        try:
            yield
        finally:
            lock.release()

    def check(self) -> None:
        """Look for damage; call it while holding `writing`.

        Raises:
            DamagedIndexError: the file is damaged or of another version; `reset` is the mend.
        """
        if self._mark.exists():
            raise DamagedIndexError(f"{self.file} was found damaged")
        with self._guard() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise DamagedIndexError(f"{self.file} is of version {version}")
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise DamagedIndexError(f"{self.file} is damaged")

    def reset(self) -> None:
        """Delete the store and start an empty one; call it while holding `writing`."""
        self.close()
        with store_errors(self.folder):
            for name in (self.file.name, f"{self.file.name}-journal", self._mark.name):
                (self.folder / name).unlink(missing_ok=True)
        with self._guard():
            return

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._mutex:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            fresh = not self.file.exists()
            connection = sqlite3.connect(
                self.file, timeout=30, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            connection.execute("PRAGMA secure_delete=ON")
            if fresh or self._is_empty(connection):
                connection.executescript(
                    f"BEGIN;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
                )
        return self._connection

    @staticmethod
    def _is_empty(connection: sqlite3.Connection) -> bool:
        """No table yet: the process that made the file was killed before it wrote to it."""
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        return bool(tables == 0 and version == 0)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; errors of the store become ours."""
        with self._mutex, store_errors(self.folder):
            yield self._connect()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guard() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    # ------------------------------------------------------------------ reading passages

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The passages of `ids`, in that order; unknown ids are left out.

        Raises:
            IndexStoreError: the store cannot be read; if it is damaged, the next update mends it.
        """
        with self._reading():
            return self.fetch(ids)

    def fetch(self, ids: Sequence[str]) -> list[Document]:
        """As `get`, for an update: raises DamagedIndexError, which the update mends at once."""
        found: dict[str, Document] = {}
        wanted = list(dict.fromkeys(ids))
        with self._guard() as connection:
            for at in range(0, len(wanted), 500):
                part = wanted[at : at + 500]
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    f"SELECT {_PASSAGE} FROM passages WHERE id IN ({marks})", part
                )
                found.update((row[0], _passage(row)) for row in rows)
        return [found[id_] for id_ in ids if id_ in found]

    def neighbours(self, id_: str, before: int = 1, after: int = 1) -> list[Document]:
        """The passages just before and after `id_` in its document, without itself."""
        with self._reading(), self._guard() as connection:
            rows = connection.execute(
                f"SELECT {_PASSAGE} FROM passages JOIN passages AS own ON own.id = ?"
                " WHERE passages.sha256 = own.sha256 AND passages.id != own.id"
                " AND passages.position BETWEEN own.position - ? AND own.position + ?"
                " ORDER BY passages.position",
                (id_, before, after),
            ).fetchall()
        return [_passage(row) for row in rows]

    def passages(self) -> Iterator[tuple[Document, str, list[str], bytes | None]]:
        """Every passage in index order with its hash, terms and vector (float32 bytes)."""
        with self._guard() as connection:
            for row in connection.execute(
                f"SELECT {_PASSAGE}, passages.hash, texts.tokens, texts.vector FROM passages"
                " JOIN documents USING (sha256) JOIN texts USING (hash)"
                " ORDER BY documents.source, passages.position"
            ):
                yield _passage(row), row[3], row[4].split("\n") if row[4] else [], row[5]

    def manifest(self) -> dict[str, Any]:
        """`index` (hash of the content), `documents`, `passages`, `embedding`."""
        if self._manifest is not None:
            return dict(self._manifest)
        with self._reading():
            return self._describe()

    def pin_manifest(self) -> None:
        """Keep the manifest as it is now, whatever another process does to the index later."""
        self._manifest = self._describe()

    def _describe(self) -> dict[str, Any]:
        with self._guard() as connection:
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM documents WHERE reason IS NULL),"
                " (SELECT count(*) FROM passages)"
            ).fetchone()
        return {
            "index": self.meta("state"),
            "documents": counts[0],
            "passages": counts[1],
            "embedding": self.meta("embedding"),
        }

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """For a search: damage is remembered for the next update and told in one line."""
        try:
            yield
        except DamagedIndexError:
            with contextlib.suppress(OSError):
                self._mark.touch()
            raise IndexStoreError(
                f"the index {self.folder} is damaged: run again, and it is rebuilt from the files"
            ) from None

    # ------------------------------------------------------------------ what an update reads

    def meta(self, key: str) -> str:
        """A stored fact, or an empty string."""
        with self._guard() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def files(self) -> dict[str, FileRow]:
        """Every file of the index by source."""
        with self._guard() as connection:
            rows = connection.execute("SELECT source, sha256, stamp FROM files").fetchall()
        return {row[0]: FileRow(row[1], row[2]) for row in rows}

    def documents(self) -> dict[str, DocumentRow]:
        """Every document by the hash of its bytes, the skipped ones too."""
        with self._guard() as connection:
            rows = connection.execute("SELECT sha256, source, reason FROM documents").fetchall()
        return {row[0]: DocumentRow(row[1], row[2]) for row in rows}

    def without_vector(self) -> list[str]:
        """Ids of one passage for each text that has no vector yet, longest text first."""
        with self._guard() as connection:
            rows = connection.execute(
                "SELECT min(passages.id) FROM passages JOIN texts USING (hash)"
                " WHERE texts.vector IS NULL GROUP BY hash ORDER BY length(text) DESC, hash"
            ).fetchall()
        return [row[0] for row in rows]

    # ------------------------------------------------------------------ what an update writes

    def set_meta(self, **facts: str) -> None:
        """Store facts in one transaction."""
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts.items())

    def put_documents(self, documents: Iterable[NewDocument]) -> None:
        """Store documents, each in place of what was there under its hash, in one transaction."""
        with self._transaction() as connection:
            self._change(connection)
            for new in documents:
                connection.execute("DELETE FROM passages WHERE sha256 = ?", (new.sha256,))
                connection.execute(
                    "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)",
                    (new.sha256, new.row.source, new.title, new.row.reason),
                )
                connection.executemany(
                    "INSERT INTO texts VALUES (?, ?, NULL)"
                    " ON CONFLICT(hash) DO UPDATE SET tokens = excluded.tokens",
                    [(passage.hash, "\n".join(passage.tokens)) for passage in new.passages],
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO passages VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (
                            p.document.id,
                            new.sha256,
                            at,
                            p.document.page_content,
                            json.dumps(p.document.metadata),
                            p.hash,
                        )
                        for at, p in enumerate(new.passages)
                    ],
                )

    def put_files(self, files: dict[str, FileRow]) -> None:
        """Store files as seen now."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
                [(source, row.sha256, row.stamp) for source, row in files.items()],
            )

    def remove(self, sources: Iterable[str], documents: Iterable[str]) -> None:
        """Forget files by source and documents by hash, with their passages."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM files WHERE source = ?", [(s,) for s in sources])
            for sha256 in documents:
                self._change(connection)
                connection.execute("DELETE FROM passages WHERE sha256 = ?", (sha256,))
                connection.execute("DELETE FROM documents WHERE sha256 = ?", (sha256,))

    def put_vectors(self, hashes: Sequence[str], vectors: Any) -> None:
        """Store the vectors (N, D) of the texts `hashes` (N) at length 1."""
        rows = unit_rows(vectors)
        if len(rows) != len(hashes):
            raise ValueError(f"{len(rows)} vectors for {len(hashes)} texts")
        with self._transaction() as connection:
            self._change(connection)
            connection.executemany(
                "UPDATE texts SET vector = ? WHERE hash = ?",
                [(row.tobytes(), hash_) for row, hash_ in zip(rows, hashes, strict=True)],
            )

    def start_over(self, recipe: str) -> None:
        """Forget how files were read, but no vector: the next update reads every file again."""
        with self._transaction() as connection:
            self._change(connection)
            connection.execute("DELETE FROM passages")
            connection.execute("DELETE FROM documents")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('recipe', ?)", (recipe,))

    def use_embedding(self, name: str) -> None:
        """Forget all vectors and note the model that makes the next ones."""
        with self._transaction() as connection:
            self._change(connection)
            connection.execute("UPDATE texts SET vector = NULL")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('embedding', ?)", (name,))

    def drop_unused_texts(self) -> None:
        """Delete terms and vectors that no passage needs any more."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM texts WHERE hash NOT IN (SELECT hash FROM passages)")

    def content_hash(self) -> str:
        """Hash of all that a search depends on: passages, their order, recipe and model."""
        digest = hashlib.sha256(f"{self.meta('recipe')}\0{self.meta('embedding')}".encode())
        with self._guard() as connection:
            for row in connection.execute(
                "SELECT passages.id, passages.hash, documents.source FROM passages"
                " JOIN documents USING (sha256) ORDER BY documents.source, passages.position"
            ):
                digest.update(("\0".join(row) + "\n").encode())
        return digest.hexdigest()

    @staticmethod
    def _change(connection: sqlite3.Connection) -> None:
        """Note that the search structures no longer match the content."""
        connection.execute("DELETE FROM meta WHERE key = 'state'")


def vector_of(blob: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A stored vector, (D)."""
    return np.frombuffer(blob, dtype=np.float32)


def _passage(row: Sequence[Any]) -> Document:
    return Document(id=row[0], page_content=row[1], metadata=json.loads(row[2]))
