"""The child's side of a contender: one JSON request a line on stdin, one reply a line on stdout.

It imports nothing but the standard library, so that it also runs under the Python of an
environment where only a rival is installed.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Result = dict[str, Any]
Operation = Callable[..., Result]


def serve(operations: Mapping[str, Operation]) -> None:
    """Answer requests {"op": name, ...} until stdin ends.

    A reply holds what the operation returned with `wall` and `cpu`, the seconds that it took, or
    `error`, one line. What libraries print on stdout goes to stderr.
    """
    operations = {**operations, "operations": lambda: {"names": sorted(operations)}}
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        operation = operations[request.pop("op")]
        began, spent = time.perf_counter(), time.process_time()
        try:
            reply = operation(**request)
        except Exception as error:  # told to the parent, with the traceback on stderr
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        reply["wall"] = time.perf_counter() - began
        reply["cpu"] = time.process_time() - spent
        print(json.dumps(reply), file=replies, flush=True)


def peak_memory() -> Result:
    """The most memory this process had resident since it began, as `bytes` (None: unknown)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return {"bytes": int(line.split()[1]) * 1024}
    try:
        import resource
    except ImportError:  # Windows
        return {"bytes": None}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"bytes": peak if sys.platform == "darwin" else peak * 1024}


class Clock:
    """When each token of a reply came, counted from the clock's making."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._times: list[float] = []

    def tick(self) -> None:
        """Note that a token came."""
        self._times.append(time.perf_counter() - self._began)

    def result(self, tokens: list[int]) -> Result:
        """The reply `tokens`, seconds to the `first` of them, and seconds for the `rest`."""
        return {
            "first": self._times[0],
            "rest": self._times[-1] - self._times[0],
            "tokens": tokens,
        }
