"""From the switches of the command line to one session: defaults, checks, error lines."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphs.settings import load_settings, settle_process

if TYPE_CHECKING:
    from graphs.session import Command
    from graphs.settings import Settings
    from graphs.wiring import Wire


@dataclass(frozen=True)
class Given:
    """The switches as they were given; None is the default of the settings."""

    question: str | None
    docs: tuple[Path, ...]
    index: Path | None
    model: str | None
    base_url: str | None
    as_json: bool
    deterministic: bool
    seed: int | None
    quiet: bool
    thread: str | None
    review: bool
    state: Path | None


def run_command(given: Given, wire: "Wire | None") -> int:
    """Run a session; an expected error becomes one line on stderr and exit code 2."""
    settle_process(hub=(given.model or "").startswith("hf:"))  # before LangGraph is imported

    from graphs.console import standard_console
    from graphs.errors import EXPECTED_ERRORS
    from graphs.session import Session
    from graphs.wiring import wire_research

    console = standard_console(quiet=given.quiet)
    try:
        command = _command(given, load_settings())
        session = Session(command, wire or wire_research, console, sys.stdin)
        return session.run()
    except EXPECTED_ERRORS as error:
        console.error(error)
        return 2


def _command(given: Given, settings: "Settings") -> "Command":
    from graphs.session import Command, check_question
    from graphs.wiring import ResearchOptions

    question = None if given.question is None else check_question(given.question)
    options = ResearchOptions(
        docs=settings.documents(given.docs),
        index=given.index,
        model=given.model or settings.model,
        base_url=given.base_url or settings.base_url,
        embeddings=settings.embeddings,
        seed=given.seed,
        deterministic=given.deterministic,
    )
    return Command(
        question=question,
        options=options,
        state=given.state or settings.state_file(),
        limits=settings.limits(deterministic=given.deterministic),
        thread=given.thread,
        review=given.review,
        as_json=given.as_json,
    )
