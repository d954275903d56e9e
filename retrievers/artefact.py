"""Folders of index files that are written whole or not at all, and checked when read.

A folder holds its files and `artefact.json`, which names the kind, the format version and the
SHA-256 of every file. It is written beside its final place, flushed, and moved there in one step,
so a reader sees the old folder, the new one, or none.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retrievers.errors import RetrievalError

MANIFEST = "artefact.json"


class ArtefactError(RetrievalError):
    """An index folder is missing, damaged, or of another format; it can be rebuilt."""


def write_artefact(
    folder: Path, kind: str, version: int, fill: Callable[[Path], None], **facts: Any
) -> None:
    """Let `fill` write files into a new folder, seal it with checksums and move it to `folder`.

    Raises:
        OSError: when the place cannot be written; what was at `folder` is then still there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        new.mkdir()
        fill(new)
        files = {file.name: _sha256(file) for file in sorted(new.iterdir())}
        seal = {"kind": kind, "version": version, "files": files, "facts": facts}
        (new / MANIFEST).write_text(json.dumps(seal, indent=1, sort_keys=True), encoding="utf-8")
        for file in new.iterdir():
            _flush(file)
        _swap(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def read_artefact(folder: Path, kind: str, version: int) -> dict[str, Any]:
    """Check every file of `folder` against its seal and return the facts stored with it.

    Raises:
        ArtefactError: a file is missing or changed, or the kind or version is another.
    """
    try:
        seal = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = (seal["kind"], seal["version"])
        files, facts = dict(seal["files"]), dict(seal["facts"])
    except FileNotFoundError:
        raise ArtefactError(f"no index files in {folder}") from None
    except (ValueError, KeyError, TypeError):
        raise ArtefactError(f"{folder / MANIFEST} is damaged") from None
    if found != (kind, version):
        raise ArtefactError(f"{folder} is {found[0]} version {found[1]}, not {kind} {version}")
    for name, digest in files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file() or _sha256(path) != digest:
            raise ArtefactError(f"{path} is missing or damaged")
    return facts


def _swap(new: Path, folder: Path) -> None:
    """Put `new` at `folder`; an older folder there is moved aside first, then deleted."""
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())
