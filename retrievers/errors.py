"""Errors of the document side, each one line that names the value and the mend."""

from typing import Final

TOO_SLOW: Final = "too slow"  # begins the reason of a document that may be read another time


class RetrievalError(Exception):
    """Something about documents or an index that the person can mend."""


class DocumentError(RetrievalError):
    """A document cannot be read; the message is the reason shown beside its name."""


class DocumentChangedError(DocumentError):
    """A document was written to while it was read; it can be read another time."""


class IndexStoreError(RetrievalError):
    """The index folder cannot be used: read-only, full, or held by another process."""
