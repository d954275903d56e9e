"""Turn what the disk and SQLite report into one line that names the folder and the mend."""

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from retrievers.errors import IndexStoreError

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_A_FOLDER = {errno.ENOTDIR, errno.EEXIST}


class DamagedIndexError(IndexStoreError):
    """The store of an index is damaged or of another version; it is rebuilt from the files."""


class ReadOnlyIndexError(IndexStoreError):
    """The folder of an index cannot be written; what is in it can perhaps be read."""


@contextlib.contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Raise IndexStoreError for what the person can mend; anything else passes.

    Raises:
        DamagedIndexError: SQLite says that its file is damaged.
    """
    try:
        yield
    except sqlite3.Error as err:
        raise _from_sqlite(err, folder) from err
    except OSError as err:
        raise _from_system(err, folder) from err


def _from_sqlite(err: sqlite3.Error, folder: Path) -> Exception:
    code = getattr(err, "sqlite_errorcode", -1) & 0xFF  # extended codes keep the kind below
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT):
        return DamagedIndexError(f"the index {folder} is damaged: {err}")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _read_only(folder)
    if code == sqlite3.SQLITE_FULL:
        return _full(folder)
    if code == sqlite3.SQLITE_IOERR:
        return IndexStoreError(
            f"the disk failed or is full at the index {folder} ({err}): make room, then run again"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return IndexStoreError(f"the index {folder} is held by another process: run again later")
    return err


def _from_system(err: OSError, folder: Path) -> Exception:
    if err.errno in _READ_ONLY:
        return _read_only(folder)
    if err.errno in _FULL:
        return _full(folder)
    if err.errno in _NOT_A_FOLDER:
        return IndexStoreError(f"the index {folder} is not a folder: name another with --index")
    return err


def _read_only(folder: Path) -> ReadOnlyIndexError:
    return ReadOnlyIndexError(
        f"the index folder {folder} cannot be written: make it writable, "
        "or use another folder with --index"
    )


def _full(folder: Path) -> IndexStoreError:
    return IndexStoreError(
        f"no room on the disk for the index {folder}: make room, then run again; "
        "what was indexed is kept"
    )
