"""Small documents of known text, chunked and held in memory, and references into them."""

import hashlib
from collections.abc import Mapping, Sequence

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from agents.notes import EvidenceRef
from agents.ranking import Weights
from retrievers.chunking import chunk
from retrievers.documents import LoadedDocument, Page
from retrievers.pipeline import Library
from tests.fakes import HashEmbeddings

# Belief follows the share of the question's words; 0 of them: 0.7 % answerable, all: 99.3 %.
BY_WORDS = Weights({"sentence_coverage": 10.0}, {"top_sentence_coverage": 10.0}, -5.0)

STONE = (
    "The blue stone vanished from the hotel in December. Ryder hid the blue stone in a grey goose."
    " Holmes laughed for an hour."
)
RIVER = (
    "The old mill stands beside the river. Its wheel was built in 1821 by Thomas Carr."
    " Children fish there every summer."
)
THAI = "กรุงเทพเป็นเมืองหลวงของประเทศไทย\n\nแม่น้ำเจ้าพระยาไหลผ่านเมือง"


def loaded(source: str, *pages: str, numbered: bool = False) -> LoadedDocument:
    """A document of `pages`; without page numbers there is one."""
    digest = hashlib.sha256("\f".join((source, *pages)).encode()).hexdigest()
    numbers = range(1, len(pages) + 1) if numbered else [None]
    held = [Page(number, text) for number, text in zip(numbers, pages, strict=True)]
    return LoadedDocument(source, digest, held, source)


def passages_of(*documents: LoadedDocument, target: int = 900) -> list[Document]:
    return [passage for document in documents for passage in chunk(document, target=target)]


def library_of(
    passages: Sequence[Document], embeddings: Embeddings | None = None, **options: object
) -> Library:
    return Library.from_documents(passages, embeddings or HashEmbeddings(), **options)


def evidence_at(
    passage: Document,
    words: str,
    score: float = 0.5,
    features: Mapping[str, float] | None = None,
) -> EvidenceRef:
    """A reference to `words`, which stand in `passage`."""
    start = passage.metadata["start"] + passage.page_content.index(words)
    return EvidenceRef(
        passage_id=passage.id or "",
        start=start,
        end=start + len(words),
        score=score,
        features=dict(features or {}),
    )
