"""The research graph as one step of a LangChain chain.

python examples/embed_in_chain.py "Where was the blue carbuncle hidden?" [PATH ...]
"""

import sys
from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableLambda

from agents.result import ResearchResult
from graphs.wiring import open_research_graph


def ask(question: str) -> dict[str, Any]:
    """What goes into the graph."""
    return {"question": question}


def footnotes(output: dict[str, Any]) -> str:
    """What comes out, as a text with footnotes."""
    result: ResearchResult = output["result"]
    places = [f"[{c.id}] {c.file}, characters {c.start}-{c.end}" for c in result.citations]
    return "\n".join([result.answer, *places])


def build_chain(research: Runnable[Any, Any]) -> Runnable[str, str]:
    """A chain from a question to a text, with the research graph in the middle."""
    return RunnableLambda(ask) | research | RunnableLambda(footnotes)


def main(arguments: Sequence[str]) -> int:
    """Answer the first argument from the documents of the others, or from the samples."""
    if not arguments:
        print("usage: embed_in_chain.py QUESTION [PATH ...]", file=sys.stderr)
        return 2
    chain = build_chain(open_research_graph(docs=arguments[1:]))
    print(chain.invoke(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
