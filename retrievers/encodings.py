"""Bytes to text: byte order marks, UTF-8, Thai code pages, then a statistical guess."""

import codecs
import re

from retrievers.errors import DocumentError
from retrievers.language import common_word_share

_MARKS: tuple[tuple[bytes, str], ...] = (
    # UTF-32 first: its little-endian mark begins with the UTF-16 one.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 200_000  # bytes looked at by the statistical guess: it is slow on large input
_MAX_CONTROL_SHARE = 0.01
_WESTERN_SHARE = 0.12  # of common words; see language.common_word_share
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_THAI = re.compile(r"[\u0e01-\u0e5b]")
# A vowel or tone mark that stands on nothing: impossible in Thai, common in a wrong guess.
_THAI_BROKEN = re.compile(r"(?:^|[^\u0e01-\u0e4e])[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]")
_OTHER_HIGH = re.compile(r"[^\x00-\x7f\u0e01-\u0e5b\u2018-\u201d\u2013\u2014\u2026\u00a0]")


def decode(data: bytes, declared: str | None = None) -> str:
    """Text of `data` with line ends as LF; raises DocumentError where the bytes are not text."""
    text = _decode(data, declared)
    controls = len(_CONTROL.findall(text))
    if controls > max(1, _MAX_CONTROL_SHARE * len(text)):
        raise DocumentError("not a text file (binary data)")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", " ")


def _decode(data: bytes, declared: str | None) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _strict(data, name) or _fail(f"has a {name} mark but is not {name}")
    text = _strict(data, "utf-8") if b"\x00" not in data else _utf16_without_mark(data)
    if text is None and declared:
        text = _strict(data, declared)
    if text is None:
        text = _thai(data) or _guess(data)
    return text if text is not None else _fail("text encoding not recognised")


def _fail(reason: str) -> str:
    raise DocumentError(f"undecodable: {reason}; save it as UTF-8")


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _utf16_without_mark(data: bytes) -> str | None:
    """UTF-16 of mostly ASCII text shows as a zero in every second byte."""
    head = data[: _SAMPLE - _SAMPLE % 2]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = max(1, len(head) // 2)
    if odd > 0.4 * half and even < 0.05 * half:
        return _strict(data, "utf-16-le")
    if even > 0.4 * half and odd < 0.05 * half:
        return _strict(data, "utf-16-be")
    return _strict(data, "utf-8")


def _thai(data: bytes) -> str | None:
    """Windows-874 (a superset of TIS-620), when nearly all high characters form legal Thai."""
    text = _strict(data, "cp874")
    if text is None:
        return None
    thai = len(_THAI.findall(text))
    if thai < 4 or len(_OTHER_HIGH.findall(text)) > 0.05 * thai:
        return None
    return text if len(_THAI_BROKEN.findall(text)) <= 0.02 * thai else None


def _guess(data: bytes) -> str | None:
    from charset_normalizer import from_bytes

    western = _strict(data, "cp1252")
    if western is not None and common_word_share(western) >= _WESTERN_SHARE:
        return western  # the statistical guess is poor at short texts with few accents
    best = from_bytes(data[:_SAMPLE]).best()
    if best is not None:
        text = _strict(data, best.encoding)
        if text is not None:
            return text
    return western if western is not None else _strict(data, "latin-1")
