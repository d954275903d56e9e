"""The store of an index: files, documents, passages, terms and vectors in one SQLite file.

It is the source of truth. Each group of documents and each embedded batch is one transaction, so a
process that is killed loses the one in flight. The search structures of `generation.py` are made
from it, and what they stand for stays in it until newer ones take over.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from retrievers.database import Database
from retrievers.dense import unit_rows
from retrievers.rows import DocumentRow, FileRow, NewDocument

_PASSAGE: Final = "passages.id, passages.text, passages.metadata"
_STAYS: Final = "passages.sha256 NOT IN temp.leaving"


class Corpus(Database):
    """What the index in `folder` holds; nothing is touched until it is used."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._manifest: dict[str, Any] | None = None

    # ------------------------------------------------------------------ reading passages

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The passages of `ids`, in that order; unknown ids are left out.

        Raises:
            IndexStoreError: the store cannot be read; if it is damaged, the next update mends it.
        """
        with self.reading():
            return self.fetch(ids)

    def fetch(self, ids: Sequence[str]) -> list[Document]:
        """As `get`, for an update: raises DamagedIndexError, which the update mends at once."""
        found: dict[str, Document] = {}
        wanted = list(dict.fromkeys(ids))
        with self.guard() as connection:
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
        with self.reading(), self.guard() as connection:
            rows = connection.execute(
                f"SELECT {_PASSAGE} FROM passages JOIN passages AS own ON own.id = ?"
                " WHERE passages.sha256 = own.sha256 AND passages.id != own.id"
                " AND passages.position BETWEEN own.position - ? AND own.position + ?"
                " ORDER BY passages.position",
                (id_, before, after),
            ).fetchall()
        return [_passage(row) for row in rows]

    def passages(self) -> Iterator[tuple[Document, NDArray[np.float32] | None]]:
        """Every passage that stays, in index order, with its vector (D) where it has one."""
        for row in self._rows(f"{_PASSAGE}, texts.vector"):
            yield _passage(row), None if row[3] is None else vector_of(row[3])

    def index_rows(self) -> Iterator[tuple[str, list[str], bytes | None]]:
        """Id, terms and vector (float32 bytes) of every passage that stays, in index order."""
        for id_, tokens, vector in self._rows("passages.id, texts.tokens, texts.vector"):
            yield id_, tokens.split("\n") if tokens else [], vector

    def _rows(self, columns: str) -> Iterator[Any]:
        """Rows of the passages that stay, one document at a time: sorting all would hold all."""
        with self.guard() as connection:
            documents = connection.execute(
                "SELECT sha256 FROM documents WHERE reason IS NULL"
                " AND sha256 NOT IN temp.leaving ORDER BY source"
            ).fetchall()
        for document in documents:
            with self.guard() as connection:
                yield from connection.execute(
                    f"SELECT {columns} FROM passages JOIN texts USING (hash)"
                    " JOIN documents USING (sha256)"
                    " WHERE passages.sha256 = ? ORDER BY passages.position",
                    document,
                ).fetchall()

    def manifest(self) -> dict[str, Any]:
        """`index` (hash of the content), `documents`, `passages`, `embedding`."""
        if self._manifest is not None:
            return dict(self._manifest)
        with self.reading():
            return self._describe()

    def pin_manifest(self) -> None:
        """Keep the manifest as it is now, whatever another process does to the index later."""
        self._manifest = self._describe()

    def _describe(self) -> dict[str, Any]:
        with self.guard() as connection:
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

    # ------------------------------------------------------------------ what an update reads

    def meta(self, key: str) -> str:
        """A stored fact, or an empty string."""
        with self.guard() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def files(self) -> dict[str, FileRow]:
        """Every file of the index by source."""
        with self.guard() as connection:
            rows = connection.execute("SELECT source, sha256, stamp FROM files").fetchall()
        return {row[0]: FileRow(row[1], row[2]) for row in rows}

    def documents(self) -> dict[str, DocumentRow]:
        """Every document by the hash of its bytes, the skipped ones too."""
        with self.guard() as connection:
            rows = connection.execute("SELECT sha256, source, reason FROM documents").fetchall()
        return {row[0]: DocumentRow(row[1], row[2]) for row in rows}

    def skipped(self) -> list[tuple[str, str]]:
        """Each document that was left out and why, by the name of its first file."""
        found = [(row.source, row.reason) for row in self.documents().values() if row.reason]
        return sorted(found)

    def passage_counts(self) -> dict[str, int]:
        """How many passages each document has, by its hash."""
        with self.guard() as connection:
            return dict(connection.execute("SELECT sha256, count(*) FROM passages GROUP BY sha256"))

    def without_vector(self) -> list[str]:
        """Ids of one passage for each text that has no vector yet, longest text first."""
        with self.guard() as connection:
            rows = connection.execute(
                f"SELECT (SELECT min(id) FROM passages WHERE hash = texts.hash AND {_STAYS}) AS id"
                " FROM texts WHERE vector IS NULL AND id IS NOT NULL"
                " ORDER BY length(tokens) DESC, hash"
            ).fetchall()
        return [row[0] for row in rows]

    # ------------------------------------------------------------------ what an update writes

    def set_meta(self, **facts: str) -> None:
        """Store facts in one transaction."""
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts.items())

    def put_documents(self, documents: Iterable[NewDocument]) -> None:
        """Store documents, each in place of what was there under its hash, in one transaction."""
        with self.transaction() as connection:
            self._change(connection)
            for new in documents:
                self._delete(connection, "passages WHERE sha256 = ?", (new.sha256,))
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
        with self.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
                [(source, row.sha256, row.stamp) for source, row in files.items()],
            )

    def forget_files(self, sources: Iterable[str]) -> None:
        """Forget files by source; their documents stay until `publish`."""
        with self.transaction() as connection:
            for source in sources:
                self._delete(connection, "files WHERE source = ?", (source,))

    def leave(self, documents: Iterable[str]) -> None:
        """Name the documents, by hash, that `publish` takes out; until then they are found."""
        with self.guard() as connection:
            connection.execute("DELETE FROM temp.leaving")
            connection.executemany(
                "INSERT OR IGNORE INTO temp.leaving VALUES (?)", [(sha256,) for sha256 in documents]
            )

    def put_vectors(self, hashes: Sequence[str], vectors: Any) -> None:
        """Store the vectors (N, D) of the texts `hashes` (N) at length 1."""
        rows = unit_rows(vectors)
        if len(rows) != len(hashes):
            raise ValueError(f"{len(rows)} vectors for {len(hashes)} texts")
        with self.transaction() as connection:
            self._change(connection)
            connection.executemany(
                "UPDATE texts SET vector = ? WHERE hash = ?",
                [(row.tobytes(), hash_) for row, hash_ in zip(rows, hashes, strict=True)],
            )

    def start_over(self, recipe: str) -> None:
        """Forget how files were read, but no vector: the next update reads every file again."""
        with self.transaction() as connection:
            self._delete(connection, "passages")
            self._delete(connection, "documents")
            connection.execute("DELETE FROM meta WHERE key = 'state'")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('recipe', ?)", (recipe,))

    def use_embedding(self, name: str) -> None:
        """Forget all vectors and note the model that makes the next ones."""
        with self.transaction() as connection:
            connection.execute("UPDATE texts SET vector = NULL")
            connection.execute("DELETE FROM meta WHERE key = 'state'")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('embedding', ?)", (name,))

    def publish(self, state: str) -> None:
        """Take out what leaves, with its terms and vectors, and name the state of the rest."""
        with self.transaction() as connection:
            for table in ("passages", "documents"):
                self._delete(connection, f"{table} WHERE sha256 IN (SELECT sha256 FROM leaving)")
            self._delete(
                connection,
                "texts WHERE NOT EXISTS (SELECT 1 FROM passages WHERE passages.hash = texts.hash)",
            )
            connection.execute("DELETE FROM temp.leaving")
            connection.execute("DELETE FROM meta WHERE key = 'pending'")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('state', ?)", (state,))

    def wipe(self) -> None:
        """Write the file anew if something was deleted; call it while holding `writing`.

        SQLite overwrites what it deletes, but not the copies that stay behind where it had moved
        a row from one page to another.
        """
        if self.meta("deleted"):
            with self.guard() as connection:
                connection.execute("VACUUM")
                connection.execute("DELETE FROM meta WHERE key = 'deleted'")

    def current(self) -> str:
        """The state that was published, if nothing has changed since; else an empty string."""
        with self.guard() as connection:
            leaving = connection.execute("SELECT count(*) FROM temp.leaving").fetchone()[0]
        return "" if leaving or self.meta("pending") else self.meta("state")

    def content_hash(self) -> str:
        """Hash of all that a search depends on: passages, their order, recipe and model."""
        digest = hashlib.sha256(f"{self.meta('recipe')}\0{self.meta('embedding')}".encode())
        for row in self._rows("passages.id, passages.hash, documents.source"):
            digest.update(("\0".join(row) + "\n").encode())
        return digest.hexdigest()

    @staticmethod
    def _delete(connection: sqlite3.Connection, what: str, values: Sequence[str] = ()) -> None:
        """Delete rows, and note it for `wipe` if there were any."""
        if connection.execute(f"DELETE FROM {what}", values).rowcount:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('deleted', '1')")

    @staticmethod
    def _change(connection: sqlite3.Connection) -> None:
        """Note that the search structures no longer hold all of the content."""
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('pending', '1')")


def vector_of(blob: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A stored vector, (D)."""
    return np.frombuffer(blob, dtype=np.float32)


def _passage(row: Sequence[Any]) -> Document:
    return Document(id=row[0], page_content=row[1], metadata=json.loads(row[2]))
