"""Read one file into the passages an index keeps; and that as JSON, for a worker process."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from retrievers.chunking import chunk
from retrievers.documents import unicode_name
from retrievers.errors import DocumentChangedError, DocumentError
from retrievers.loaders import Watch, load_document
from retrievers.ranking import Tokenizer, default_tokenizer, search_terms
from retrievers.rows import DocumentRow, NewDocument, NewPassage, searched_hash


@dataclass(frozen=True, slots=True)
class Job:
    """A file to read: where it is, what it is called, and the hash its bytes should have."""

    sha256: str
    source: str
    file: Path
    root: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job; `document` is None where the file changed meanwhile."""

    document: NewDocument | None
    notes: list[str] = field(default_factory=list)  # what was left out of it, a line each


def read_job(job: Job, watch: Watch | None = None) -> Outcome:
    """The document with its passages, or with the reason it is skipped."""
    title, passages, reason = "", list[NewPassage](), None
    try:
        loaded = load_document(job.file, job.root, watch)
        title = unicode_name(loaded.title)
        if loaded.sha256 != job.sha256:
            return Outcome(None)
        tokenize = default_tokenizer()
        passages = [_passage(found, job.source, tokenize) for found in chunk(loaded)]
        reason = None if passages else "empty: no text in it"
    except DocumentChangedError:
        return Outcome(None)
    except DocumentError as err:
        reason = str(err)
    except UnicodeEncodeError:
        passages, reason = [], "its text holds characters that are not Unicode"
    except MemoryError:
        passages, reason = [], "too large: reading it takes more memory than allowed"
    return Outcome(NewDocument(job.sha256, DocumentRow(job.source, reason), title, passages))


def failed(job: Job, reason: str) -> Outcome:
    """The outcome of a job that no worker could end."""
    return Outcome(NewDocument(job.sha256, DocumentRow(job.source, reason), "", []))


def _passage(passage: Document, source: str, tokenize: Tokenizer) -> NewPassage:
    passage.metadata["source"] = source
    passage.metadata["title"] = unicode_name(passage.metadata["title"])
    return NewPassage(passage, searched_hash(passage), search_terms(passage, tokenize))


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Plain values that `outcome_from_json` makes the same outcome of."""
    document = outcome.document
    if document is None:
        return {"changed": True}
    return {
        "sha256": document.sha256,
        "source": document.row.source,
        "reason": document.row.reason,
        "title": document.title,
        "passages": [
            [p.document.id, p.document.page_content, p.document.metadata, p.hash, p.tokens]
            for p in document.passages
        ],
    }


def outcome_from_json(value: dict[str, Any]) -> Outcome:
    """The outcome that `outcome_to_json` was given."""
    if value.get("changed"):
        return Outcome(None)
    passages = [
        NewPassage(Document(id=id_, page_content=text, metadata=metadata), hash_, tokens)
        for id_, text, metadata, hash_, tokens in value["passages"]
    ]
    row = DocumentRow(value["source"], value["reason"])
    return Outcome(NewDocument(value["sha256"], row, value["title"], passages))
