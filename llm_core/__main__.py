"""The model core on the command line: `python -m llm_core COMMAND --help`."""

import io
import os
import sys
from collections.abc import Sequence

import typer

from llm_core.commands.bench import bench
from llm_core.commands.convert import convert
from llm_core.commands.fit_tools import fit_tools
from llm_core.commands.generate import generate
from llm_core.commands.info import info
from llm_core.commands.quantize import quantize
from llm_core.commands.score import score
from llm_core.commands.serve import serve
from llm_core.commands.tokenize import tokenize
from llm_core.errors import ModelError

HELP = """Run, measure, convert and serve language models on this machine.

Results go to stdout, progress to stderr. Exit codes: 0 done, 2 something to mend, 130 stopped
with Ctrl-C."""
_COMMANDS = (generate, score, tokenize, bench, convert, quantize, info, serve, fit_tools)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    app = typer.Typer(
        help=HELP,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for command in _COMMANDS:
        app.command()(command)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a character
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(args=list(sys.argv[1:] if argv is None else argv), prog_name="python -m llm_core")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except ModelError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
