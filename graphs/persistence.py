"""Runs kept in one SQLite file: checkpoints, switches, leases, and which answers were shown.

The checkpoints are LangGraph's own (`SqliteSaver`); a run writes one after every step, so a
process may die anywhere and another goes on from the last finished step.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from graphs.errors import StateFileError, ThreadError
from graphs.state import STORED_TYPES, Review

_THREAD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_BUSY_SECONDS = 30.0


def check_thread_id(text: str) -> str:
    """Return the id, or raise ThreadError naming what an id may hold."""
    if not _THREAD_ID.fullmatch(text):
        raise ThreadError(
            f"thread id {text[:140]!r} is not valid: use 1 to 128 letters, digits and . _ : @ -,"
            " beginning with a letter or digit"
        )
    return text


def serializer() -> JsonPlusSerializer:
    """A checkpoint serializer that rebuilds the state's own types and refuses all others."""
    allowed = [(kind.__module__, kind.__qualname__) for kind in (*STORED_TYPES, Review)]
    return JsonPlusSerializer(allowed_msgpack_modules=allowed)


class RunStore:
    """The runs of one SQLite file, open while used as a context manager."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> "RunStore":
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.file, timeout=_BUSY_SECONDS, check_same_thread=False)
            self.saver = SqliteSaver(self._db, serde=serializer())
            self.saver.setup()
            self._db.execute("CREATE TABLE IF NOT EXISTS shown (thread_id TEXT PRIMARY KEY)")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS switches (thread_id TEXT PRIMARY KEY, given TEXT)"
            )
            self._db.commit()
            self._db.execute("SELECT c.thread_id, s.thread_id FROM checkpoints c, shown s LIMIT 0")
        except (sqlite3.Error, OSError) as error:
            if hasattr(self, "_db"):
                self._db.close()
            raise StateFileError(
                f"cannot keep runs in {self.file} ({error}): give another file with --state"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    @contextmanager
    def lease(self, thread_id: str) -> Iterator[None]:
        """Hold the thread for this process; the system frees it when the process dies."""
        folder = self.file.with_name(self.file.name + ".leases")
        name = hashlib.sha256(thread_id.encode()).hexdigest()[:32]
        lock = FileLock(folder / f"{name}.lock")
        try:
            folder.mkdir(exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise ThreadError(
                f"thread {thread_id!r} is being worked on by another process: wait for it, or"
                " give another --thread"
            ) from None
        except OSError as error:
            raise StateFileError(
                f"cannot write beside {self.file} ({error}): give another file with --state"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def last_run(self, prefix: str) -> int:
        """The highest N of the stored threads named PREFIX-N, 0 where there is none."""
        rows = self._rows(
            "SELECT DISTINCT thread_id FROM checkpoints WHERE substr(thread_id, 1, ?) = ?",
            (len(prefix) + 1, prefix + "-"),
        )
        ends = [str(row[0])[len(prefix) + 1 :] for row in rows]
        return max((int(end) for end in ends if end.isdigit()), default=0)

    def was_shown(self, thread_id: str) -> bool:
        """Whether the thread's answer has been given to the person."""
        return bool(self._rows("SELECT 1 FROM shown WHERE thread_id = ?", (thread_id,)))

    def mark_shown(self, thread_id: str) -> None:
        """Note that the thread's answer has been given to the person."""
        self._rows("INSERT OR IGNORE INTO shown VALUES (?)", (thread_id,))

    def switches(self, thread_id: str) -> dict[str, Any]:
        """What the thread's run was begun with; empty where that is not known."""
        rows = self._rows("SELECT given FROM switches WHERE thread_id = ?", (thread_id,))
        return dict(json.loads(str(rows[0][0]))) if rows else {}

    def keep_switches(self, thread_id: str, switches: Mapping[str, Any]) -> None:
        """Store what a run begins with, JSON values by name, in place of an earlier run's."""
        given = json.dumps(switches)
        self._rows("INSERT OR REPLACE INTO switches VALUES (?, ?)", (thread_id, given))

    def delete(self, thread_id: str) -> None:
        """Forget a thread."""
        self._rows("DELETE FROM switches WHERE thread_id = ?", (thread_id,))
        self.saver.delete_thread(thread_id)
        self._rows("DELETE FROM shown WHERE thread_id = ?", (thread_id,))

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        with self.saver.lock, self._db:
            return self._db.execute(statement, values).fetchall()
