"""The SQLite file of a store folder: documents by row, checksums of vectors, and a few facts.

Each change is one transaction. What is deleted is overwritten with zeros.
"""

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from langchain_core.documents import Document

from retrievers.artefact import ArtefactError
from retrievers.errors import RetrievalError

VERSION: Final = 1
_SCHEMA: Final = (
    "CREATE TABLE facts(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    "CREATE TABLE documents(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL,"
    " metadata TEXT NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE blocks(start INTEGER PRIMARY KEY, rows INTEGER NOT NULL, sha256 BLOB NOT NULL)",
    f"PRAGMA user_version={VERSION}",
)
_DOCUMENT: Final = "id, text, metadata, crc"
_ASKED: Final = 500  # ids in one query
Block = tuple[int, int, bytes]  # first row, rows, SHA-256
Stored = tuple[str, str, str, int]  # id, text, metadata, checksum


class StoreTables:
    """The tables in `file`, which `begin` makes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._connection: sqlite3.Connection | None = None

    def connect(self) -> sqlite3.Connection:
        """The open file."""
        if self._connection is None:
            self._connection = sqlite3.connect(
                self.file, timeout=30, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA secure_delete=ON")
            self._connection.execute("PRAGMA synchronous=FULL")
        return self._connection

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    @contextlib.contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """What is done takes effect as a whole, or not at all."""
        connection = self.connect()
        connection.execute(f"BEGIN {mode}")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def changes(self) -> int:
        """A number that is another one after another connection has written."""
        return int(self.connect().execute("PRAGMA data_version").fetchone()[0])

    def facts(self) -> dict[str, Any]:
        """`embedding`, `dimension`, `serial` of the vector file, `rows`; empty before `begin`.

        Raises:
            ArtefactError: the file is of another version.
        """
        version = self.connect().execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise ArtefactError(f"{self.file} is of version {version}, not {VERSION}")
        if not version:  # killed before the first document
            return {}
        return dict(self.connect().execute("SELECT key, value FROM facts").fetchall())

    def begin(self, embedding: str, dimension: int) -> dict[str, Any]:
        """Make the tables; the facts of a new store."""
        facts = {"embedding": embedding, "dimension": dimension, "serial": 0, "rows": 0}
        with self.transaction() as connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        return facts

    def check(self) -> None:
        """Let SQLite look through the file.

        Raises:
            ArtefactError: it finds fault.
        """
        verdict = self.connect().execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise ArtefactError(f"{self.file} is damaged ({verdict}): store the documents again")

    def rows(self) -> Iterator[tuple[int, str]]:
        """Row and id of each document, upwards."""
        yield from self.connect().execute("SELECT row, id FROM documents ORDER BY row")

    def metadata(self, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row and metadata of each document from row `start` on."""
        for row, metadata in self.connect().execute(
            "SELECT row, metadata FROM documents WHERE row >= ?", (start,)
        ):
            yield row, json.loads(metadata)

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The documents of `ids`, in that order; unknown ids are left out.

        Raises:
            ArtefactError: one of them is damaged.
        """
        found: dict[str, Document] = {}
        wanted = list(dict.fromkeys(ids))
        for at in range(0, len(wanted), _ASKED):
            part = wanted[at : at + _ASKED]
            marks = ",".join("?" * len(part))
            for row in self.connect().execute(
                f"SELECT {_DOCUMENT} FROM documents WHERE id IN ({marks})", part
            ):
                if not _intact(row):
                    raise ArtefactError(
                        f"document {row[0]!r} in {self.file} is damaged: store it again, "
                        "or let FaissStore.repair take it out"
                    )
                found[row[0]] = _document(row)
        return [found[id_] for id_ in ids if id_ in found]

    def damaged(self) -> list[str]:
        """Ids of the documents whose checksum does not fit."""
        rows = self.connect().execute(f"SELECT {_DOCUMENT} FROM documents")
        return [row[0] for row in rows if not _intact(row)]

    def at_rows(self, rows: Sequence[int]) -> list[Document]:
        """The documents of `rows`, which all hold one, in that order."""
        marks = ",".join(map(str, rows))
        held = self.connect().execute(
            f"SELECT row, {_DOCUMENT} FROM documents WHERE row IN ({marks})"
        )
        found = {row[0]: _document(row[1:]) for row in held}
        return [found[row] for row in rows]

    def blocks(self) -> list[Block]:
        """First row, rows and SHA-256 of each block of vectors."""
        return self.connect().execute("SELECT * FROM blocks ORDER BY start").fetchall()

    def put(self, documents: Sequence[Stored], start: int, blocks: Iterable[Block]) -> None:
        """Store documents from row `start` on, in place of those with their ids."""
        with self.transaction() as connection:
            connection.executemany(
                "DELETE FROM documents WHERE id = ?", [row[:1] for row in documents]
            )
            connection.executemany(
                f"INSERT INTO documents({_DOCUMENT}, row) VALUES (?, ?, ?, ?, ?)",
                [(*row, start + at) for at, row in enumerate(documents)],
            )
            connection.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", blocks)
            total = (start + len(documents), "rows")
            connection.execute("UPDATE facts SET value = ? WHERE key = ?", total)

    def remove(self, ids: Iterable[str]) -> None:
        """Forget the documents of `ids`."""
        with self.transaction() as connection:
            connection.executemany("DELETE FROM documents WHERE id = ?", [(id_,) for id_ in ids])

    def renumber(self, rows: Sequence[int], serial: int, blocks: Iterable[Block]) -> None:
        """Call `rows`, all there are and upwards, 0, 1, ...; they lie in another vector file."""
        with self.transaction() as connection:
            connection.executemany(  # upwards, so that no number is taken twice
                "UPDATE documents SET row = ? WHERE row = ?",
                [(new, old) for new, old in enumerate(rows) if new != old],
            )
            connection.execute("DELETE FROM blocks")
            connection.executemany("INSERT INTO blocks VALUES (?, ?, ?)", blocks)
            facts = ((len(rows), "rows"), (serial, "serial"))
            connection.executemany("UPDATE facts SET value = ? WHERE key = ?", facts)


def stored(document: Document) -> Stored:
    """A document as it is kept.

    Raises:
        RetrievalError: its metadata is nothing that JSON can hold, or its text is not Unicode.
    """
    try:
        metadata = json.dumps(document.metadata, ensure_ascii=False)
        row = (document.id or "", document.page_content, metadata)
        return *row, _checksum(row)
    except (TypeError, ValueError) as err:  # UnicodeEncodeError is a ValueError
        raise RetrievalError(f"document {document.id!r} cannot be stored: {err}") from err


def _checksum(row: Sequence[str]) -> int:
    return zlib.crc32("\0".join(row).encode())


def _intact(row: Sequence[Any]) -> bool:
    return bool(_checksum(row[:3]) == row[3])


def _document(row: Sequence[Any]) -> Document:
    return Document(id=row[0], page_content=row[1], metadata=json.loads(row[2]))
