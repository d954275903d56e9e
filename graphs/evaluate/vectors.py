"""Vectors kept on disk, so that no measurement embeds the same text twice.

    embeddings = CachedEmbeddings(LocalEmbeddings(), Path("vectors"))

One SQLite file an embedding model; a text is known by its hash, so the file holds no text.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

import numpy as np
from filelock import FileLock
from langchain_core.embeddings import Embeddings

from graphs.console import Progress
from graphs.errors import UserError
from retrievers.dense import embedding_name

BATCH: Final = 256  # texts embedded between two writes: what Ctrl-C can cost
_ASKED_AT_ONCE: Final = 500  # hashes in one SELECT
_WAIT_SECONDS: Final = 60.0
Kind = Literal["document", "query"]


class CachedEmbeddings(Embeddings):
    """Another embedding model whose vectors are kept in `folder`; processes may share it.

    Vectors are float32. A text that two processes need at once is embedded by one of them.
    With `queries` off every question is embedded anew, so that its time can be measured.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        folder: Path,
        *,
        queries: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.embeddings = embeddings
        self.model_hash = embedding_name(embeddings)
        digest = hashlib.sha256(self.model_hash.encode()).hexdigest()
        self.file = folder / f"{digest[:16]}.sqlite"
        self._queries = queries
        self._progress = progress
        self._ready = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text, in their order; those not kept yet are embedded and kept.

        Raises UserError where the folder cannot be written or its file is damaged.
        """
        return self._embed("document", texts, self.embeddings.embed_documents)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question, which may differ from that of a document."""
        if not self._queries:
            return self.embeddings.embed_query(text)
        return self._embed("query", [text], self._embed_queries)[0]

    def _embed_queries(self, texts: list[str]) -> list[list[float]]:
        return [self.embeddings.embed_query(text) for text in texts]

    def _embed(
        self, kind: Kind, texts: Sequence[str], embed: Callable[[list[str]], list[list[float]]]
    ) -> list[list[float]]:
        names = [_name(kind, text) for text in texts]
        wanted = dict(zip(names, texts, strict=True))
        with self._told():
            held = self._read(list(wanted))
            # Longest first, so that texts of like length are computed together.
            left = sorted((n for n in wanted if n not in held), key=lambda n: -len(wanted[n]))
            for at in range(0, len(left), BATCH):
                held.update(self._make(left[at : at + BATCH], wanted, embed))
                if self._progress is not None:
                    self._progress("embedding", min(at + BATCH, len(left)), len(left))
        return [held[name] for name in names]

    def _make(
        self,
        names: list[bytes],
        texts: dict[bytes, str],
        embed: Callable[[list[str]], list[list[float]]],
    ) -> dict[bytes, list[float]]:
        """Embed what no other process embedded in the meantime."""
        # Whoever embeds the same texts makes the same batches: only those wait for one another.
        with FileLock(self.file.with_suffix(f".{names[0].hex()[0]}.lock")):
            held = self._read(names)
            left = [name for name in names if name not in held]
            if left:
                vectors = embed([texts[name] for name in left])
                rows = [np.asarray(vector, dtype=np.float32) for vector in vectors]
                with self._connection() as connection, connection:
                    connection.executemany(
                        "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                        [(name, row.tobytes()) for name, row in zip(left, rows, strict=True)],
                    )
                held.update({n: row.tolist() for n, row in zip(left, rows, strict=True)})
        return held

    def _read(self, names: Sequence[bytes]) -> dict[bytes, list[float]]:
        found: dict[bytes, list[float]] = {}
        with self._connection() as connection:
            for at in range(0, len(names), _ASKED_AT_ONCE):
                some = names[at : at + _ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                for name, blob in connection.execute(
                    f"SELECT name, vector FROM vectors WHERE name IN ({marks})", some
                ):
                    found[name] = np.frombuffer(blob, dtype=np.float32).tolist()
        return found

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if not self._ready:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.file, timeout=_WAIT_SECONDS)) as connection:
            if not self._ready:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (name BLOB PRIMARY KEY, vector BLOB)"
                )
                self._ready = True
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"cannot use the kept vectors in {self.file} ({error}): delete that file, or give"
                " another folder with --cache"
            ) from error
        except OSError as error:
            raise UserError(
                f"cannot keep vectors in {self.file.parent} ({error.strerror or error}): give"
                " another folder with --cache"
            ) from error


def _name(kind: Kind, text: str) -> bytes:
    clean = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(kind.encode() + b"\0" + clean).digest()
