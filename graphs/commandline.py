"""What the commands of the graphs have in common: how they are built, run, and told some things.

The switches of a larger command are the fields of a dataclass, so that each is written once.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="Address of an OpenAI-compatible server.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]

Given = TypeVar("Given")


def new_app(*, no_args_is_help: bool = False) -> typer.Typer:
    """A command line that prints plain text, and leaves tracebacks as they are."""
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=no_args_is_help,
    )


def run_app(app: typer.Typer, name: str, argv: Sequence[str] | None) -> int:
    """Run the command `name` with `argv`, or with this process's own; returns its exit code."""
    try:
        app(args=list(sys.argv[1:] if argv is None else argv), prog_name=name)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0


def switches(kind: Callable[..., Given], run: Callable[[Given], int]) -> Callable[..., None]:
    """A typer command with a switch for each field of the dataclass `kind`.

    `run` gets the filled dataclass and returns the exit code.
    """

    def command(**given: Any) -> None:
        raise typer.Exit(run(kind(**given)))

    vars(command)["__signature__"] = inspect.signature(kind, eval_str=True)
    return command
