"""Rerank by likelihood: how well a passage lets a language model foresee the question.

Ponte and Croft's query likelihood (1998) with a language model as in Sachan and others (2022):
log P(question | passage) grows with how much the passage tells of what is asked. The model comes
as a callable, so that this package needs none; `graphs.likelihood` makes one of a chat model.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from pydantic import Field
from typing_extensions import override

from retrievers.ranking import searchable_text
from retrievers.rerank.scored import best_first

# (question, passages) to one log-probability of the question for each passage
QuestionScorer: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]


class LikelihoodReranker(BaseDocumentCompressor):
    """Orders documents by the log-probability of the query after each of them."""

    score: QuestionScorer = Field(repr=False)
    top_n: int | None = Field(default=None, ge=0, description="how many to return; None is all")
    longest: int = Field(default=1200, ge=1, description="characters of a passage that are read")

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The documents best first, with their score in `rerank` and `likelihood`.

        Raises:
            RerankError: the callable does not give one finite number a document.
        """
        if not documents:
            return []
        texts = [searchable_text(document)[: self.longest] for document in documents]
        return best_first(documents, self.score(query, texts), "likelihood", self.top_n)
