"""Documents on disk and a view of an index that two builds can be compared by."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.kill_ingest import content as content

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


@contextlib.contextmanager
def no_rights(folder: Path) -> Iterator[None]:
    """`folder` is read-only, and we are not root, for whom nothing is."""
    root = os.geteuid() == 0
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
