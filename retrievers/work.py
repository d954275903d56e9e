"""The heavy work of an update, behind one interface: reading files and embedding texts.

`LocalWork` does it on this machine; `retrievers.ray_work` hands it to a Ray cluster.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from langchain_core.embeddings import Embeddings

if TYPE_CHECKING:
    from retrievers.reading import Job, Outcome


class Texts(NamedTuple):
    """Texts to embed in one call, each known by its hash."""

    hashes: list[str]
    texts: list[str]


class Vectors(NamedTuple):
    """The vectors (N, D) of texts, by their hashes (N)."""

    hashes: list[str]
    vectors: Sequence[Sequence[float]]


class Work(Protocol):
    """Does what takes long; every job and every batch is answered once, in any order."""

    def read(self, jobs: "Sequence[Job]") -> "Generator[tuple[Job, Outcome], None, None]":
        """Each job with what became of it."""

    def embed(self, batches: Iterable[Texts]) -> Iterator[Vectors]:
        """Each batch with its vectors; batches are asked for as there is room for them."""


class LocalWork:
    """Work on this machine: files in worker processes, texts with `embeddings` in this one."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    def read(self, jobs: "Sequence[Job]") -> "Generator[tuple[Job, Outcome], None, None]":
        """Each job with what became of it, in order."""
        from retrievers.workers import read_jobs

        return read_jobs(jobs)

    def embed(self, batches: Iterable[Texts]) -> Iterator[Vectors]:
        """Each batch with its vectors, in order."""
        for hashes, texts in batches:
            yield Vectors(hashes, self._embeddings.embed_documents(texts))
