"""The command line of the research graph, also installed as `deerstalker`.

Heavy packages are imported only once a question is asked, so that --help is quick.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from graphs.commandline import AsJson, BaseUrl, Quiet, new_app, run_app, switches

if TYPE_CHECKING:
    from graphs.wiring import Wire

HELP = """Answer QUESTION from your own documents, with the evidence for every sentence.

The answer goes to stdout, progress to stderr. A run that was interrupted goes on when the same
command is given again. Exit codes: 0 answered (also when the answer is "not in your documents"),
2 something to mend, 3 paused for review, 130 stopped with Ctrl-C."""

Question = Annotated[str | None, typer.Argument(help="What you want to know.")]
Docs = Annotated[
    list[str] | None,
    typer.Option(
        "--docs", metavar="PATH", help="Folder or file to search; may be given more than once."
    ),
]
Index = Annotated[
    str | None, typer.Option("--index", metavar="PATH", help="Folder that keeps the index.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="smollm2-135m, a model folder, a .gguf file, hf:NAME, or PROVIDER:NAME such as"
        " openai:gpt-4o.",
    ),
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="The same bytes every time, timings apart.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Seed sent to a served model, kept in the result; our own model is greedy."
    ),
]
Thread = Annotated[
    str | None, typer.Option("--thread", help="Name of the run: begin it, go on, or show it.")
]
Review = Annotated[
    bool, typer.Option("--review", help="Pause after the plan to approve, edit or reject it.")
]
State = Annotated[
    str | None, typer.Option("--state", metavar="PATH", help="SQLite file that keeps the runs.")
]
Open = Annotated[
    int | None,
    typer.Option(
        "--open", metavar="N", help="Show where citation N stands: its page, with the words marked."
    ),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain", help="Show what every stage of the search returned, with scores and times."
    ),
]


@dataclass(frozen=True)
class Given:
    """The switches as they were given; None is the default of the settings.

    Paths are text, because a `Path` of the empty text is the current folder.
    """

    question: Question = None
    docs: Docs = None
    index: Index = None
    model: Model = None
    base_url: BaseUrl = None
    as_json: AsJson = False
    deterministic: Deterministic = False
    seed: Seed = None
    quiet: Quiet = False
    thread: Thread = None
    review: Review = False
    state: State = None
    open: Open = None
    explain: Explain = False


def main(argv: Sequence[str] | None = None, *, wire: "Wire | None" = None) -> int:
    """Run the command; returns the exit code. `wire` builds the team, for tests."""

    def research(given: Given) -> int:
        from graphs.command import run_command

        return run_command(given, wire)

    app = new_app()
    app.command(help=HELP)(switches(Given, research))
    return run_app(app, "deerstalker", argv)


if __name__ == "__main__":
    sys.exit(main())
