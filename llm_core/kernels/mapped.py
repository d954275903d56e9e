"""One file of named arrays, read into huge pages or mapped read-only: never held twice.

Layout: the magic, the header's length (uint64), a JSON header, then each array at a multiple
of 4,096 bytes. The header's `sealed` is the file's own time stamp: while both agree the
contents are taken as written, otherwise they are hashed, and a damaged file reads as absent.
"""

import hashlib
import json
import math
import mmap
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_core.kernels.memory import LEAST, zeroed

MAGIC = b"DSPACK01"
TEMPORARY = ".tmp-"  # of files being written
ALIGNMENT = 4096  # bytes; a page, and a multiple of every vector width
_LARGEST_HEADER = 16 << 20
_MOST_READ = 2 << 30  # bytes; larger models stay maps, which the system can drop
_BLANK = "0" * 64

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class ArraySpec:
    """The place of one array; `make` gives its contents when the file is written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], Array]

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return int(np.dtype(self.dtype).itemsize) * math.prod(self.shape)


def write_mapped(path: Path, key: str, meta: dict[str, Any], specs: list[ArraySpec]) -> None:
    """Write the arrays of `specs` beside `path` and rename the whole file into place.

    One array is in memory at a time. Raises OSError where the folder cannot be written.
    """
    entries: dict[str, dict[str, Any]] = {}
    end = 0
    for spec in specs:
        entries[spec.name] = {"at": end, "dtype": spec.dtype, "shape": list(spec.shape)}
        end = _aligned(end + spec.size)
    header: dict[str, Any] = {
        "key": key,
        "meta": meta,
        "arrays": entries,
        "bytes": end,
        "sha256": _BLANK,
    }
    header["sealed"] = time.time_ns()
    length = _aligned(len(MAGIC) + 8 + len(json.dumps(header)))
    handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.seek(length)
            digest = _digest(header)
            for spec in specs:
                _write_array(file, digest, spec)
            header["sha256"] = digest.hexdigest()
            text = json.dumps(header).encode()
            file.seek(0)
            file.write(MAGIC + (length - len(MAGIC) - 8).to_bytes(8, "little"))
            file.write(text.ljust(length - len(MAGIC) - 8))
            file.flush()
            os.fsync(file.fileno())
        os.utime(name, ns=(header["sealed"], header["sealed"]))
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_mapped(path: Path, key: str) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """Return the `meta` and the arrays of a file, None where it is absent, damaged or another's.

    The arrays are read-only views of the file's contents.
    """
    try:
        begin, header, status = _read_header(path)
        if header["key"] != key or status.st_size != begin + header["bytes"]:
            return None
        whole = _contents(path, status.st_size)
        if status.st_mtime_ns != header["sealed"] and not _is_whole(header, whole[begin:]):
            return None
        meta: dict[str, Any] = header["meta"]
        return meta, {name: _view(whole, begin, entry) for name, entry in header["arrays"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _contents(path: Path, size: int) -> Array:
    """The bytes of a file, read-only: in huge pages, or as a map where there are none."""
    if not (hasattr(mmap, "MADV_HUGEPAGE") and LEAST <= size <= _MOST_READ):
        return np.memmap(path, dtype=np.uint8, mode="r")
    whole = zeroed(size, _MOST_READ)
    with path.open("rb", buffering=0) as file:
        view, at = whole.data, 0
        while at < size and (count := file.readinto(view[at:])):
            at += count
    if at < size:
        raise ValueError(f"{path} ends early")
    whole.flags.writeable = False
    return whole


def read_meta(path: Path) -> dict[str, Any] | None:
    """Return the `meta` of a file without looking at its arrays, None where it is damaged."""
    try:
        meta: dict[str, Any] = _read_header(path)[1]["meta"]
        return meta
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_header(path: Path) -> tuple[int, dict[str, Any], os.stat_result]:
    """Where the arrays begin, the header, and the file's status; ValueError if it is none."""
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + 8)
        length = int.from_bytes(start[len(MAGIC) :], "little")
        if start[: len(MAGIC)] != MAGIC or length > _LARGEST_HEADER:
            raise ValueError(f"{path} is no file of mapped arrays")
        header: dict[str, Any] = json.loads(file.read(length))
        return len(MAGIC) + 8 + length, header, os.fstat(file.fileno())


def _digest(header: dict[str, Any]) -> Any:
    """The hash of all that the header describes, before the arrays' bytes are added."""
    facts = [header["key"], header["meta"], header["arrays"]]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode())


def _is_whole(header: dict[str, Any], contents: Array) -> bool:
    digest = _digest(header)
    digest.update(contents)
    return bool(digest.hexdigest() == header["sha256"])


def _write_array(file: Any, digest: Any, spec: ArraySpec) -> None:
    made = np.ascontiguousarray(spec.make())
    if made.shape != spec.shape or made.dtype != np.dtype(spec.dtype):
        raise AssertionError(f"{spec.name}: {made.dtype} {made.shape}, not as announced")
    padding = bytes(_aligned(spec.size) - spec.size)
    for piece in (made.reshape(-1).view(np.uint8).data, padding):
        file.write(piece)
        digest.update(piece)


def _view(whole: Array, begin: int, entry: dict[str, Any]) -> Array:
    dtype = np.dtype(entry["dtype"])
    shape = tuple(entry["shape"])
    start = begin + entry["at"]
    raw: Array = whole[start : start + dtype.itemsize * math.prod(shape)]
    array: Array = np.asarray(raw).view(dtype).reshape(shape)
    return array


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
