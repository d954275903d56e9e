"""Mail (.eml): its head, its text, and the attachments of the types that can be read."""

import email
import email.policy
from email.errors import MessageError
from email.message import EmailMessage, MIMEPart
from pathlib import PurePath
from typing import Final

from retrievers.documents import Page
from retrievers.encodings import decode
from retrievers.errors import DocumentError
from retrievers.loaders import FORMATS, Loaded, html, read_bytes
from retrievers.loaders.blocks import PageWriter

_HEAD: Final = ("From", "To", "Cc", "Date")
_MAX_NESTING: Final = 3  # mails in mails
_MAX_PARTS: Final = 500
_DAMAGED: Final = (MessageError, LookupError, ValueError, TypeError, AttributeError, AssertionError)


def load(data: bytes) -> Loaded:
    """One page: the subject as its heading, who wrote to whom and when, the text, attachments."""
    return _load(data, 0)


def _load(data: bytes, depth: int) -> Loaded:
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return _read(message, depth)
    except RecursionError as err:
        raise DocumentError("broken mail: its parts are nested too deeply") from err
    except _DAMAGED as err:
        raise DocumentError(f"broken mail: {' '.join(str(err).split())[:80]}") from err


def _read(message: EmailMessage, depth: int) -> Loaded:
    if not message.keys():
        raise DocumentError("broken mail: it has no head")
    writer = PageWriter()
    subject = _header(message, "Subject")
    writer.add(subject, level=1)
    for number, name in enumerate(_HEAD):
        value = _header(message, name)
        writer.add(f"{name}: {value}" if value else "", close=number > 0)
    body = message.get_body(("plain", "html"))
    if isinstance(body, MIMEPart):
        writer.add_page(_body(body), deeper=1)
    for number, part in enumerate(message.iter_attachments()):
        if number >= _MAX_PARTS:
            raise DocumentError(f"too large: a mail of over {_MAX_PARTS} parts")
        _attachment(part, writer, depth)
    return Loaded([writer.page()], subject)


def _header(message: MIMEPart, name: str) -> str:
    return " ".join(str(message.get(name) or "").split())


def _payload(part: MIMEPart) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _body(part: MIMEPart) -> Page:
    payload = _payload(part)
    if not payload.strip():
        return Page(None, "")
    if part.get_content_subtype() == "html":
        return html.load(payload).pages[0]
    return Page(None, decode(payload, part.get_content_charset()))


def _attachment(part: MIMEPart, writer: PageWriter, depth: int) -> None:
    """Its name, then its text; why it has none, where it cannot be read."""
    if part.get_content_type() == "message/rfc822" and depth < _MAX_NESTING:
        inner = part.get_payload(0) if part.is_multipart() else None
        if isinstance(inner, EmailMessage):
            loaded = _read(inner, depth + 1)
            writer.add(f"Attached mail: {loaded.title}", level=2)
            writer.add_page(loaded.pages[0], deeper=2)
        return
    name = PurePath(part.get_filename() or "").name
    suffix = PurePath(name).suffix.lower()
    writer.add(f"Attachment: {name}" if name else "", level=2)
    if suffix not in FORMATS or depth >= _MAX_NESTING:
        return
    payload = _payload(part)
    try:
        loaded = _load(payload, depth + 1) if suffix == ".eml" else read_bytes(payload, suffix)
    except DocumentError as err:
        writer.add(f"(not read: {err})")
        return
    for page in loaded.pages:
        writer.add_page(page, deeper=2)
