"""PostgreSQL with pgvector as the dense side of our index, through `langchain-postgres`.

    dense = pgvector_index("postgresql://user@host/database", embeddings, fetch=corpus.get)

The table has text ids, so that those of passages fit, and is made where it is missing.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from retrievers.dense import unit_rows
from retrievers.engines import PlainEngine
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.ranking import Fetch, Floats
from retrievers.store_index import StoreIndex

if TYPE_CHECKING:
    from langchain_postgres import PGVectorStore
    from psycopg import Connection

_SCHEMES: Final = ("postgresql://", "postgres://")


def pgvector_index(
    url: str,
    embeddings: Embeddings,
    *,
    table: str = "passages",
    fetch: Fetch | None = None,
    size: int | None = None,
) -> StoreIndex:
    """The index in `table` of the database at `url`; `fetch` gives the texts to keep beside it.

    A new table holds vectors of `size` numbers; by default the embedding model is asked.

    Raises:
        RetrievalError: `url` or `table` is not one.
        IndexStoreError: a package is missing, or no such database answers.
    """
    store = open_pgvector(url, embeddings, table=table, size=size)
    engine = PgvectorEngine(store, url, table)
    return StoreIndex(store, embeddings, fetch=fetch, engine=engine)


def open_pgvector(
    url: str, embeddings: Embeddings, *, table: str = "passages", size: int | None = None
) -> "PGVectorStore":
    """The LangChain store over `table`, with cosine distances; raises as `pgvector_index`."""
    place = _place(url)
    if not url.startswith(_SCHEMES):
        raise RetrievalError(f"{place} is no database: give postgresql://user@host/database")
    if not table.isidentifier() or not table.isascii():
        raise RetrievalError(f"{table!r} cannot name a table: use letters, digits and _")
    try:
        from langchain_postgres import Column, PGEngine, PGVectorStore
    except ImportError as err:
        raise IndexStoreError(
            "PostgreSQL needs langchain-postgres: run `pip install 'deerstalker[postgres]'`"
        ) from err
    with pgvector_errors(url):
        with _connected(url) as connection:
            found = connection.execute("SELECT to_regclass(%s)", (f'"{table}"',)).fetchone()
        # The driver of `_connected`: another one would not know every option of an address.
        engine = PGEngine.from_connection_string("postgresql+psycopg" + url[url.index("://") :])
        if found is None or found[0] is None:
            engine.init_vectorstore_table(
                table,
                vector_size=size or len(embeddings.embed_query("length of a vector")),
                id_column=Column("langchain_id", "TEXT", nullable=False),
            )
        return PGVectorStore.create_sync(engine, embeddings, table)


class PgvectorEngine(PlainEngine):
    """A table of vectors; see `retrievers.engines.Engine`."""

    def __init__(self, store: "PGVectorStore", url: str, table: str) -> None:
        super().__init__(store)
        self._postgres, self._url, self._table = store, url, table

    def put(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Store documents with distinct ids and their unit vectors (N, D); known ids change."""
        with pgvector_errors(self._url):
            self._postgres.add_embeddings(  # replaces what is there under an id
                [document.page_content for document in documents],
                vectors.tolist(),
                [document.metadata for document in documents],
                [document.id or "" for document in documents],
            )

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        with pgvector_errors(self._url):
            if ids:
                self._postgres.delete(list(ids))

    def count(self) -> int:
        """How many documents are held."""
        with pgvector_errors(self._url), _connected(self._url) as connection:
            row = connection.execute(f'SELECT count(*) FROM "{self._table}"').fetchone()
        return int(row[0]) if row else 0

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D); KeyError where one is not held."""
        query = (
            f'SELECT langchain_id, embedding::text FROM "{self._table}"'
            " WHERE langchain_id = ANY(%s)"
        )
        with pgvector_errors(self._url), _connected(self._url) as connection:
            held = dict(connection.execute(query, (list(ids),)).fetchall())
        return unit_rows([json.loads(held[id_]) for id_ in ids])

    def batches(self, size: int) -> Iterator[tuple[list[Document], Floats]]:
        """All documents with their unit vectors (N, D)."""
        columns = "langchain_id, content, langchain_metadata, embedding::text"
        with (
            pgvector_errors(self._url),
            _connected(self._url) as connection,
            connection.cursor("batches") as cursor,  # a name keeps the rows on the server
        ):
            cursor.execute(f'SELECT {columns} FROM "{self._table}"')
            while rows := cursor.fetchmany(size):
                documents = [
                    Document(id=id_, page_content=text, metadata=metadata or {})
                    for id_, text, metadata, _ in rows
                ]
                yield documents, unit_rows([json.loads(row[3]) for row in rows])


def _connected(url: str) -> "Connection[Any]":
    import psycopg

    return psycopg.connect(url)


@contextlib.contextmanager
def pgvector_errors(url: str) -> Iterator[None]:
    """Raise what the person can mend about a database in one line, without its password."""
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (psycopg.OperationalError, OSError) as err:
        raise IndexStoreError(
            f"no PostgreSQL answers at {_place(url)}: {_without_password(url, str(err))}"
        ) from err
    except (psycopg.Error, SQLAlchemyError) as err:
        reason = _without_password(url, str(getattr(err, "orig", err)).split("\n")[0])
        raise IndexStoreError(f"{_place(url)} refuses this: {reason}") from err


def _without_password(url: str, text: str) -> str:
    line, password = " ".join(text.split()), urlsplit(url).password
    return line.replace(password, "***") if password else line


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as err:  # such as brackets that are not closed
        raise RetrievalError(f"the address of PostgreSQL is none: {err}") from err
    return f"{parts.scheme or '?'}://{parts.hostname or parts.query or '?'}{parts.path}"
