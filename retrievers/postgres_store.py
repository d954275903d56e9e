"""PostgreSQL with pgvector as the engine of an index's vectors, through `langchain-postgres`."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from langchain_core.embeddings import Embeddings

from retrievers.errors import IndexStoreError

if TYPE_CHECKING:
    from retrievers.store_index import StoreIndex

_ID: Final = "langchain_id"


def open_postgres(known: Embeddings, address: str, table: str, size: int) -> "StoreIndex":
    """The vectors in `table` of the database at `address`, which is made where it is missing.

    Args:
        known: gives the vector of a passage that is held, for its id.
        size: numbers in a vector.

    Raises:
        IndexStoreError: the package is missing, the database does not answer, or refuses.
    """
    try:
        import psycopg
        from langchain_postgres import Column, PGEngine, PGVectorStore
    except ImportError as err:
        raise IndexStoreError(
            "PostgreSQL needs langchain-postgres: run `pip install 'deerstalker[postgres]'`"
        ) from err
    from psycopg.sql import SQL, Identifier

    from retrievers.store_index import StoreIndex

    plain = "postgresql://" + address.split("://", 1)[1]

    def count() -> int:
        with _postgres_errors(plain), psycopg.connect(plain) as connection:
            rows = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table)))
            row = rows.fetchone()
            return int(row[0]) if row else 0

    with _postgres_errors(plain):
        with psycopg.connect(plain) as connection:
            found = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
        engine = PGEngine.from_connection_string(plain.replace("://", "+psycopg://", 1))
        if found is None or found[0] is None:
            engine.init_vectorstore_table(table, size, id_column=Column(_ID, "TEXT"))

        def make(model: Embeddings) -> Any:
            return PGVectorStore.create_sync(engine, model, table)

        return StoreIndex.over(make, known, count=count, text=lambda passage: passage.id or "")


@contextlib.contextmanager
def _postgres_errors(address: str) -> Iterator[None]:
    """Raise what the database says in one line, without the password."""
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (psycopg.Error, SQLAlchemyError) as err:
        parts = urlsplit(address)
        line = " ".join(str(err).split())
        if parts.password:
            line = line.replace(parts.password, "***")
        raise IndexStoreError(
            f"PostgreSQL at {parts.hostname or 'this machine'}{parts.path} cannot be used: {line}"
        ) from err
