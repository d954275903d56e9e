"""Where passages are kept while a search runs: the interface, and one that holds them in memory."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from langchain_core.documents import Document

from retrievers.filters import Where, holds, parse_where


class Passages(Protocol):
    """Passages by id, in reading order within their document."""

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The passages of `ids`, in that order; unknown ids are left out."""

    def neighbours(self, id_: str, before: int = 1, after: int = 1) -> list[Document]:
        """The passages just before and after `id_` in its document, without itself."""

    def manifest(self) -> dict[str, Any]:
        """`index` (hash of the content), `documents`, `passages`, `embedding`."""

    def close(self) -> None:
        """Give back open files."""


class MemoryPassages:
    """Passages held in a list; those of one document stand together, in reading order."""

    def __init__(self, documents: Sequence[Document], embedding: str = "") -> None:
        for document in documents:
            if not document.id:
                raise ValueError(f"a passage needs an id: {document.page_content[:60]!r}")
        self._rows = {document.id or "": row for row, document in enumerate(documents)}
        self._documents = list(documents)
        self._embedding = embedding

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The passages of `ids`, in that order; unknown ids are left out."""
        return [self._documents[self._rows[id_]] for id_ in ids if id_ in self._rows]

    def select(self, where: Where) -> list[str]:
        """The ids of the passages whose metadata is what `where` asks for."""
        condition = parse_where(where)
        return [d.id or "" for d in self._documents if holds(condition, d.metadata)]

    def neighbours(self, id_: str, before: int = 1, after: int = 1) -> list[Document]:
        """The passages just before and after `id_` in its document, without itself."""
        if id_ not in self._rows:
            return []
        row = self._rows[id_]
        near = range(max(0, row - before), min(len(self._documents), row + after + 1))
        own = _document_of(self._documents[row])
        rows = [at for at in near if at != row and _document_of(self._documents[at]) == own]
        return [self._documents[at] for at in rows]

    def manifest(self) -> dict[str, Any]:
        """`index` (hash of the content), `documents`, `passages`, `embedding`."""
        digest = hashlib.sha256(self._embedding.encode())
        for document in self._documents:
            digest.update(f"\0{document.id}\0{document.page_content}".encode())
        return {
            "index": digest.hexdigest(),
            "documents": len({_document_of(document) for document in self._documents}),
            "passages": len(self._documents),
            "embedding": self._embedding,
        }

    def close(self) -> None:
        """Nothing is open."""


def _document_of(passage: Document) -> str:
    return str(passage.metadata.get("doc_hash") or passage.metadata.get("source") or "")
