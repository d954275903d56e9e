"""The search tool: what an agent calls to look something up in the person's documents."""

from typing import TYPE_CHECKING

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

_MAX_QUERY = 2000


def make_search_tool(retriever: BaseRetriever, name: str = "search_documents") -> "BaseTool":
    """A tool over `retriever`: text for the model, the passages as the artifact for citations."""

    @tool(name, response_format="content_and_artifact")
    def search_documents(query: str) -> tuple[str, list[Document]]:
        """Search the person's documents. Returns numbered excerpts to cite as [1], [2]."""
        query = query.strip()
        if not query:
            return "The query is empty. Give the words to look for.", []
        passages = retriever.invoke(query[:_MAX_QUERY])
        if not passages:
            return f"No passage matches {query!r}. Try fewer or different words.", []
        return "\n\n".join(_excerpt(i, p) for i, p in enumerate(passages, 1)), passages

    return search_documents


def _excerpt(number: int, passage: Document) -> str:
    return f"[{number}] ({_place(passage)}) {' '.join(passage.page_content.split())}"


def _place(passage: Document) -> str:
    """Where a passage stands, as far as its metadata says: file, page (or slide, sheet) or line."""
    source = str(passage.metadata.get("source") or "unnamed document")
    facts = passage.metadata
    for key, unit in (("page", facts.get("unit", "page")), ("line", "line")):
        if facts.get(key) is not None:
            return f"{source}, {unit} {facts[key]}"
    return source
