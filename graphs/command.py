"""From the switches of the command line to one session: defaults, checks, error lines."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from graphs.errors import UserError
from graphs.settings import load_settings, names_hub, settle_process

if TYPE_CHECKING:
    from graphs.cli import Given
    from graphs.session import Command
    from graphs.settings import Settings
    from graphs.wiring import Wire


def run_command(given: "Given", wire: "Wire | None") -> int:
    """Run a session; an expected error becomes one line on stderr and exit code 2."""
    try:
        settings = load_settings()
        # Before LangGraph is imported.
        settle_process(hub=names_hub(given.model or settings.model))
        return _run_session(given, settings, wire)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while packages are imported: a session answers its own signals
        print("stopped; nothing is lost, run the same command again to go on", file=sys.stderr)
        return 130


def _run_session(given: "Given", settings: "Settings", wire: "Wire | None") -> int:
    from graphs.console import standard_console
    from graphs.errors import EXPECTED_ERRORS
    from graphs.session import Session
    from graphs.wiring import wire_research

    console = standard_console(quiet=given.quiet)
    try:
        command = _command(given, settings)
        session = Session(command, wire or wire_research, console, sys.stdin)
        return session.run()
    except EXPECTED_ERRORS as error:
        console.error(error)
        return 2


def _command(given: "Given", settings: "Settings") -> "Command":
    from graphs.session import Command, check_question
    from graphs.wiring import ResearchOptions

    question = None if given.question is None else check_question(given.question)
    if given.seed is not None and not 0 <= given.seed < 2**63:
        raise UserError(f"the seed {given.seed} is not usable: give a whole number from 0 to 2**63")
    if given.open is not None and given.as_json:
        raise UserError("--open shows a page and --json prints one object: give one of them")
    options = ResearchOptions(
        docs=settings.documents([_path("--docs", text) for text in given.docs or ()]),
        index=None if given.index is None else _path("--index", given.index),
        model=given.model or settings.model,
        base_url=given.base_url or settings.base_url,
        embeddings=settings.embeddings,
        seed=given.seed,
        deterministic=given.deterministic,
        explain=given.explain,
    )
    return Command(
        question=question,
        options=options,
        state=settings.state_file() if given.state is None else _path("--state", given.state),
        limits=settings.limits(deterministic=given.deterministic),
        thread=given.thread,
        review=given.review,
        as_json=given.as_json,
        open=given.open,
        pictures=settings.data_dir / "pages",
        explicit=frozenset(
            name
            for name, value in asdict(given).items()
            if not (value is None or value is False or value == [])
        ),
    )


def _path(switch: str, text: str) -> Path:
    if not text.strip():
        raise UserError(f"the path given to {switch} is empty: name one, or . for this folder")
    return Path(text)
