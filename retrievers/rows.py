"""What an update hands to the store of an index, and gets back from it."""

import hashlib
from dataclasses import dataclass

from langchain_core.documents import Document

from retrievers.ranking import searchable_text


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as it was last seen: the hash of its bytes and a stamp that changes with it."""

    sha256: str
    stamp: str


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document by content: the first file that holds it, and why it was skipped, if it was."""

    source: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage to store: what is searched of it is known by `hash`, its terms are `tokens`."""

    document: Document
    hash: str
    tokens: list[str]


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to store with all its passages; a skipped one has none."""

    sha256: str
    row: DocumentRow
    title: str
    passages: list[NewPassage]


def searched_hash(passage: Document) -> str:
    """What vector and terms of a passage are known by: its title, which counts twice, and text."""
    title = str(passage.metadata.get("title") or "").strip()
    return hashlib.sha256(f"{title}\0{searchable_text(passage)}".encode()).hexdigest()
