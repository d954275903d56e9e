"""Files that were deleted from an index while they are still in their folder.

`excluded.json` in the folder of the index holds the SHA-256 of their names, not the names. It is
no part of the store, so that what was deleted stays out of a store that is rebuilt from the files.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from retrievers.errors import IndexStoreError
from retrievers.store_errors import store_errors

_NAME = "excluded.json"


def name_hash(source: str) -> str:
    """What a source is known by once it is excluded."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def read_excluded(folder: Path) -> frozenset[str]:
    """The hashes of the names excluded from the index in `folder`.

    Raises:
        IndexStoreError: the list is there and cannot be read: a deleted file must not come back.
    """
    file = folder / _NAME
    try:
        with store_errors(folder):
            held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return frozenset()
    except ValueError:
        held = None
    if not isinstance(held, list) or not all(isinstance(one, str) for one in held):
        raise IndexStoreError(
            f"{file} is damaged: it says which files stay out of the index; "
            "delete it to take all of them back"
        )
    return frozenset(held)


def exclude(folder: Path, sources: Iterable[str]) -> None:
    """Keep `sources` out of the index in `folder` from now on; call it while holding `writing`."""
    _write(folder, read_excluded(folder) | {name_hash(source) for source in sources})


def include_all(folder: Path) -> int:
    """Let every excluded file come back; returns how many there were."""
    held = read_excluded(folder)
    if held:
        _write(folder, frozenset())
    return len(held)


def _write(folder: Path, names: frozenset[str]) -> None:
    """In one step: after a kill there is the list before or the list after."""
    new = folder / f".{_NAME}.{uuid.uuid4().hex[:8]}"
    with store_errors(folder):
        try:
            with new.open("w", encoding="utf-8") as stream:
                json.dump(sorted(names), stream)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(folder / _NAME)
        finally:
            new.unlink(missing_ok=True)
