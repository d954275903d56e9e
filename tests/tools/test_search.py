"""The search tool, against LangChain's own tool contract and over a real retriever."""

from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from retrievers.pipeline import HybridRetriever
from tests.fakes import HashEmbeddings
from tools.search import make_search_tool

PASSAGES = [
    Document(
        id="p1",
        page_content="The stone was in the\n crop of the goose.",
        metadata={"source": "holmes.txt", "page": None, "line": 12},
    ),
    Document(
        id="p2",
        page_content="A league is three miles.",
        metadata={"source": "units.pdf", "page": 3, "line": None},
    ),
]


def search_tool(documents: list[Document] = PASSAGES) -> BaseTool:
    return make_search_tool(HybridRetriever.from_documents(documents, HashEmbeddings(), k=2))


class TestContract(ToolsUnitTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return search_tool()

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "goose"}


class TestBehaviour(ToolsIntegrationTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return search_tool()

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "goose"}


def called(tool: BaseTool, query: str) -> ToolMessage:
    call = {"name": tool.name, "args": {"query": query}, "id": "1", "type": "tool_call"}
    message = tool.invoke(call)
    assert isinstance(message, ToolMessage)
    return message


def test_excerpts_are_numbered_with_their_place_and_passages_travel_beside() -> None:
    message = called(search_tool(), "crop of the goose")
    first = str(message.content).split("\n\n")[0]
    assert first == "[1] (holmes.txt, line 12) The stone was in the crop of the goose."
    assert message.artifact[0].id == "p1"
    assert message.artifact[0].page_content == PASSAGES[0].page_content


def test_a_page_is_named_for_paged_files() -> None:
    assert "(units.pdf, page 3)" in str(called(search_tool(), "miles in a league").content)


def test_a_miss_says_what_to_try() -> None:
    message = called(search_tool([]), "goose")
    assert "different words" in str(message.content) and message.artifact == []


def test_an_empty_query_is_answered_not_raised() -> None:
    assert "empty" in str(called(search_tool(), "  ").content)
