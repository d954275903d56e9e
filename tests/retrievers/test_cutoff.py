"""The relevance cutoff reads the scores a search left and drops what neither of them speaks for."""

from langchain_core.documents import Document

from retrievers.cutoff import RelevanceCutoff


def scored(**metadata: float) -> Document:
    return Document(page_content="text", metadata=metadata)


def kept(cutoff: RelevanceCutoff, *documents: Document) -> list[dict[str, float]]:
    return [d.metadata for d in cutoff.compress_documents(documents, "query")]


def test_either_score_is_enough() -> None:
    cutoff = RelevanceCutoff(min_dense=0.5, min_coverage=0.4)
    near, worded = {"dense": 0.6, "coverage": 0.0}, {"dense": 0.1, "coverage": 0.4}
    neither = {"dense": 0.49, "coverage": 0.39}
    assert kept(cutoff, scored(**near), scored(**neither), scored(**worded)) == [near, worded]


def test_nothing_relevant_gives_nothing() -> None:
    assert kept(RelevanceCutoff(), scored(dense=0.05, coverage=0.01)) == []
    assert kept(RelevanceCutoff()) == []


def test_distance_to_the_best_counts_when_asked() -> None:
    cutoff = RelevanceCutoff(min_dense=0.2, min_coverage=1.0, max_drop=0.3)
    assert kept(cutoff, scored(dense=0.9), scored(dense=0.61), scored(dense=0.59)) == [
        {"dense": 0.9},
        {"dense": 0.61},
    ]


def test_unscored_documents_are_kept() -> None:
    assert kept(RelevanceCutoff(), scored()) == [{}]
