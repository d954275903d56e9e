"""Fill a token budget with the passages that are worth most together."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import Field
from typing_extensions import override

from retrievers.errors import RetrievalError

_EXACT: Final = 4_000_000  # cells of the table, about 10 ms; beyond it the greedy choice


def pack(values: Sequence[float], costs: Sequence[int], budget: int) -> list[int]:
    """Rows whose summed cost fits `budget` and whose summed value is the highest, in order.

    The choice is exact (dynamic programming over the budget) up to 4 million row-token pairs;
    beyond that rows are taken by value per token, or the best single row where that is worth
    more, which gives at least half of the best value (Dantzig 1957). Rows without a positive
    value are left out. Equal values keep the earlier rows.

    Raises:
        ValueError: lengths differ, or a cost or the budget is negative.
    """
    if len(values) != len(costs):
        raise ValueError(f"{len(values)} values for {len(costs)} costs")
    if budget < 0 or any(cost < 0 for cost in costs):
        raise ValueError("a cost or the budget is negative")
    useful = [row for row, value in enumerate(values) if value > 0 and costs[row] <= budget]
    if sum(costs[row] for row in useful) <= budget:
        return useful
    if len(useful) * (budget + 1) > _EXACT:
        return _greedy(useful, values, costs, budget)
    best = np.zeros(budget + 1)  # the most value within each number of tokens
    taken = np.zeros((len(useful), budget + 1), dtype=bool)
    for at, row in enumerate(reversed(useful)):
        cost = costs[row]
        with_row = best[: budget + 1 - cost] + values[row]
        taken[at, cost:] = with_row >= best[cost:] - 1e-12
        best[cost:] = np.maximum(best[cost:], with_row)
    chosen: list[int] = []
    left = budget
    for at in range(len(useful) - 1, -1, -1):
        if taken[at, left]:
            row = useful[len(useful) - 1 - at]
            chosen.append(row)
            left -= costs[row]
    return chosen


def _greedy(
    rows: Sequence[int], values: Sequence[float], costs: Sequence[int], budget: int
) -> list[int]:
    chosen: list[int] = []
    left = budget
    for row in sorted(rows, key=lambda row: (-values[row] / max(costs[row], 1), row)):
        if costs[row] <= left:
            chosen.append(row)
            left -= costs[row]
    single = max(rows, key=lambda row: values[row])
    return sorted(chosen) if sum(values[r] for r in chosen) >= values[single] else [single]


class ContextPacker(BaseDocumentCompressor):
    """Keeps the documents that fit a budget of tokens and are worth most together.

    `value` names the metadata that says what a document is worth; a probability of relevance
    (`relevance`, which `CalibratedCutoff` writes) can be added up, a fused score only roughly.
    """

    budget: int = Field(ge=0, description="tokens for all documents together")
    count: Callable[[str], int] = Field(repr=False, description="tokens of a text")
    value: str = "relevance"
    overhead: int = Field(default=0, ge=0, description="tokens put around each document")

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents chosen, in the order they came.

        Raises:
            RetrievalError: a document has no `value` in its metadata.
        """
        values: list[float] = []
        for document in documents:
            if self.value not in document.metadata:
                raise RetrievalError(
                    f"document {document.id!r} has no {self.value!r} in its metadata: put the "
                    "stage that scores it first, or name another `value`"
                )
            values.append(float(document.metadata[self.value]))
        costs = [self.count(document.page_content) + self.overhead for document in documents]
        return [documents[row] for row in pack(values, costs, self.budget)]
