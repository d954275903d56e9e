"""The parent's side of a contender: a process that is asked one thing at a time."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from llm_core.errors import ModelError
from llm_core.settings import child_environment

ROOT = Path(__file__).resolve().parents[2]
_TUNING = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GGML_")
_SCRIPT = "import sys; sys.path.append({root!r}); from {module} import main; main()"
_LIMIT_SECONDS = 1800.0


class ContenderError(ModelError):
    """A contender did not start, died, or could not do what it was asked."""


@dataclass(frozen=True)
class Recipe:
    """How to start a contender: a module with `main`, a Python, and what `load` is told."""

    name: str
    module: str
    load: Mapping[str, Any] = field(default_factory=dict)
    python: str = sys.executable


class Contender:
    """One running contender; closes with the `with` block.

    The process starts without the environment's tuning of thread libraries, so that each
    contender runs by its own defaults and the number of threads it is told.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.name = recipe.name
        self.recipe = recipe
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        environment = {
            name: value
            for name, value in child_environment(TOKENIZERS_PARALLELISM="false").items()
            if not name.startswith(_TUNING)
        }
        self._began = time.perf_counter()
        try:
            self._process = subprocess.Popen(
                [recipe.python, "-c", _SCRIPT.format(root=str(ROOT), module=recipe.module)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            self._errors.close()
            raise ContenderError(
                f"{recipe.name}: cannot start {recipe.python} ({error.strerror or error}); "
                "give the path of a Python with --python"
            ) from error
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def process_id(self) -> int:
        """The process, for those who watch its work."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self._began

    @cached_property
    def operations(self) -> frozenset[str]:
        """What the contender can be asked."""
        return frozenset(self.ask("operations")["names"])

    def load(self, **more: Any) -> dict[str, Any]:
        """Load the model; the reply's `wall` is the time that took inside the process."""
        return self.ask("load", **self.recipe.load, **more)

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Have the process do one thing; raises ContenderError where it cannot."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"op": operation, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._replies.get(timeout=_LIMIT_SECONDS)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            raise ContenderError(f"{self.name}: no answer to {operation} in time") from None
        if not line:
            self._replies.put("")  # for whoever asks again
            raise ContenderError(f"{self.name}: the process ended: {self._last_words()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContenderError(f"{self.name}: {operation} failed: {reply['error']}")
        return reply

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._replies.put(line)
        except ValueError:  # closed while reading
            return
        self._replies.put("")

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit status {self._process.poll()}"


def has_modules(python: str, names: Sequence[str]) -> bool:
    """Whether `python` could import every one of `names`; none of them is imported."""
    check = (
        "import importlib.util, sys; "
        "sys.exit(any(importlib.util.find_spec(name) is None for name in sys.argv[1:]))"
    )
    try:
        ended = subprocess.run([python, "-c", check, *names], capture_output=True, check=False)
    except OSError:
        return False
    return ended.returncode == 0
