"""One system measured in a process of its own, so that its memory and its speed are its own.

python -m graphs.evaluate.worker FOLDER SYSTEM    FOLDER holds plan.json; rows go beside it
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from graphs.errors import EXPECTED_ERRORS
from graphs.evaluate.plan import Plan, read_plan
from graphs.evaluate.progress import progress_bar
from graphs.evaluate.rows import RowFile, alone, program_hash
from graphs.evaluate.scoring import Row, Spent, Task, score
from graphs.settings import settle_process
from graphs.stopping import EXIT_STOPPED, StopSignal

if TYPE_CHECKING:
    from graphs.console import Progress
    from graphs.evaluate.kit import Kit
    from graphs.evaluate.systems import System

INDEX: Final = "index"  # not a system: the index is built before any system is measured


def run_stage(
    plan: Plan,
    name: str,
    *,
    kit: "Kit | None" = None,
    quiet: bool = False,
    err: TextIO | None = None,
) -> int:
    """Build the index, or ask a system what it was not asked yet; returns the exit code."""
    settle_process(hub=plan.model.startswith("hf:"))  # before LangGraph is imported

    from graphs.evaluate.kit import real_kit

    stream, stop = err or sys.stderr, StopSignal()
    try:
        with (
            stop.watching(),
            alone(plan.folder),
            progress_bar(stream, quiet=quiet) as progress,
        ):
            _stage(plan, name, kit or real_kit(), stop, progress, stream)
    except EXPECTED_ERRORS as error:
        if not stop.event.is_set():
            print(f"error: {' '.join(str(error).split())}", file=stream)
            return 2
    except (KeyboardInterrupt, Exception):
        if not stop.event.is_set():
            raise
    return EXIT_STOPPED if stop.event.is_set() else 0


def _stage(
    plan: Plan, name: str, kit: "Kit", stop: StopSignal, progress: "Progress", err: TextIO
) -> None:
    from graphs.evaluate.kit import build_index, build_system

    if name == INDEX:
        build_index(plan, kit, progress)
        return
    tasks = plan.tasks()
    system, manifest = build_system(name, plan, kit, stop.event)
    file = RowFile(plan.folder, name, Row)
    if not file.begin({**manifest, "program": program_hash(name)}):
        print(f"{name}: the program or the model changed, so all is asked again", file=err)
    left = [at for at in range(len(tasks)) if at not in file.rows]
    if left:
        with stop.between_steps():
            system.ask(tasks[left[-1]].example.question)  # loads the weights, unmeasured
    for at in left:
        progress(name, len(file.rows), len(tasks))
        if not _ask(system, file, at, tasks[at], stop):
            return
    progress(name, len(file.rows), len(tasks))


def _ask(system: "System", file: RowFile[Row], at: int, task: Task, stop: StopSignal) -> bool:
    """Ask and keep one question; False where the person stopped it, and nothing is kept."""
    with stop.between_steps():
        begun, used = time.perf_counter(), time.process_time()
        reply = system.ask(task.example.question) if not stop.event.is_set() else None
        spent = Spent(
            seconds=round(time.perf_counter() - begun, 4),
            cpu_seconds=round(time.process_time() - used, 4),
            peak_mb=peak_megabytes(),
        )
        if reply is None or stop.event.is_set():  # a reply cut short is no reply
            return False
        file.add(score(at, task, reply, spent))
    return True


def peak_megabytes() -> float | None:
    """The most memory this process ever held, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3 / 1.024), 1)


def main(argv: Sequence[str]) -> int:
    """Run the stage named on the command line; returns the exit code."""
    folder, name, *rest = argv
    return run_stage(read_plan(Path(folder)), name, quiet="--quiet" in rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
