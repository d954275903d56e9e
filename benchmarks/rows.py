"""Rows of a long measurement, kept in a file as they come: a run that is stopped loses none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_core.errors import ModelError


class KeptRows:
    """Rows in a file of JSON lines, or in memory alone where there is no path.

    `about` says what was measured and stands in the file's first line. Files of several runs
    may be put one behind the other. Raises ModelError where the file is about anything else.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any]) -> None:
        self._path = path
        self._head = {"about": dict(about)}
        self.rows: list[dict[str, Any]] = []
        if path is None:
            return
        lines = self._lines(path)
        self.rows = [line for line in lines if "about" not in line]
        other = next((line for line in lines if "about" in line and line != self._head), None)
        if other is not None or (lines and "about" not in lines[0]):
            found = json.dumps(other["about"]) if other else "something else"
            asked = json.dumps(self._head["about"])
            raise ModelError(f"{path} holds rows of {found}, not of {asked}; give another file")
        if not lines:
            self._write(self._head)

    def add(self, row: dict[str, Any]) -> None:
        """Keep one row."""
        self.rows.append(row)
        self._write(row)

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")

    def _lines(self, path: Path) -> list[dict[str, Any]]:
        """The whole lines of the file; one that was cut short is removed from it."""
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                path.write_text(whole, encoding="utf-8")
            return [dict(json.loads(line)) for line in whole.splitlines()]
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"{path} cannot be read as rows of a run: {error}") from error
