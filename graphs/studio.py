"""The research graph for LangGraph Studio: `langgraph.json` names `make_graph`.

    python -m graphs.studio            (langgraph dev, with its telemetry switched off)

The server keeps the threads, so the graph is compiled without a checkpointer here. Documents
and model come from the settings: DEERSTALKER_DOCS, DEERSTALKER_MODEL.
"""

import asyncio
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphs.research import ResearchGraph


@cache
def _shared_graph() -> "ResearchGraph":
    """One graph a process: the server asks for it at every request, the models load once."""
    from graphs.wiring import open_research_graph

    return open_research_graph()


async def make_graph() -> "ResearchGraph":
    """Return the research graph over the documents of the settings."""
    return await asyncio.to_thread(_shared_graph)  # imports read files: not in the event loop


def main() -> int:
    """Start `langgraph dev` on this machine alone; further arguments are passed on."""
    from graphs.settings import child_environment

    if find_spec("langgraph_cli") is None:
        print("error: install the server first: pip install 'deerstalker[dev]'", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "langgraph_cli", "dev", *sys.argv[1:]]
    try:
        return subprocess.call(command, env=child_environment())
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
