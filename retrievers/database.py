"""The SQLite file of an index: opened, locked, checked, and written in transactions."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from retrievers.errors import IndexStoreError
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
_BY_TEXT: Final = "CREATE INDEX IF NOT EXISTS passages_of_text ON passages(hash)"
# Documents that the update under way takes out when it is published.
_LEAVING: Final = "CREATE TEMP TABLE leaving(sha256 TEXT PRIMARY KEY)"


class Database:
    """The SQLite file of the index in `folder`; nothing is touched until it is used.

    Safe between threads. What is deleted from it is overwritten with zeros.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "corpus.sqlite"
        self._mark = folder / "damaged"
        self._connection: sqlite3.Connection | None = None
        self._mutex = threading.RLock()

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
        with self.guard() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise DamagedIndexError(f"{self.file} is of version {version}")
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise DamagedIndexError(f"{self.file} is damaged")
            connection.execute(_BY_TEXT)  # older files of this version lack it

    def reset(self) -> None:
        """Delete the file and start an empty one; call it while holding `writing`."""
        self.unlink()
        with self.guard():
            return

    def unlink(self) -> None:
        """Delete the file and what SQLite keeps beside it; call it while holding `writing`."""
        self.close()
        with store_errors(self.folder):
            for name in (f"{self.file.name}-journal", self._mark.name, self.file.name):
                (self.folder / name).unlink(missing_ok=True)

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
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute(_LEAVING)
            if fresh or self._is_empty(connection):
                connection.executescript(
                    f"BEGIN;{_SCHEMA}{_BY_TEXT};PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
                )
        return self._connection

    @staticmethod
    def _is_empty(connection: sqlite3.Connection) -> bool:
        """No table yet: the process that made the file was killed before it wrote to it."""
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        return bool(tables == 0 and version == 0)

    @contextlib.contextmanager
    def guard(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; errors of the store become ours."""
        with self._mutex, store_errors(self.folder):
            yield self._connect()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """As `guard`; what is done takes effect as a whole, or not at all."""
        with self.guard() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """For a search: damage is remembered for the next update and told in one line."""
        try:
            yield
        except DamagedIndexError:
            with contextlib.suppress(OSError):
                self._mark.touch()
            raise IndexStoreError(
                f"the index {self.folder} is damaged: run again, and it is rebuilt from the files"
            ) from None
