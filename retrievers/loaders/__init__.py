"""Read a file of any supported type as pages of text.

Each format is one module with `load(data) -> Loaded`; it is imported when first needed.
"""

import hashlib
import importlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Protocol, cast

from retrievers.documents import LoadedDocument, Page
from retrievers.errors import DocumentChangedError, DocumentError


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: the module that reads it, and what its pages are called."""

    module: str
    unit: str = ""  # "" where a document is one page without a number
    guarded: bool = False  # its parser may hang or crash on a hostile file


_CODE: Final = (
    "py pyi pyx js mjs cjs jsx ts tsx java kt kts scala groovy c h cc cpp cxx hh hpp hxx m mm cs fs"
    " vb go rs swift rb php pl pm lua r jl hs ml mli ex exs erl clj cljs lisp el dart zig nim v sv"
    " vhd vhdl f f90 f95 pas ada adb ads asm s sql sh bash zsh fish ps1 bat cmake gradle proto tf"
    " vue svelte tex sty cls"
)
FORMATS: Final[dict[str, Format]] = {
    ".txt": Format("text"), ".text": Format("text"), ".rst": Format("text"),
    ".md": Format("markdown"), ".markdown": Format("markdown"),
    ".html": Format("html", guarded=True), ".htm": Format("html", guarded=True),
    ".xhtml": Format("html", guarded=True),
    ".csv": Format("table"), ".tsv": Format("table"),
    ".pdf": Format("pdf", "page", guarded=True),
    ".docx": Format("docx", guarded=True),
    ".pptx": Format("pptx", "slide", guarded=True),
    ".xlsx": Format("xlsx", "sheet", guarded=True), ".xlsm": Format("xlsx", "sheet", guarded=True),
    ".epub": Format("epub", "part", guarded=True),
    ".eml": Format("mail", guarded=True),
    **{f".{suffix}": Format("code") for suffix in _CODE.split()},
}  # fmt: skip
MAX_BYTES: Final = 200 * 2**20
MAX_CHARACTERS: Final = 50_000_000
MAX_TITLE: Final = 200  # characters
_TITLE_SPACES: Final = str.maketrans("_-", "  ")
_ATTEMPTS: Final = 3  # at reading a file that changes meanwhile


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a format's loader gives: pages, and a title if the file states one."""

    pages: list[Page]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """How a reader follows a file of many pages, and which of its pages it leaves out."""

    page: Callable[[int], None]  # called with each page's number before it is read, 0 at the end
    skip: frozenset[int] = frozenset()


class _Loader(Protocol):
    def load(self, data: bytes) -> Loaded: ...


class _PagedLoader(Protocol):
    def load(self, data: bytes, watch: Watch | None = None) -> Loaded: ...


def load_document(path: Path, root: Path, watch: Watch | None = None) -> LoadedDocument:
    """Read one document; its `source` is its path relative to `root`; `watch` follows a PDF.

    Raises:
        DocumentError: unsupported, unreadable, too large, empty, encrypted, image-only, broken or
            undecodable; the message is the reason.
        DocumentChangedError: it was written to at each attempt to read it.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DocumentError(f"unsupported file type {path.suffix or '(no suffix)'!r}")
    data = read_file(path)
    loaded = read_bytes(data, suffix, watch)
    title = " ".join(loaded.title.split())[:MAX_TITLE]
    return LoadedDocument(
        source=_relative(path, root),
        sha256=hashlib.sha256(data).hexdigest(),
        pages=loaded.pages,
        title=title if any(map(str.isalpha, title)) else _named(path),
        unit=FORMATS[suffix].unit,
    )


def read_bytes(data: bytes, suffix: str, watch: Watch | None = None) -> Loaded:
    """The pages of a file's bytes; `suffix`, one of FORMATS, says what they are.

    Raises DocumentError as `load_document` does.
    """
    if not data:
        raise DocumentError("empty: 0 bytes")
    module = importlib.import_module(f"retrievers.loaders.{FORMATS[suffix].module}")
    try:
        if FORMATS[suffix].unit == "page":
            loaded = cast(_PagedLoader, module).load(data, watch)
        else:
            loaded = cast(_Loader, module).load(data)
    except MemoryError as err:
        raise DocumentError("too large: reading it takes more memory than allowed") from err
    characters = sum(len(page.text) for page in loaded.pages)
    if characters > MAX_CHARACTERS:
        raise DocumentError(f"too large: {characters:,} characters, limit {MAX_CHARACTERS:,}")
    if not any(page.text.strip() for page in loaded.pages):
        raise DocumentError("empty: no text in it")
    return loaded


def unit_of(name: str) -> str:
    """What the numbered parts of a file of this name are called: "page", "slide", "sheet" ..."""
    known = FORMATS.get(PurePath(name).suffix.lower())
    return known.unit if known is not None and known.unit else "page"


def require_regular(mode: int) -> None:
    """Raise DocumentError unless a file of this mode (of `stat`) ends when it is read."""
    if not stat.S_ISREG(mode):
        raise DocumentError("cannot be read: not a regular file (a folder, a pipe or a device)")


def read_file(path: Path) -> bytes:
    """The bytes of a file as it was at one moment.

    Raises DocumentError, and DocumentChangedError where it was written to at every attempt.
    """
    try:
        for _ in range(_ATTEMPTS):
            before = path.stat()  # first, as opening a pipe waits for its other end
            require_regular(before.st_mode)
            if before.st_size > MAX_BYTES:
                raise DocumentError(f"too large: {before.st_size:,} bytes, limit {MAX_BYTES:,}")
            with path.open("rb") as stream:
                data = stream.read(before.st_size + 1)
                after = os.fstat(stream.fileno())
            if len(data) == after.st_size and before.st_mtime_ns == after.st_mtime_ns:
                return data
    except OSError as err:
        raise DocumentError(f"cannot be read: {err.strerror or err}") from err
    raise DocumentChangedError("it changed while it was read: run again")


def _named(path: Path) -> str:
    """A title from the file's name; that of source code is its name as it is."""
    code = FORMATS[path.suffix.lower()].module == "code"
    return path.name if code else path.stem.translate(_TITLE_SPACES)


def _relative(path: Path, root: Path) -> str:
    for file, folder in ((path, root), (path.absolute(), root.absolute())):
        if file.is_relative_to(folder):
            return file.relative_to(folder).as_posix()
    return path.name
