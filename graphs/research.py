"""The research graph: answers a question from a person's own documents, with its evidence.

    python -m graphs.research "Where was the blue carbuncle hidden?" --docs ~/papers

`build_research_graph` is a LangChain Runnable: `graph.invoke({"question": ...})["result"]`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import Checkpointer

    from graphs.budget import CallMeter, Limits
    from graphs.nodes import Team
    from graphs.state import ResearchInput, ResearchOutput, ResearchState

    ResearchGraph = CompiledStateGraph[ResearchState, None, ResearchInput, ResearchOutput]


def build_research_graph(
    team: Team,
    checkpointer: Checkpointer = None,
    max_rounds: int = 2,
    *,
    limits: Limits | None = None,
    manifest: Callable[[], Mapping[str, Any]] = dict,
    meter: CallMeter | None = None,
    cancel: threading.Event | None = None,
) -> ResearchGraph:
    """Compile the graph around a team; `limits` replaces `max_rounds` where both are given."""
    from langgraph.graph import END, START, StateGraph

    from graphs.budget import Limits
    from graphs.nodes import ResearchNodes
    from graphs.state import ResearchInput, ResearchOutput, ResearchState, SearchTask

    limits = limits if limits is not None else Limits(rounds=max_rounds)
    do = ResearchNodes(team, limits, manifest=manifest, meter=meter, cancel=cancel)
    graph = StateGraph(ResearchState, input_schema=ResearchInput, output_schema=ResearchOutput)
    for node in (do.intake, do.plan, do.review, do.gather, do.write, do.verify, do.repair):
        graph.add_node(node.__name__, node)
    graph.add_node("search", do.search, input_schema=SearchTask)
    graph.add_node("abstain", do.abstain)
    graph.add_node("finish", do.finish)

    graph.add_edge(START, "intake")
    graph.add_conditional_edges("intake", do.after_intake, ["plan", "finish"])
    graph.add_conditional_edges("plan", do.after_plan, ["review", "search", "gather"])
    graph.add_conditional_edges("review", do.after_review, ["search", "abstain"])
    graph.add_edge("search", "gather")  # the join of the parallel searches
    graph.add_conditional_edges("gather", do.after_gather, ["plan", "write", "abstain"])
    graph.add_edge("write", "verify")
    graph.add_conditional_edges("verify", do.after_verify, ["repair", "abstain", "finish"])
    graph.add_edge("repair", "verify")
    graph.add_edge("abstain", "finish")
    graph.add_edge("finish", END)
    compiled = graph.compile(checkpointer=checkpointer, name="research")
    compiled.stream_mode = "values"  # a chain that streams gets the output, not the steps
    return compiled.with_config(recursion_limit=limits.steps)


def main() -> int:
    """Run the command line; returns the exit code."""
    from graphs.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
