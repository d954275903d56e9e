"""The document search as a LangChain tool, for an agent of your own.

python examples/search_tool.py "blue carbuncle" PATH ...
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from langchain_core.embeddings import Embeddings
from langchain_core.tools import BaseTool

from retrievers.pipeline import open_library
from tools.search import make_search_tool


def open_search_tool(docs: Sequence[Path], index: Path, embeddings: Embeddings) -> BaseTool:
    """A search tool over `docs`; bind it to any chat model or give it to `create_agent`."""
    return make_search_tool(open_library(index, docs, embeddings).retriever)


def main(arguments: Sequence[str]) -> int:
    """Search the documents that are named after the query."""
    from llm_core import LocalEmbeddings

    if len(arguments) < 2:
        print("usage: search_tool.py QUERY PATH ...", file=sys.stderr)
        return 2
    query, *paths = arguments
    search = open_search_tool([Path(p) for p in paths], Path("example-index"), LocalEmbeddings())
    print(search.invoke({"query": query}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
