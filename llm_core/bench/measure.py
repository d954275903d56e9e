"""Numbers of several rounds: medians with their range, ratios by round, and who else worked."""

import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_core.threads import machine_seconds

BUSY = 0.15  # share of the processors that others may take before figures are doubtful


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times `ours` is `theirs`, round by round."""
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])


class Watch:
    """Which share of the processors others than this process and its children took."""

    def __init__(self) -> None:
        self._seconds = 0.0  # watched so far, and the work of others in that time
        self._others = 0.0
        self._began = (0.0, 0.0, 0.0)

    def start(self, children: Iterable[int]) -> None:
        """Begin to look; `children` are process ids."""
        self._began = (time.perf_counter(), machine_seconds() or 0.0, _own_work(children))

    def stop(self, children: Iterable[int]) -> None:
        """Add up what happened since `start`."""
        began, work, own = self._began
        self._seconds += time.perf_counter() - began
        self._others += (machine_seconds() or 0.0) - work - (_own_work(children) - own)

    @property
    def share(self) -> float | None:
        """The share over all that was watched, 0 to 1; None where the system does not say."""
        if machine_seconds() is None or not self._seconds:
            return None
        return max(0.0, self._others / (self._seconds * (os.cpu_count() or 1)))

    def warning(self) -> str | None:
        """One line where others took too much for the figures to be trusted."""
        if self.share is None or self.share <= BUSY:
            return None
        return (
            f"other processes took {self.share:.0%} of the processors: figures are too low and "
            "ratios uncertain; run again on a quiet machine"
        )


def _own_work(children: Iterable[int]) -> float:
    return time.process_time() + sum(map(_work_of, children))


def _work_of(process: int) -> float:
    """Seconds of processor time of one process, 0 where it is not shown."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
