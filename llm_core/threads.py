"""How many threads a forward pass should take, given what else the machine is doing.

Two threads that wait for each other at every layer collapse when one of their cores is busy
with another program: ten to fifty times slower than one thread. So the processor time that
others use is measured, and while it is high one thread does all the work.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

_WINDOW = 0.25  # seconds between two measurements
_BUSY, _CALM = 0.5, 0.2  # use of a core by others that takes it away, and that gives it back
_PATIENCE = 3  # calm measurements in a row before more threads are used again
_MOST = 16  # threads beyond this gain nothing for models of this size


@cache
def core_count() -> int:
    """Physical cores this process may use, within its container's quota; at least 1."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # macOS and Windows have no affinity of this kind
        return max(1, min(os.cpu_count() or 1, _MOST))
    folder = Path("/sys/devices/system/cpu")
    cores = set()
    for number in allowed:
        siblings = _read(folder / f"cpu{number}" / "topology" / "thread_siblings_list")
        cores.add(siblings or str(number))
    return max(1, min(len(cores), _quota(), _MOST))


def _quota() -> int:
    """Whole processors that the container's control group grants; many where it sets none."""
    words = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        return max(1, int(words[0]) // int(words[1]))
    return os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def machine_seconds() -> float | None:
    """Processor seconds spent on this machine by anyone since it started; None if unknown."""
    line = _read(Path("/proc/stat")).split("\n", 1)[0].split()
    if len(line) < 9 or line[0] != "cpu":
        return None
    user, nice, system, _idle, _wait, irq, soft, steal = (int(word) for word in line[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


class ThreadGovernor:
    """Gives the number of threads for the next forward pass: as many as there are free cores.

    At most `most`, at least one. Fewer at the first busy measurement, more only after several
    calm ones. `used`, `own` and `clock` are there for tests. Where the machine's use cannot be
    read (outside Linux) it is always `most`.
    """

    def __init__(
        self,
        most: int | None = None,
        *,
        cores: int | None = None,
        used: Callable[[], float | None] = machine_seconds,
        own: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most or core_count()
        self._cores = cores or os.cpu_count() or 1
        self._used, self._own, self._clock = used, own, clock
        self._lock = threading.Lock()
        self._mark = self._read()
        self._now = self._most
        self._calm = 0

    def count(self) -> int:
        """Threads to use now; reads the machine's load at most four times a second."""
        if self._most == 1:
            return 1
        with self._lock:
            if self._clock() - self._mark[0] >= _WINDOW:
                self._measure()
            return self._now

    def _read(self) -> tuple[float, float | None, float]:
        return self._clock(), self._used(), self._own()

    def _measure(self) -> None:
        before, self._mark = self._mark, self._read()
        if before[1] is None or self._mark[1] is None:
            return
        passed = self._mark[0] - before[0]
        others = (self._mark[1] - before[1] - (self._mark[2] - before[2])) / passed
        free = self._cores - others
        self._calm = self._calm + 1 if self._fit(free + _CALM) > self._now else 0
        if self._fit(free + _BUSY) < self._now:
            self._now = self._fit(free + _BUSY)
        elif self._calm >= _PATIENCE:
            self._now = self._fit(free + _CALM)

    def _fit(self, free: float) -> int:
        return max(1, min(int(free), self._most))
