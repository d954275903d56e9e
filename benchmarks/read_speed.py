"""How fast files are read: by this process alone, and by one worker process a core.

    python -m benchmarks.read_speed FOLDER --rounds 3

FOLDER holds documents of any kind we read. Every round reads all of them in each way, in turn.
Workers read each file under limits of time and memory, so one worker alone shows what the limits
cost, and several what they gain. Embedding takes no part. Other programs should rest meanwhile.
The last line of stdout is JSON.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from llm_core.bench.measure import Spread, ratio
from llm_core.bench.report import show, table
from retrievers.discover import discover
from retrievers.errors import DocumentError
from retrievers.reading import Job, Outcome, read_job
from retrievers.workers import WorkerPool, worker_count

ALONE = 0  # workers: none, this process reads


def list_jobs(folder: Path) -> list[Job]:
    """Every document under `folder`."""
    return [
        Job(hashlib.sha256(file.read_bytes()).hexdigest(), file.name, file, folder)
        for file in discover([folder])
    ]


def read_all(jobs: Sequence[Job], workers: int) -> tuple[float, int]:
    """Seconds to read every job, the start of the workers included, and passages found."""
    began = time.perf_counter()
    if workers == ALONE:
        passages = _count((job, read_job(job)) for job in jobs)
    else:
        with WorkerPool(workers) as pool:
            passages = _count(pool.read(jobs))
    return time.perf_counter() - began, passages


def _count(outcomes: Iterable[tuple[Job, Outcome]]) -> int:
    return sum(len(one.document.passages) for _, one in outcomes if one.document is not None)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="read_speed", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)
    try:
        jobs = list_jobs(given.folder)
    except DocumentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not jobs or given.rounds < 1:
        print(f"error: nothing to read in {given.folder}", file=sys.stderr)
        return 2
    ways = sorted({ALONE, 1, worker_count()})
    seconds: dict[int, list[float]] = {way: [] for way in ways}
    found: dict[int, int] = {}
    for number in range(given.rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            took, found[way] = read_all(jobs, way)
            seconds[way].append(took)
            print(f"round {number + 1}: {way} workers, {took:.1f} s", file=sys.stderr, flush=True)
    names = {way: "this process" if way == ALONE else f"{way} workers" for way in ways}
    rows = [
        [
            names[way],
            show(Spread.of(seconds[way])),
            show(ratio(seconds[ALONE], seconds[way]), 2) + "x",
            str(found[way]),
        ]
        for way in ways
    ]
    print("\n".join(table([f"{len(jobs)} files", "seconds", "as fast", "passages"], rows)))
    medians = {names[way]: round(Spread.of(seconds[way]).median, 2) for way in ways}
    print(json.dumps({"files": len(jobs), "seconds": medians, "passages": found[ways[-1]]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
