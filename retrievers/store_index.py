"""Any LangChain vector store as the dense side of our index.

dense = StoreIndex(open_chroma(embeddings, url="http://127.0.0.1:8000"), embeddings)
retriever = HybridRetriever(lexical=lexical, vectors=dense, ...)

dense = StoreIndex.over(lambda model: QdrantVectorStore(client, "passages", model), embeddings)
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from retrievers.dense import unit_rows
from retrievers.engines import Engine, GivenVectors, engine_of
from retrievers.filters import Where
from retrievers.ranking import Fetch, Floats


class StoreIndex:
    """A `DenseIndex` whose vectors are in a vector store.

    With `fetch` the store holds the texts and metadata of what is put, not only the vectors.
    `engine` says how to use the store, where it is not one that `engine_of` knows; `options` are
    those of `retrievers.engines.PlainEngine`, for stores other than ours and Chroma.
    """

    def __init__(
        self,
        store: VectorStore,
        embeddings: Embeddings,
        *,
        fetch: Fetch | None = None,
        engine: Engine | None = None,
        **options: Any,
    ) -> None:
        self.store = store
        self._fetch = fetch
        self.engine = engine or engine_of(store, embeddings=embeddings, **options)

    @classmethod
    def over(
        cls, make: Callable[[Embeddings], VectorStore], embeddings: Embeddings, **options: Any
    ) -> Self:
        """The index over the store that `make` builds; no text is embedded that has a vector."""
        given = GivenVectors(embeddings)
        return cls(make(given), embeddings, given=given, **options)

    def __len__(self) -> int:
        """How many vectors are held."""
        return self.engine.count()

    def put(self, ids: Sequence[str], vectors: Any) -> None:
        """Store `vectors` (N, D), one for each id; an id that is there gets the new one."""
        latest = {id_: row for row, id_ in enumerate(ids)}
        if not latest:
            return
        rows = unit_rows(vectors)
        if len(rows) != len(ids):
            raise ValueError(f"{len(ids)} ids for {len(rows)} vectors")
        known = (
            {document.id: document for document in self._fetch(list(latest))} if self._fetch else {}
        )
        documents = [known.get(id_) or Document(id=id_, page_content=id_) for id_ in latest]
        self.engine.put(documents, rows[list(latest.values())])

    def remove(self, ids: Sequence[str]) -> None:
        """Forget `ids`; ones that are not held are ignored."""
        self.engine.remove(ids)

    def search(
        self,
        query: Any,
        k: int,
        among: Sequence[str] | None = None,
        *,
        where: Where | None = None,
    ) -> list[tuple[str, float]]:
        """The `k` ids nearest to the vector `query` (D) with their cosine, best first.

        `among` limits the search to those ids, `where` to documents with such metadata.
        """
        return self.engine.nearest(unit_rows(query)[0], k, where, among)

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The unit vectors of `ids`, (len(ids), D); KeyError where one is not held."""
        return self.engine.vectors(ids) if len(ids) else unit_rows([[]])[:0]
