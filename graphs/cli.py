"""The command line of the research graph, also installed as `deerstalker`.

Heavy packages are imported only once a question is asked, so that --help is quick.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

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
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="Address of an OpenAI-compatible server.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="The same bytes every time, timings apart.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Seed sent to a served model, kept in the result; our own model is greedy."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Thread = Annotated[
    str | None, typer.Option("--thread", help="Name of the run: begin it, go on, or show it.")
]
Review = Annotated[
    bool, typer.Option("--review", help="Pause after the plan to approve, edit or reject it.")
]
State = Annotated[
    str | None, typer.Option("--state", metavar="PATH", help="SQLite file that keeps the runs.")
]


def main(argv: Sequence[str] | None = None, *, wire: "Wire | None" = None) -> int:
    """Run the command; returns the exit code. `wire` builds the team, for tests."""
    try:
        _app(wire)(args=list(sys.argv[1:] if argv is None else argv), prog_name="deerstalker")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0


def _app(wire: "Wire | None") -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.command(help=HELP)
    def research(
        question: Question = None,
        docs: Docs = None,
        index: Index = None,
        model: Model = None,
        base_url: BaseUrl = None,
        as_json: AsJson = False,
        deterministic: Deterministic = False,
        seed: Seed = None,
        quiet: Quiet = False,
        thread: Thread = None,
        review: Review = False,
        state: State = None,
    ) -> None:
        from graphs.command import Given, run_command

        given = Given(
            question=question,
            docs=tuple(docs or ()),
            index=index,
            model=model,
            base_url=base_url,
            as_json=as_json,
            deterministic=deterministic,
            seed=seed,
            quiet=quiet,
            thread=thread,
            review=review,
            state=state,
        )
        raise typer.Exit(run_command(given, wire))

    return app


if __name__ == "__main__":
    sys.exit(main())
