"""Questions in SQuAD layout, one JSON object a line, and a document corpus of their paragraphs."""

import gzip
import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphs.errors import UserError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from retrievers.pipeline import Library


@dataclass(frozen=True)
class Example:
    """A question, the paragraph it was written for, and its answers (none: unanswerable)."""

    id: str
    title: str
    question: str
    context: str
    answers: tuple[str, ...]

    @property
    def source(self) -> str:
        """The file that the paragraph is in a corpus built from the examples.

        The file is named by the title, as a person's files are; its folder tells it apart.
        """
        name = re.sub(r"[^\w-]+", "_", self.title)[:60] or "untitled"
        return f"{hashlib.sha256(self.context.encode()).hexdigest()[:12]}/{name}.txt"


def read_examples(path: Path) -> list[Example]:
    """Read a JSONL file, plain or gzip.

    Raises:
        UserError: no such file, or a line that is not a question in SQuAD layout.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}: give questions in SQuAD layout (JSONL)")
    opened = gzip.open if path.suffix == ".gz" else open
    examples: list[Example] = []
    with opened(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                examples.append(_example(json.loads(line), number))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                reason = f"{path} line {number} is no question in SQuAD layout: {error!r}"
                raise UserError(reason) from error
    return examples


def _example(row: dict[str, Any], number: int) -> Example:
    answers = row.get("answers") or {}
    texts = answers.get("text") or []
    return Example(
        id=str(row.get("id") or row.get("question_id") or number),
        title=str(row.get("title") or ""),
        question=str(row["question"]),
        context=str(row.get("context") or ""),
        answers=tuple(dict.fromkeys(str(text) for text in texts)),
    )


def sample(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """`limit` questions in random order, half of them unanswerable where there are enough.

    None is all of them. Where one kind runs out, the other fills its place.
    """
    rng = random.Random(seed)
    kinds = [[e for e in examples if e.answers], [e for e in examples if not e.answers]]
    for kind in kinds:
        rng.shuffle(kind)
    answerable, unanswerable = kinds
    total = len(examples) if limit is None else min(limit, len(examples))
    without = min(len(unanswerable), max(total // 2, total - len(answerable)))
    chosen = answerable[: total - without] + unanswerable[:without]
    rng.shuffle(chosen)
    return chosen


def write_corpus(examples: Sequence[Example], folder: Path) -> None:
    """Write each paragraph once, as a text file named by its hash and title."""
    for source, text in {e.source: e.context for e in examples if e.context}.items():
        file = folder / source
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def paragraph_library(examples: Sequence[Example], embeddings: "Embeddings") -> "Library":
    """A library in memory over the paragraphs, cut into passages as files are."""
    from retrievers.chunking import chunk
    from retrievers.documents import LoadedDocument, Page
    from retrievers.pipeline import Library

    documents = []
    for source, (title, text) in {
        e.source: (e.title, e.context) for e in examples if e.context
    }.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        documents += chunk(LoadedDocument(source, digest, [Page(None, text)], title))
    return Library.from_documents(documents, embeddings)
