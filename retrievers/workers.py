"""Read files in worker processes: in parallel, and with limits of time and memory.

A parser that hangs is ended with its process, one that crashes takes its process with it; a page
of a PDF that does either is left out, and the file is read again without it.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from retrievers.errors import TOO_SLOW
from retrievers.loaders import FORMATS
from retrievers.reading import Job, Outcome, failed, outcome_from_json, read_job

FILE_SECONDS: Final = 120.0  # to open a file, to read one without pages, to cut it into passages
PAGE_SECONDS: Final = 60.0
MAX_MEMORY: Final = 3 * 2**30  # bytes that one worker may allocate
MAX_BAD_PAGES: Final = 3  # of one file: with more it is given up
MAX_WORKERS: Final = 8
_MANY_BYTES: Final = 4 * 2**20  # of plain text: less is read sooner than a worker has started
_TICK: Final = 0.2  # seconds between looks at the clock
_START: Final = (
    "import sys; sys.path[:] = [p for p in {path!r} if p not in sys.path] + sys.path;"
    " from retrievers.worker import main; main()"
)


def read_jobs(jobs: Sequence[Job]) -> Generator[tuple[Job, Outcome], None, None]:
    """Each job with its outcome, in order; only a few are held in memory at a time."""
    if not jobs:
        return
    if getattr(sys, "frozen", False) or not sys.executable or not _worth_workers(jobs):
        yield from ((job, read_job(job)) for job in jobs)
        return
    with WorkerPool(min(worker_count(), len(jobs))) as pool:
        yield from pool.read(jobs)


def worker_count() -> int:
    """One worker for each core this process may use, within reason."""
    with contextlib.suppress(AttributeError):  # macOS and Windows
        return min(MAX_WORKERS, len(os.sched_getaffinity(0)))
    return min(MAX_WORKERS, os.cpu_count() or 1)


def _worth_workers(jobs: Sequence[Job]) -> bool:
    total = 0
    for job in jobs:
        format_ = FORMATS.get(job.file.suffix.lower())
        if format_ is not None and format_.guarded:
            return True
        with contextlib.suppress(OSError):
            total += job.file.stat().st_size
    return total > _MANY_BYTES


class WorkerPool:
    """Worker processes that read jobs; a context, so that none outlives its use."""

    def __init__(
        self,
        count: int,
        file_seconds: float | None = None,
        page_seconds: float | None = None,
        memory: int | None = None,
    ) -> None:
        self._file_seconds = FILE_SECONDS if file_seconds is None else file_seconds
        self._page_seconds = PAGE_SECONDS if page_seconds is None else page_seconds
        memory = MAX_MEMORY if memory is None else memory
        self._workers = [_Worker(memory) for _ in range(count)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._over = threading.Event()

    def __enter__(self) -> "WorkerPool":
        threading.Thread(target=self._watch, daemon=True, name="reading-watch").start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _err: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        self._over.set()
        for worker in self._workers:
            worker.kill()

    def read(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Each job with its outcome, in order."""
        waiting: deque[tuple[Job, Future[Outcome]]] = deque()
        executor = ThreadPoolExecutor(len(self._workers), thread_name_prefix="reading")
        try:
            for job in jobs:
                waiting.append((job, executor.submit(self._read, job)))
                if len(waiting) > 2 * len(self._workers):
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            self._over.set()
            for worker in self._workers:
                worker.kill()
            executor.shutdown(wait=True, cancel_futures=True)

    def _watch(self) -> None:
        while not self._over.wait(_TICK):
            for worker in self._workers:
                worker.kill_if_late()

    def _read(self, job: Job) -> Outcome:
        worker = self._free.get()
        try:
            return self._read_with(worker, job)
        finally:
            self._free.put(worker)

    def _read_with(self, worker: "_Worker", job: Job) -> Outcome:
        bad: dict[int, str] = {}
        while not self._over.is_set():
            outcome, page, why = worker.read(job, bad, self._file_seconds, self._page_seconds)
            if outcome is not None:
                notes = [f"{job.source}: page {at} was left out: {bad[at]}" for at in sorted(bad)]
                return Outcome(outcome.document, [*outcome.notes, *notes])
            if page is None or page in bad or len(bad) == MAX_BAD_PAGES:
                break
            bad[page] = why
        mend = "; touch the file to try again" if why.startswith(TOO_SLOW) else ""
        return failed(job, f"{why}{mend}")


class _Worker:
    """One process, started when it is first needed and after each death."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._process: subprocess.Popen[str] | None = None
        self._deadline = float("inf")
        self._late = False
        self._lock = threading.Lock()

    def read(
        self, job: Job, skip: dict[int, str], file_seconds: float, page_seconds: float
    ) -> tuple[Outcome | None, int | None, str]:
        """The outcome, or None with the page that the process died at, if any, and why."""
        page: int | None = None
        seconds = file_seconds
        process = self._start(file_seconds)
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(_call(job, skip)) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                message: dict[str, Any] = json.loads(line)
                if "done" in message:
                    return outcome_from_json(message["done"]), None, ""
                page = message.get("page")
                seconds = page_seconds if page else file_seconds
                self._deadline = time.monotonic() + seconds
        except (OSError, ValueError):  # it died in the middle of a message
            pass
        finally:
            self._deadline = float("inf")
        late = self._late
        self.kill()
        slow = f"{TOO_SLOW}: over {seconds:g} s" + (f" for page {page}" if page else "")
        return None, page, slow if late else "broken: reading it ended the process that read it"

    def kill_if_late(self) -> None:
        """End the process if it is past its time."""
        if time.monotonic() > self._deadline:
            self._late = True
            self._deadline = float("inf")
            with self._lock:
                if self._process is not None:
                    self._process.kill()

    def kill(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _start(self, seconds: float) -> subprocess.Popen[str]:
        with self._lock:
            self._late = False
            if self._process is None:
                path = [str(Path(entry or ".").absolute()) for entry in sys.path]
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _START.format(path=path), str(self._memory)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    encoding="utf-8",
                )
            self._deadline = time.monotonic() + seconds
            return self._process


def _call(job: Job, skip: dict[int, str]) -> dict[str, Any]:
    return {
        "sha256": job.sha256,
        "source": job.source,
        "file": os.fspath(job.file),
        "root": os.fspath(job.root),
        "skip": sorted(skip),
    }
