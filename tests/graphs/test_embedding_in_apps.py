"""Deerstalker's parts inside other LangChain applications, as the examples show them."""

import subprocess
import sys
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from examples.embed_in_chain import build_chain
from examples.search_tool import open_search_tool
from graphs.research import build_research_graph
from graphs.wiring import open_research_graph
from tests.fakes import HashEmbeddings, ScriptedTeam
from tests.scripted_main import scripted_wire

ROOT = Path(__file__).parents[2]
GOOSE = "The blue stone was hidden in the crop of a goose by James Ryder.\n"


def test_the_graph_is_a_step_of_a_chain() -> None:
    chain = build_chain(open_research_graph(wire=scripted_wire({})))
    assert chain.invoke("Where was it?").splitlines() == [
        "Fact 1 of the goose. [1] Fact 2 of the goose. [2]",
        "[1] a.txt, characters 0-9",
        "[2] a.txt, characters 0-9",
    ]
    assert len(chain.batch(["one?", "two?"])) == 2


async def test_the_chain_streams_in_an_async_application() -> None:
    chain = build_chain(build_research_graph(ScriptedTeam()))
    pieces = [piece async for piece in chain.astream("Where was it?")]
    assert "".join(pieces).startswith("Fact 1")


def test_the_graph_is_a_node_of_another_graph() -> None:
    class Host(TypedDict):
        topic: str
        answer: str

    research = build_research_graph(ScriptedTeam())

    def look_up(state: Host) -> dict[str, str]:
        return {"answer": research.invoke({"question": state["topic"]})["result"].answer}

    host = StateGraph(Host)
    host.add_node("look_up", look_up)
    host.add_edge(START, "look_up")
    host.add_edge("look_up", END)
    graph = host.compile(checkpointer=InMemorySaver())
    out = graph.invoke(
        {"topic": "the stone", "answer": ""}, {"configurable": {"thread_id": "host"}}
    )
    assert out["answer"].startswith("Fact 1")


def test_opening_a_graph_loads_no_model_until_it_is_asked() -> None:
    built: list[str] = []

    def wire(*args: object, **kwargs: object) -> object:
        built.append("team")
        return scripted_wire({})(*args, **kwargs)

    graph = open_research_graph(wire=wire)  # type: ignore[arg-type]  # a wire of any arguments
    assert graph.get_graph().nodes and built == []
    graph.invoke({"question": "one?"})
    graph.invoke({"question": "two?"})
    assert built == ["team"]


def test_the_search_is_a_tool_of_another_agent(tmp_path: Path) -> None:
    (tmp_path / "goose.txt").write_text(GOOSE, encoding="utf-8")
    search = open_search_tool([tmp_path / "goose.txt"], tmp_path / "index", HashEmbeddings())
    assert "crop of a goose" in search.invoke({"query": "blue stone"})


@pytest.mark.parametrize("name", ["embed_in_chain", "search_tool"])
def test_an_example_without_arguments_says_how_to_use_it(name: str) -> None:
    done = subprocess.run(
        [sys.executable, f"examples/{name}.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("usage: ")


@pytest.mark.model
def test_the_example_answers_from_real_documents(tmp_path: Path) -> None:
    (tmp_path / "goose.txt").write_text(GOOSE, encoding="utf-8")
    graph = open_research_graph(docs=[tmp_path], index=tmp_path / "index")
    text = build_chain(graph).invoke("Where was the blue stone hidden?")
    assert "goose" in text and "[1] goose.txt, characters 0-" in text


SHADOWED = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    import graphs
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("overwritten", [False, True])
def test_another_package_named_agents_is_refused_by_name(tmp_path: Path, overwritten: bool) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("")
    if overwritten:  # both distributions unpacked into one folder
        for name in ("notes.py", "result.py", "guardrail.py"):
            (tmp_path / "agents" / name).write_text("")
    done = subprocess.run(
        [sys.executable, "-c", SHADOWED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert "openai-agents" in done.stdout and str(tmp_path / "agents") in done.stdout
