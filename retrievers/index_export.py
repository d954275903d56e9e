"""Write the passages of an index with their vectors where others can open them."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from retrievers.corpus import Corpus
from retrievers.dense import embedding_name
from retrievers.errors import IndexStoreError
from retrievers.manage import describe_index
from retrievers.store_errors import store_errors

Vector: TypeAlias = list[float]
Slab: TypeAlias = tuple[list[Document], list[Vector]]
_SLAB: Final = 1000  # passages in memory at a time


def export_index(folder: Path, target: Path, to: str, embeddings: Embeddings) -> int:
    """Write every passage of the index in `folder` to `target`; returns how many there are.

    Args:
        to: one of `FORMATS`: the store, or the kind of file, that `target` becomes.
        embeddings: the model of the index, which the store asks for; nothing is embedded.

    Raises:
        IndexStoreError: the index is unfinished or of another model, or `target` is not an
            empty folder that can be written.
    """
    facts = describe_index(folder)
    if facts.state != "ready":
        raise IndexStoreError(f"the index {folder} is {facts.state}: update it first")
    if facts.embedding != embedding_name(embeddings):
        raise IndexStoreError(
            f"the vectors of {folder} are of another embedding model than the one set: "
            "set DEERSTALKER_EMBEDDINGS to that one, or update the index first"
        )
    with store_errors(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise IndexStoreError(f"{target} is not an empty folder: name another to write to")
        target.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(folder)
    try:
        with store_errors(target):
            return FORMATS[to](_slabs(corpus), target, embeddings)
    finally:
        corpus.close()


def _slabs(corpus: Corpus) -> Iterator[Slab]:
    rows = corpus.passages()
    while slab := list(itertools.islice(rows, _SLAB)):
        yield (
            [document for document, _ in slab],
            [vector.tolist() for _, vector in slab if vector is not None],
        )


def _to_jsonl(slabs: Iterator[Slab], target: Path, _: Embeddings) -> int:
    """`passages.jsonl`: id, text, metadata and vector, one passage a line."""
    count = 0
    with (target / "passages.jsonl").open("w", encoding="utf-8", newline="\n") as out:
        for documents, vectors in slabs:
            for one, vector in zip(documents, vectors, strict=True):
                row: dict[str, Any] = {"id": one.id, "text": one.page_content}
                row |= {"metadata": one.metadata, "vector": vector}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += len(documents)
    return count


def _to_faiss(slabs: Iterator[Slab], target: Path, embeddings: Embeddings) -> int:
    """A `FaissStore` in the folder."""
    from retrievers.faiss_store import FaissStore

    store = FaissStore.open(target, embeddings)
    try:
        for documents, vectors in slabs:
            store.add_vectors(documents, vectors)
        return len(store)
    finally:
        store.close()


def _to_chroma(slabs: Iterator[Slab], target: Path, embeddings: Embeddings) -> int:
    """A collection `passages` of an embedded Chroma in the folder."""
    from retrievers.chroma_store import open_chroma
    from retrievers.engines import engine_of

    engine = engine_of(open_chroma(embeddings, folder=target))
    for documents, vectors in slabs:
        engine.put(documents, np.asarray(vectors, dtype=np.float32))
    return engine.count()


FORMATS: Final[dict[str, Callable[[Iterator[Slab], Path, Embeddings], int]]] = {
    "faiss": _to_faiss,
    "chroma": _to_chroma,
    "jsonl": _to_jsonl,
}
