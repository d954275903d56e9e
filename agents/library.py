"""What the team needs of a document library; `retrievers.pipeline.Library` is the usual one."""

from collections.abc import Sequence
from typing import Protocol

from langchain_core.documents import Document

from retrievers.trace import SearchTrace


class Library(Protocol):
    """Finds passages, gives them back by id, and knows how rare a term is."""

    def search(self, queries: Sequence[str], k: int = 8) -> list[Document]:
        """The `k` best passages over all queries, scores in the metadata."""

    def search_traced(self, question: str, k: int = 8) -> tuple[list[Document], SearchTrace]:
        """The `k` best passages for one question, and what every stage of the search did."""

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The passages of `ids`, in that order."""

    def idf(self, tokens: Sequence[str]) -> list[float]:
        """How rare each search term is; higher is rarer."""
