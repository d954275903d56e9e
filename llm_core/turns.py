"""Who may use the model next: callers in the order in which they came, small passes together.

Reading the weights once for several callers costs little more than for one, so whoever runs a
pass takes the small passes of the callers behind along. That is done only where a backend
gives each row the same bits in any company; elsewhere this is a plain fair lock.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from llm_core.backend import Backend, KVCache, Rows
from llm_core.packing import joined

if TYPE_CHECKING:
    from llm_core.adapters import Adapter

_POLL = 0.05  # seconds between two looks at `cancel` while waiting


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False)
class Pass:
    """One forward pass that a caller waits for; see `Backend.forward` for the fields."""

    rows: Rows
    caches: Sequence[KVCache]
    reads: Sequence[int]
    adapter: "Adapter | None" = None
    threads: Callable[[], int | None] = lambda: None
    alone: bool = False  # never run together with others
    logits: Tensor | None = None
    leads: bool = False  # whether its caller is the one who runs passes now
    signal: threading.Lock = field(default_factory=_taken_lock)  # released to wake its caller


class Turns:
    """The passes that wait for one backend; safe to use from several threads."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._guard = threading.Lock()
        self._busy = False
        self._queue: deque[Pass] = deque()

    def waiting(self) -> int:
        """How many passes wait at this moment."""
        return len(self._queue)

    def run(self, job: Pass, cancel: threading.Event | None = None) -> Tensor | None:
        """The logits of a pass; None, without having run it, where `cancel` came first."""
        with self._guard:
            job.leads, self._busy = not self._busy, True
            self._queue.append(job)
        try:
            if not job.leads:
                self._wait(job, cancel)
            if job.leads and (cancel is None or not cancel.is_set()):
                self._lead(job)
        finally:  # cancelled, or interrupted (Ctrl-C): nobody may wait for this caller to lead
            self._withdraw(job)
        return job.logits

    def _wait(self, job: Pass, cancel: threading.Event | None) -> None:
        """Return when the pass has been run, is withdrawn, or its caller is to lead."""
        while not job.signal.acquire(timeout=-1 if cancel is None else _POLL):
            if cancel is not None and cancel.is_set() and self._withdraw(job):
                return

    def _withdraw(self, job: Pass) -> bool:
        """Take a pass out of the line; False where it is being run, or has been."""
        with self._guard:
            if job not in self._queue:
                return False
            self._queue.remove(job)
            if job.leads:
                job.leads = False
                self._hand_over()
            return True

    def _lead(self, job: Pass) -> None:
        riders: list[Pass] = []
        try:
            with self._guard:
                self._queue.remove(job)
                riders = self._riders(job)
            try:
                self._forward([job, *riders])
                riders = []
            except Exception:
                if not riders:
                    raise
                for rider in riders:  # one of all these passes is wrong: each stands alone
                    rider.alone = True
                self._forward([job])
        finally:
            with self._guard:
                self._queue.extendleft(reversed(riders))
                job.leads = False
                self._hand_over()

    def _riders(self, job: Pass) -> list[Pass]:
        """Take the passes that may be run together with `job` out of the line."""
        if job.alone or not self._backend.invariant:
            return []
        key = None if job.adapter is None else job.adapter.key
        room = self._backend.chunk - len(job.rows.tokens)
        riders: list[Pass] = []
        for other in self._queue:
            same = key == (None if other.adapter is None else other.adapter.key)
            if same and not other.alone and len(other.rows.tokens) <= room:
                riders.append(other)
                room -= len(other.rows.tokens)
        for rider in riders:
            self._queue.remove(rider)
        return riders

    def _forward(self, jobs: list[Pass]) -> None:
        """Run passes as one, and wake the callers of all but the first."""
        first = jobs[0]
        rows, reads = joined([(job.rows, len(job.caches), job.reads) for job in jobs])
        caches = [cache for job in jobs for cache in job.caches]
        logits = self._backend.forward(rows, caches, reads, first.adapter, first.threads())
        at = 0
        for job in jobs:
            job.logits = logits[at : at + len(job.reads)]
            at += len(job.reads)
            if job is not first:
                job.signal.release()

    def _hand_over(self) -> None:
        """Let the next caller lead; the guard is held."""
        if self._queue:
            self._queue[0].leads = True
            self._queue[0].signal.release()
        else:
            self._busy = False
