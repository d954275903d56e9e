"""Zip archives, the wrapping of docx, pptx, xlsx and epub: opened within limits.

A small archive may hide a very large one, a member of enormous XML, or millions of members.
"""

import contextlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

from retrievers.errors import DocumentError

MAX_UNPACKED: Final = 300 * 2**20  # bytes of all members together
MAX_XML: Final = 60 * 2**20  # bytes of one XML part; its tree takes about ten times the room
_PIECE: Final = 2**16  # bytes
MAX_MEMBERS: Final = 20_000
OLE: Final = b"\xd0\xcf\x11\xe0"  # what an encrypted document, and one of before 2007, begins with
BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, AttributeError, TypeError),
    *(IndexError, NotImplementedError, RuntimeError, SyntaxError, AssertionError, OSError),
)  # what the parsers of office files raise over damaged ones
_STRICT: Final = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
_TRANSITIONAL: Final = rb"http://schemas.openxmlformats.org/\1/2006/"


def open_archive(data: bytes, kind: str) -> zipfile.ZipFile:
    """The archive; `kind` is the suffix that the reason names, such as ".xlsx".

    Raises DocumentError: not an archive, encrypted, or larger than the limits when unpacked.
    """
    if data.startswith(OLE):
        old = kind.removesuffix("x")
        raise DocumentError(f"encrypted, or an old {old}: save it as {kind} without a password")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except BROKEN as err:
        raise DocumentError(f"broken {kind}: it cannot be opened; save it again") from err
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    xml = (m.file_size for m in members if m.filename.endswith((".xml", ".rels", ".xhtml")))
    if len(members) > MAX_MEMBERS:
        raise DocumentError(f"too large: {len(members):,} members, limit {MAX_MEMBERS:,}")
    if unpacked > MAX_UNPACKED or max(xml, default=0) > MAX_XML:
        raise DocumentError(f"too large: {unpacked:,} bytes when unpacked")
    if any(member.flag_bits & 1 for member in members):
        raise DocumentError(f"encrypted {kind}: save a copy without a password")
    try:
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                _verify(archive, member)
    except BROKEN as err:
        raise DocumentError(f"broken {kind}: it is damaged, or states false sizes") from err
    return archive


def _verify(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Unpack a member piece by piece: its size and checksum must be those it states.

    Read at once, as parsers do, a member that understates its size is unpacked whole before the
    size is looked at.
    """
    with archive.open(member) as stream:
        while stream.read(_PIECE):
            pass


@contextlib.contextmanager
def parsing(kind: str, *errors: type[Exception]) -> Iterator[None]:
    """A parser at work on a file of `kind`; what it raises over a damaged one is DocumentError.

    `errors` are those of the parser itself.
    """
    from lxml.etree import LxmlError

    try:
        yield
    except (*errors, LxmlError, RecursionError, *BROKEN) as err:
        raise DocumentError(f"broken {kind}: it cannot be opened; save it again") from err


def office_file(data: bytes, kind: str) -> io.BytesIO:
    """An office file within the limits, in the transitional dialect if it was strict.

    Raises DocumentError as `open_archive` does.
    """
    with open_archive(data, kind) as archive, parsing(kind):
        if not _STRICT.search(archive.read("_rels/.rels")):
            return io.BytesIO(data)
        rewritten = io.BytesIO()
        with zipfile.ZipFile(rewritten, "w", zipfile.ZIP_DEFLATED) as target:
            for member in archive.infolist():
                content = archive.read(member)
                if member.filename.endswith((".xml", ".rels")):
                    content = _STRICT.sub(_TRANSITIONAL, content)
                target.writestr(member.filename, content)
    rewritten.seek(0)
    return rewritten
