"""Find the documents under the folders a person names."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from retrievers.errors import DocumentError
from retrievers.loaders import FORMATS

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})


def discover(
    paths: Sequence[Path], unreadable: Callable[[OSError], None] | None = None
) -> list[Path]:
    """Supported files under `paths`, sorted and without repeats.

    Hidden files and folders are skipped, and so are symbolic links that leave the folder named.
    A file named itself is always listed, so that its loader can say why it cannot be read.
    `unreadable` gets the error of each folder that cannot be listed; its `filename` is the folder.
    Raises DocumentError for a path that does not exist.
    """
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            found.update(_walk(path, unreadable))
        elif path.exists():
            found.add(path)
        else:
            raise DocumentError(f"{path}: no such file or folder; name an existing one")
    return sorted(found, key=lambda path: path.as_posix())


def common_root(paths: Sequence[Path]) -> Path:
    """The folder that sources are named relative to: the one named, or the closest shared one."""
    folders = [path if path.is_dir() else path.parent for path in paths] or [Path()]
    absolute = [folder.absolute() for folder in folders]
    try:
        return Path(os.path.commonpath(absolute))
    except ValueError:  # different drives
        return absolute[0]


def _walk(root: Path, unreadable: Callable[[OSError], None] | None) -> Iterator[Path]:
    """Files to read under `root`; without recursion, as folders may be nested very deeply."""
    resolved_root = root.resolve()
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as err:
            if unreadable is not None:
                unreadable(err)
            continue
        for entry in entries:
            if entry.name.startswith((".", "~$")):  # "~$": a word processor has the file open
                continue
            if _is_folder(entry):
                if entry.name not in _SKIPPED_FOLDERS:
                    waiting.append(entry.path)
                continue
            path = Path(entry.path)
            if path.suffix.lower() in FORMATS and _is_inside(path, resolved_root):
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, and no link to one: that way lie loops, and other folders."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_inside(path: Path, resolved_root: Path) -> bool:
    """Whether it is a regular file, and no link that leaves the folder; yes if none can tell."""
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(resolved_root):
            return False
        return path.is_file()
    except PermissionError:  # the folder can be listed and not entered: reading it says why
        return True
    except (OSError, RuntimeError):  # a link to itself, a name too long
        return False
