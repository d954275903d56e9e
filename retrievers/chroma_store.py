"""Chroma as the store: embedded in a folder, or a server that `chroma run` started.

    store = open_chroma(embeddings, folder=Path("chroma"))
    store = open_chroma(embeddings, url="http://127.0.0.1:8000")

It is `langchain_chroma.Chroma` with cosine distances; `ChromaEngine` gives it vectors that were
made elsewhere and reads them back. Values of metadata that Chroma cannot hold travel as JSON.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from retrievers.dense import unit_rows
from retrievers.errors import IndexStoreError, RetrievalError
from retrievers.filters import Where, canonical
from retrievers.ranking import Floats

if TYPE_CHECKING:
    from langchain_chroma import Chroma

NESTED: Final = "_nested"  # metadata key of what Chroma cannot hold
_BATCH: Final = 1000


def open_chroma(
    embeddings: Embeddings,
    *,
    folder: Path | None = None,
    url: str | None = None,
    collection: str = "passages",
) -> "Chroma":
    """The collection in `folder` or on the server at `url`, made where it is missing.

    Raises:
        RetrievalError: not exactly one of `folder` and `url` is given, `url` is no address, or
            the name is not one that Chroma takes.
        IndexStoreError: the package is missing, the folder cannot be used, no server answers.
    """
    if (folder is None) == (url is None):
        raise RetrievalError("Chroma needs a folder or the URL of a server, and not both")
    try:
        import chromadb
        from langchain_chroma import Chroma
    except ImportError as err:
        raise IndexStoreError(
            "Chroma needs the package langchain-chroma: pip install 'deerstalker[chroma]'"
        ) from err
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    with chroma_errors(url or str(folder)):
        if url is not None:
            client = chromadb.HttpClient(**_address(url), settings=settings)
        else:
            client = chromadb.PersistentClient(str(folder), settings=settings)
        return Chroma(
            collection_name=collection,
            embedding_function=embeddings,
            client=client,
            collection_configuration={"hnsw": {"space": "cosine"}},
        )


def _address(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise RetrievalError(f"{url!r} is no Chroma server: give one like http://127.0.0.1:8000")
    secure = parts.scheme == "https"
    return {"host": parts.hostname, "port": port or (443 if secure else 8000), "ssl": secure}


@contextlib.contextmanager
def chroma_errors(place: str) -> Iterator[None]:
    """Raise what the person can mend about the Chroma at `place` in one line."""
    import httpx
    from chromadb.errors import ChromaError, InternalError, InvalidArgumentError

    try:
        yield
    except httpx.HTTPError as err:
        raise _silent(place) from err
    except InvalidArgumentError as err:
        raise RetrievalError(f"Chroma at {place} refuses this: {_line(err)}") from err
    except (InternalError, ChromaError, OSError) as err:
        raise IndexStoreError(f"Chroma at {place} cannot be used: {_line(err)}") from err
    except ValueError as err:
        if "connect to a Chroma server" in str(err):
            raise _silent(place) from err
        raise RetrievalError(f"Chroma at {place} refuses this: {_line(err)}") from err


def _silent(place: str) -> IndexStoreError:
    return IndexStoreError(
        f"no Chroma server answers at {place}: start one with `chroma run --path FOLDER`"
    )


def _line(err: Exception) -> str:
    return " ".join(str(err).split())


def flat(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Metadata as Chroma holds it: text, numbers and booleans, all else as JSON in one field."""
    plain = {key: value for key, value in metadata.items() if isinstance(value, str | int | float)}
    rest = {key: value for key, value in metadata.items() if key not in plain}
    if rest:
        plain[NESTED] = json.dumps(rest, ensure_ascii=False)
    return plain or None


def nested(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `flat` was given."""
    found = dict(metadata or {})
    rest = found.pop(NESTED, None)
    return {**found, **json.loads(rest)} if rest else found


class ChromaEngine:
    """A Chroma collection as documents with vectors; see `retrievers.engines.Engine`."""

    def __init__(self, store: "Chroma") -> None:
        self._collection: Any = store._collection  # the only way to hand vectors to Chroma
        self._place = f"collection {self._collection.name!r}"
        space = (self._collection.configuration.get("hnsw") or {}).get("space", "l2")
        # Squared distance of unit vectors is 2 - 2 cos; the others are 1 - cos.
        self._halves = 2.0 if space == "l2" else 1.0

    def put(self, documents: Sequence[Document], vectors: Floats) -> None:
        """Store documents with distinct ids and their unit vectors (N, D); known ids change."""
        rows = list(documents)
        with chroma_errors(self._place):
            for at in range(0, len(rows), _BATCH):
                part = rows[at : at + _BATCH]
                ids = [document.id for document in part]
                # An upsert keeps the old fields that the new metadata lacks.
                self._collection.delete(ids=ids)
                self._collection.add(
                    ids=ids,
                    embeddings=np.asarray(vectors[at : at + _BATCH], dtype=np.float32),
                    documents=[document.page_content for document in part],
                    metadatas=[flat(document.metadata) for document in part],
                )

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        with chroma_errors(self._place):
            for at in range(0, len(ids), _BATCH):
                self._collection.delete(ids=list(ids[at : at + _BATCH]))

    def count(self) -> int:
        """How many documents are held."""
        with chroma_errors(self._place):
            return int(self._collection.count())

    def nearest(
        self, vector: Floats, k: int, where: Where | None, among: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to a unit vector (D) with their cosine, best first."""
        with chroma_errors(self._place):
            limits: dict[str, Any] = {"where": canonical(where)} if where else {}
            if among is not None:
                held = self._collection.get(ids=list(dict.fromkeys(among)), include=[])["ids"]
                limits["ids"] = held  # an unknown one would be an error
            total = self._collection.count() if among is None else len(limits["ids"])
            if not total or k <= 0:
                return []
            found = self._collection.query(
                query_embeddings=[vector.tolist()],
                n_results=min(k, total),
                include=["distances"],
                **limits,
            )
        pairs = zip(found["ids"][0], found["distances"][0], strict=True)
        return [(id_, 1.0 - distance / self._halves) for id_, distance in pairs]

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D).

        Raises:
            KeyError: one of them is not held.
        """
        with chroma_errors(self._place):
            found = self._collection.get(ids=list(dict.fromkeys(ids)), include=["embeddings"])
        held = dict(zip(found["ids"], found["embeddings"], strict=True))
        return unit_rows([held[id_] for id_ in ids])

    def batches(self, size: int) -> Iterator[tuple[list[Document], Floats]]:
        """All documents with their unit vectors (N, D)."""
        include = ["embeddings", "documents", "metadatas"]
        for at in range(0, self.count(), size):
            with chroma_errors(self._place):
                found = self._collection.get(limit=size, offset=at, include=include)
            columns = zip(found["ids"], found["documents"], found["metadatas"], strict=True)
            documents = [
                Document(id=id_, page_content=text or "", metadata=nested(metadata))
                for id_, text, metadata in columns
            ]
            yield documents, unit_rows(found["embeddings"])
