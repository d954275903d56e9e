"""Order passages for a reader that heeds the ends of a prompt more than its middle.

Liu and others, "Lost in the Middle" (2023): language models use what stands first or last in
their context best.
"""

from collections.abc import Sequence
from typing import TypeVar

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from typing_extensions import override

Item = TypeVar("Item")


def ends_first(ranked: Sequence[Item]) -> list[Item]:
    """Items given best first: the best at the front, the second at the back, and so inwards."""
    return [*ranked[::2], *reversed(ranked[1::2])]


class LostInTheMiddleOrder(BaseDocumentCompressor):
    """Puts the best of documents that come best first at both ends, the least in the middle.

    It is the last step before a prompt: what comes after it can no longer trust the order.
    """

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """All documents, in their new order."""
        return ends_first(documents)
