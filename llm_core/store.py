"""The model cache: one folder a model, a manifest of hashes in it, replaced in one step.

A folder under `models/` is either whole or absent: files are written to a temporary
folder beside it, flushed, listed in `manifest.json`, and renamed into place under a lock.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llm_core.errors import ModelError, ModelFileError

MANIFEST = "manifest.json"
FETCH = "`python -m graphs.doctor --fetch`"
FORMAT = 1
_TEMPORARY = ".tmp-"


@dataclass(frozen=True)
class StoredFile:
    """What the manifest promises of one file; `mtime_ns` tells when it must be read again."""

    sha256: str
    size: int  # bytes
    mtime_ns: int


@dataclass(frozen=True)
class Manifest:
    """The contents of a cached model folder and where they came from."""

    name: str
    model_hash: str
    source: dict[str, Any]
    files: dict[str, StoredFile]


def models_folder(cache_dir: Path) -> Path:
    """Return the folder that holds the cached models."""
    return cache_dir / "models"


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_hash(hashes: dict[str, str]) -> str:
    """Return one hash for a set of files, given each file's own by name."""
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a cached model, None where there is none to trust."""
    try:
        raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            return None
        files = {
            name: StoredFile(str(entry["sha256"]), int(entry["size"]), int(entry["mtime_ns"]))
            for name, entry in raw["files"].items()
        }
        found = Manifest(raw["name"], raw["model_hash"], dict(raw["source"]), files)
        hashes = {name: entry.sha256 for name, entry in files.items()}
        # A manifest may come with a stranger's folder: it must not lead out of there.
        beside = all(Path(name).name == name for name in files)
        return found if beside and combined_hash(hashes) == found.model_hash else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def find_damage(folder: Path, *, full: bool = False) -> str | None:
    """Say what is wrong with a cached model, None when it is whole.

    A file is hashed only when its size is right and its time stamp has changed since it
    was stored; `full` hashes every file.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return f"{folder / MANIFEST} is missing or unreadable"
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            status = path.stat()
            if not path.is_file():
                return f"{path} is not a file"
            if status.st_size != expected.size:
                return f"{path} has {status.st_size} bytes, {expected.size} were stored"
            unchanged = status.st_mtime_ns == expected.mtime_ns
            if (full or not unchanged) and sha256_of(path) != expected.sha256:
                return f"{path} does not match its SHA-256 {expected.sha256[:12]}…"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
    return None


@contextlib.contextmanager
def writing(cache_dir: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the cache's write lock; what a killed writer left is swept away first.

    `waiting` is called once when another process holds the lock. Raises `ModelError`
    where the folder cannot be written or is full.
    """
    folder = models_folder(cache_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting is not None:
                waiting()
            lock.acquire()
        try:
            for left in folder.glob(_TEMPORARY + "*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            lock.release()
    except OSError as error:
        raise ModelError(
            f"cannot write the model cache {cache_dir} ({error.strerror or error}); "
            "free some space there or set DEERSTALKER_CACHE_DIR to a writable folder"
        ) from error


@contextlib.contextmanager
def scratch(cache_dir: Path) -> Iterator[Path]:
    """Give a temporary folder on the cache's own disk; call it inside `writing`."""
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=models_folder(cache_dir)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(
    prepared: Path,
    cache_dir: Path,
    name: str,
    source: dict[str, Any],
    hashes: Mapping[str, str] | None = None,
) -> Path:
    """Move a prepared folder into the cache as model `name`; call it inside `writing`.

    `hashes` are those that the caller has computed already, by file name.
    """
    files: dict[str, StoredFile] = {}
    for path in sorted(prepared.iterdir()):
        _flush(path)
        status = path.stat()
        digest = (hashes or {}).get(path.name) or sha256_of(path)
        files[path.name] = StoredFile(digest, status.st_size, status.st_mtime_ns)
    model_hash = combined_hash({file: entry.sha256 for file, entry in files.items()})
    manifest = {"format": FORMAT, **asdict(Manifest(name, model_hash, source, files))}
    (prepared / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    _flush(prepared / MANIFEST)
    target = models_folder(cache_dir) / name
    with scratch(cache_dir) as aside:
        if target.exists():  # damaged, or of another release
            target.rename(aside / "old")
        prepared.rename(target)
    return target


def _flush(path: Path) -> None:
    """Force a file's bytes to the disk, so that a rename never outruns its contents."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def require_whole(folder: Path, *, full: bool = False) -> Manifest:
    """Return the manifest of a model folder; raises `ModelFileError` if that is damaged.

    `full` hashes every file, as for `find_damage`.
    """
    damage = find_damage(folder, full=full)
    manifest = read_manifest(folder)
    if damage is not None or manifest is None:
        raise ModelFileError(f"the cached model is damaged: {damage}; run {FETCH} to mend it")
    return manifest
