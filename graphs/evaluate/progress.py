"""Progress on stderr: a bar with the time left, or a line every few seconds without a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from graphs.console import Progress

LINE_EVERY_SECONDS: Final = 10.0


@contextmanager
def progress_bar(err: TextIO, *, quiet: bool = False) -> Iterator[Progress]:
    """Give a callback that shows (stage, how much is done, of how many)."""
    if quiet:
        yield lambda *_: None
    elif err.isatty():
        with _bars(err) as show:
            yield show
    else:
        yield _Lines(err, time.monotonic)


@contextmanager
def _bars(err: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, TimeRemainingColumn(), console=Console(file=err)) as bars:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, completed=done)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


class _Lines:
    """One line for the first and the last call of a stage, and one every few seconds."""

    def __init__(self, err: TextIO, clock: Callable[[], float]) -> None:
        self._err = err
        self._clock = clock
        self._begun: dict[str, tuple[float, int]] = {}
        self._shown: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        begun, before = self._begun.setdefault(stage, (now, done))
        last = self._shown.get(stage)
        if last is not None and now - last < LINE_EVERY_SECONDS and done < total:
            return
        self._shown[stage] = now
        new = done - before
        left = (
            f", {(now - begun) / new * (total - done):.0f} s left" if new and done < total else ""
        )
        print(f"{stage} {done}/{total}{left}", file=self._err, flush=True)
