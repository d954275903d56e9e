"""Small passages to search, large ones to read.

    chunker = ParentChildChunker()
    parents, children = chunker.pairs(document)     # index the children, keep the parents

Each child names its parent in `metadata["parent"]`. `ParentRetriever` searches the children and
returns the parents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field
from typing_extensions import override

from retrievers import documents as keys
from retrievers.chunking.passages import Chunker
from retrievers.chunking.structure import StructureChunker
from retrievers.documents import LoadedDocument, Page
from retrievers.ranking import Fetch, with_scores

PARENT: Final = "parent"  # metadata of a child: the id of the passage it was cut from
CHILDREN: Final = "children"  # metadata of a parent that was found: its children, best first


@dataclass(frozen=True, slots=True)
class ParentChildChunker:
    """Cuts parents first, and each of them into children."""

    parents: Chunker = field(default_factory=lambda: StructureChunker(1800, overlap=0))
    children: Chunker = field(default_factory=lambda: StructureChunker(400, overlap=0))

    def __call__(self, document: LoadedDocument) -> list[Document]:
        """The children of `document` in reading order."""
        return self.pairs(document)[1]

    def pairs(self, document: LoadedDocument) -> tuple[list[Document], list[Document]]:
        """Parents and children; a child is an exact slice of its page, as its parent is."""
        parents = self.parents(document)
        pages = {page.number: page for page in document.pages}
        children = []
        for parent in parents:
            for child in self.children(_part(document, pages, parent)):
                children.append(_moved(child, parent))
        return parents, children


def _part(
    document: LoadedDocument, pages: dict[int | None, Page], parent: Document
) -> LoadedDocument:
    """The parent as a document of one page, with the headings in it."""
    number, start, end = (parent.metadata[key] for key in (keys.PAGE, keys.START, keys.END))
    inside = tuple(
        replace(heading, start=heading.start - start, end=heading.end - start)
        for heading in pages[number].headings
        if start <= heading.start and heading.end <= end
    )
    return replace(document, pages=[Page(number, parent.page_content, inside)])


def _moved(child: Document, parent: Document) -> Document:
    """A child with its address in the page, and what its parent says of both."""
    facts, own = parent.metadata, child.metadata
    start, end = facts[keys.START] + own[keys.START], facts[keys.START] + own[keys.END]
    line = facts[keys.LINE]
    if line is not None:
        line += own[keys.LINE] - 1 if own[keys.LINE] else 0
    return Document(
        id=keys.passage_id(facts[keys.DOC_HASH], facts[keys.PAGE], start, end),
        page_content=child.page_content,
        metadata={
            **facts,
            keys.START: start,
            keys.END: end,
            keys.LINE: line,
            keys.LANGUAGE: own[keys.LANGUAGE],
            PARENT: parent.id,
        },
    )


class ParentRetriever(BaseRetriever):
    """Searches small passages and returns the larger ones they were cut from, each once.

    A parent stands where its best child stood, with that child's scores; `children` in its
    metadata are the ids of its children that were found, best first.
    """

    retriever: BaseRetriever = Field(description="finds children, whose metadata names a parent")
    fetch: Fetch = Field(repr=False, description="parents by id, in the order asked for")
    k: int = 4

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        found = self.retriever.invoke(query, {"callbacks": run_manager.get_child()})
        return self.parents(found)[: self.k if k is None else k]

    def parents(self, children: Sequence[Document]) -> list[Document]:
        """The parents of `children`, in the order of their best child."""
        best: dict[str, Document] = {}
        own: dict[str, list[str]] = {}
        for child in children:
            parent = str(child.metadata.get(PARENT) or "")
            best.setdefault(parent, child)
            own.setdefault(parent, []).append(child.id or "")
        return [
            with_scores(parent, **_scores(best[parent.id or ""], parent), **{CHILDREN: ids})
            for parent in self.fetch([name for name in best if name])
            if (ids := own.get(parent.id or ""))
        ]


def _scores(child: Document, parent: Document) -> dict[str, object]:
    """What the search wrote into a child's metadata: the keys that no passage has by itself."""
    return {k: v for k, v in child.metadata.items() if k not in parent.metadata and k != PARENT}
