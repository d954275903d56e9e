"""What the rerankers share: documents put in order of a new score, and scores that are joined."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, Final

import numpy as np
from langchain_core.documents import Document
from numpy.typing import ArrayLike

from retrievers.errors import RetrievalError
from retrievers.ranking import with_scores

RERANK: Final = "rerank"  # metadata key of the score a reranker ordered by


class RerankError(RetrievalError):
    """A reranker was given, or gave, what cannot be put in order; the message says why."""


def best_first(
    documents: Sequence[Document], scores: ArrayLike, name: str, keep: int | None = None
) -> list[Document]:
    """Copies of `documents` by descending score, which stands in `rerank` and under `name`.

    Equal scores keep the order the documents came in; `keep` is how many are returned.

    Raises:
        RerankError: there is not one finite score for each document.
    """
    row = np.asarray(scores, dtype=np.float64)
    if row.shape != (len(documents),):
        raise RerankError(f"{name} gave {row.size} scores for {len(documents)} documents")
    if not np.isfinite(row).all():
        raise RerankError(f"{name} gave a score that is not a finite number")
    order = np.argsort(-row, kind="stable")[:keep]
    return [
        with_scores(documents[at], **{RERANK: float(row[at]), name: float(row[at])}) for at in order
    ]


def held_scores(documents: Sequence[Document], name: str) -> list[float]:
    """The metadata `name` of every document as numbers.

    Raises:
        RerankError: a document has none; the message names it.
    """
    found: list[float] = []
    for document in documents:
        value: Any = document.metadata.get(name)
        if not isinstance(value, Real):
            raise RerankError(
                f"document {document.id!r} has no number {name!r} in its metadata: put the stage "
                "that scores it first, or name another score"
            )
        found.append(float(value))
    return found
