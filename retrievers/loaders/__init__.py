"""Read a file of any supported type as pages of text.

Each format is one module with `load(data) -> Loaded`; it is imported when first needed.
"""

import hashlib
import importlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from retrievers.documents import LoadedDocument, Page
from retrievers.errors import DocumentError

SUFFIXES: Final = {
    ".txt": "text", ".text": "text", ".rst": "text",
    ".md": "markdown", ".markdown": "markdown",
    ".html": "html", ".htm": "html", ".xhtml": "html",
    ".pdf": "pdf", ".docx": "docx",
}  # fmt: skip
MAX_BYTES: Final = 200 * 2**20
MAX_CHARACTERS: Final = 50_000_000
MAX_TITLE: Final = 200  # characters
_TITLE_SPACES: Final = str.maketrans("_-", "  ")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a format's loader gives: pages, and a title if the file states one."""

    pages: list[Page]
    title: str = ""


class _Loader(Protocol):
    def load(self, data: bytes) -> Loaded: ...


def load_document(path: Path, root: Path) -> LoadedDocument:
    """Read one document; its `source` is its path relative to `root`.

    Raises DocumentError with the reason: unsupported, unreadable, too large, empty, encrypted,
    image-only, broken or undecodable.
    """
    module = SUFFIXES.get(path.suffix.lower())
    if module is None:
        raise DocumentError(f"unsupported file type {path.suffix or '(no suffix)'!r}")
    data = _read(path)
    loader = cast(_Loader, importlib.import_module(f"retrievers.loaders.{module}"))
    loaded = loader.load(data)
    characters = sum(len(page.text) for page in loaded.pages)
    if characters > MAX_CHARACTERS:
        raise DocumentError(f"too large: {characters:,} characters, limit {MAX_CHARACTERS:,}")
    if not any(page.text.strip() for page in loaded.pages):
        raise DocumentError("empty: no text in it")
    title = " ".join(loaded.title.split())[:MAX_TITLE]
    return LoadedDocument(
        source=_relative(path, root),
        sha256=hashlib.sha256(data).hexdigest(),
        pages=loaded.pages,
        title=title if any(map(str.isalpha, title)) else path.stem.translate(_TITLE_SPACES),
    )


def require_regular(mode: int) -> None:
    """Raise DocumentError unless a file of this mode (of `stat`) ends when it is read."""
    if not stat.S_ISREG(mode):
        raise DocumentError("cannot be read: not a regular file (a folder, a pipe or a device)")


def _read(path: Path) -> bytes:
    try:
        facts = path.stat()
        require_regular(facts.st_mode)
        size = facts.st_size
        if size > MAX_BYTES:
            raise DocumentError(f"too large: {size:,} bytes, limit {MAX_BYTES:,}")
        data = path.read_bytes()
    except OSError as err:
        raise DocumentError(f"cannot be read: {err.strerror or err}") from err
    if not data:
        raise DocumentError("empty: 0 bytes")
    return data


def _relative(path: Path, root: Path) -> str:
    for file, folder in ((path, root), (path.absolute(), root.absolute())):
        if file.is_relative_to(folder):
            return file.relative_to(folder).as_posix()
    return path.name
