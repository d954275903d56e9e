"""A process that reads files for another one: a hostile file can harm this process alone.

Each line of stdin is a job and each line of stdout a message, both in JSON: {"page": n} as a page
is begun, {"read": true} once the pages are read, then {"done": outcome}. It ends with its stdin.
"""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from retrievers.loaders import Watch
from retrievers.reading import Job, outcome_to_json, read_job


def main() -> None:
    """Serve jobs until stdin ends; the first argument is the limit of memory in bytes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    _limit_memory(int(sys.argv[1]))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a parser prints is no message
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin:
            _serve(json.loads(line), out)


def _serve(call: dict[str, Any], out: TextIO) -> None:
    job = Job(call["sha256"], call["source"], Path(call["file"]), Path(call["root"]))

    def say(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    def page(number: int) -> None:
        say({"page": number} if number else {"read": True})

    outcome = read_job(job, Watch(page, frozenset(call["skip"])))
    say({"done": outcome_to_json(outcome)})


def _limit_memory(limit: int) -> None:
    """Bound what this process may allocate, on systems that can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
