"""Rows on disk as they come: a JSONL file a system, which a later run continues."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from filelock import FileLock, Timeout

from graphs.errors import UserError


class Numbered(Protocol):
    """A row: a dataclass of JSON values that knows the number of its question."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def at(self) -> int: ...


R = TypeVar("R", bound=Numbered)
_PACKAGES = ("agents", "graphs", "llm_core", "retrievers", "tools")
_SCORING = ("graphs/evaluate", "graphs/qa_metrics.py", "graphs/squad.py")
_PLAIN = (*_SCORING, "graphs/models.py", "graphs/run_model.py", "llm_core", "retrievers")


class RowFile(Generic[R]):
    """The rows of one system; the first line is the manifest that they were made with."""

    def __init__(self, folder: Path, system: str, kind: type[R]) -> None:
        self._kind = kind
        self.path = folder / f"{system}.jsonl"
        self.manifest: dict[str, Any] | None = None
        self.rows: dict[int, R] = {}
        self._read()

    def begin(self, manifest: Mapping[str, Any]) -> bool:
        """Continue under `manifest`; rows made with another one are dropped, and False returned."""
        given = json.loads(json.dumps(manifest))
        same = self.manifest is None or self.manifest == given
        if not same:
            self.rows = {}
        self.manifest = given
        lines = [{"manifest": given}, *(asdict(self.rows[at]) for at in sorted(self.rows))]
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(_line(value) for value in lines), encoding="utf-8")
        fresh.replace(self.path)
        return same

    def add(self, row: R) -> None:
        """Keep a row, on disk before this returns."""
        self.rows[row.at] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(asdict(row)))

    def _read(self) -> None:
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                value = json.loads(line)
                if "manifest" in value:
                    self.manifest = value["manifest"]
                else:
                    self.rows[value["at"]] = self._kind(**value)
            except (ValueError, TypeError, KeyError):  # a line cut short, or of another version
                continue
        if self.manifest is None:
            self.rows = {}


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the rows of `folder`; raises UserError where another process does."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process runs the same evaluation in {folder}: wait for it, or give --work"
        ) from None
    try:
        yield
    finally:
        lock.release()


def program_hash(system: str) -> str:
    """A hash of the code and data that a system's rows depend on: other rows do not mix in.

    Quoting and the plain chain have no agents, so work on those does not cost their rows.
    """
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for name in _PACKAGES if system == "ours" else _PLAIN:
        place = root / name
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(root)).encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value) + "\n"  # ASCII: no sign in it ends a line, or cannot be encoded
