"""Documents on disk and a view of an index that two builds can be compared by."""

import hashlib
import sqlite3
from pathlib import Path

STORIES = {
    "goose.txt": "Ryder fed the blue carbuncle to a goose. The goose was sold at the market. "
    "Holmes found the stone in its crop.",
    "league.txt": "Wilson copied the encyclopaedia for the red headed league. "
    "The bank lay behind the wall of his cellar.",
    "letters/scandal.txt": "The photograph was hidden behind a sliding panel. "
    "Irene left a letter for Holmes.",
}


def write_stories(folder: Path, copies: int = 1) -> Path:
    """The stories, and `copies` - 1 variants of each, under `folder`."""
    for number in range(copies):
        for name, text in STORIES.items():
            file = folder / (name if number == 0 else f"more{number:03}/{name}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + (f" Edition {number}." if number else ""), encoding="utf-8")
    return folder


def content(index: Path) -> dict[str, object]:
    """All that an index holds, apart from stamps and places of files: rows, and hashes of other files."""
    with sqlite3.connect(index / "corpus.sqlite") as connection:
        tables = {
            "meta": "SELECT * FROM meta WHERE key NOT IN ('root', 'paths') ORDER BY key",
            "files": "SELECT source, sha256 FROM files ORDER BY source",
            "documents": "SELECT * FROM documents ORDER BY sha256",
            "texts": "SELECT * FROM texts ORDER BY hash",
            "passages": "SELECT * FROM passages ORDER BY id",
        }
        rows: dict[str, object] = {
            name: connection.execute(query).fetchall() for name, query in tables.items()
        }
    connection.close()
    for file in sorted((index / "generations").rglob("*")):
        if file.is_file():
            name = file.relative_to(index).as_posix()
            rows[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return rows
