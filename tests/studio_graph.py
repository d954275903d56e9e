"""The research graph over a scripted team, for a test server: what its langgraph.json names."""

from functools import cache
from typing import TYPE_CHECKING

from graphs.wiring import open_research_graph
from tests.scripted_main import scripted_wire

if TYPE_CHECKING:
    from graphs.research import ResearchGraph


@cache
def _graph() -> "ResearchGraph":
    return open_research_graph(wire=scripted_wire({"delay": 0.05}))


def make_graph() -> "ResearchGraph":
    return _graph()
