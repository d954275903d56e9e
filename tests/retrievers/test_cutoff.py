"""Cutoffs: by thresholds, by cosine, by the largest fall of the score, by fitted chances."""

import pytest
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from retrievers.cutoff import (
    CalibratedCutoff,
    RelevanceCutoff,
    ScoreGapCutoff,
    SimilarityFilter,
    expected_share,
    largest_gap,
)
from tests.fakes import HashEmbeddings


def scored(**metadata: float) -> Document:
    return Document(page_content="text", metadata=metadata)


def kept(cutoff: BaseDocumentCompressor, *documents: Document) -> list[dict[str, float]]:
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


def test_the_similarity_filter_embeds_only_what_has_no_cosine() -> None:
    embeddings = HashEmbeddings()
    given = [
        Document(id="near", page_content="blue stone"),
        Document(id="far", page_content="red house"),
        Document(id="told", page_content="anything", metadata={"dense": 0.9}),
    ]
    found = SimilarityFilter(embeddings=embeddings, threshold=0.6).compress_documents(
        given, "blue stone"
    )
    assert [d.id for d in found] == ["near", "told"]
    assert found[0].metadata["dense"] == pytest.approx(1.0)
    assert "anything" not in embeddings.embedded
    assert SimilarityFilter(embeddings=embeddings).compress_documents([], "x") == []


@pytest.mark.parametrize(
    ("scores", "least", "most", "kept"),
    [
        ([9, 8.5, 3, 2.5], 1, None, 2),
        ([9, 3, 2.9, 2.8], 2, None, 2),
        ([9, 8, 7, 1], 1, 2, 1),
        ([5, 5, 5], 1, None, 3),
        ([5, 5, 5], 1, 2, 2),
        ([5], 1, None, 1),
        ([], 1, None, 0),
        ([9, 5, 1], 1, None, 1),  # of equal falls the first
        ([9, 1, 1, 1], 3, None, 4),  # behind the least there is no fall
    ],
)
def test_the_largest_gap(scores: list[float], least: int, most: int | None, kept: int) -> None:
    assert largest_gap(scores, least, most) == kept


def test_the_gap_cutoff_reads_the_fused_score() -> None:
    given = [scored(fused=value) for value in (0.9, 0.85, 0.2, 0.1)]
    assert kept(ScoreGapCutoff(), *given) == [{"fused": 0.9}, {"fused": 0.85}]
    assert kept(ScoreGapCutoff(most=1), *given) == [{"fused": 0.9}]
    assert kept(ScoreGapCutoff(score="rrf", most=3), *given) == [d.metadata for d in given[:3]]


def test_the_expected_share_of_what_is_relevant() -> None:
    assert expected_share([0.5, 0.3, 0.2], 0.8) == 2
    assert expected_share([0.5, 0.3, 0.2], 0.81) == 3
    assert expected_share([0.5, 0.3, 0.2], 1.0) == 3
    assert expected_share([], 0.9) == expected_share([0.0, 0.0], 0.9) == 0


def test_chances_of_relevance_decide_how_many_are_kept() -> None:
    weights = {"dense": 20.0, "rank": 0.0}
    cutoff = CalibratedCutoff(share=0.95, floor=0.05, weights=weights, bias=-10.0)
    given = [scored(dense=0.7), scored(dense=0.5), scored(dense=0.2), scored(dense=0.1)]
    found = cutoff.compress_documents(given, "query")
    assert [d.metadata["dense"] for d in found] == [0.7, 0.5]
    assert [d.metadata["relevance"] for d in found] == pytest.approx([0.982, 0.5], abs=1e-3)
    assert kept(cutoff, scored(dense=0.1)) == [] and kept(cutoff) == []


def test_the_shipped_chances_fall_with_rank_and_rise_with_the_cosine() -> None:
    given = [scored(dense=d, coverage=c) for d, c in ((0.8, 0.8), (0.7, 0.5), (0.1, 0.0))]
    found = CalibratedCutoff(share=1.0, floor=0.0).compress_documents(given, "query")
    chances = [d.metadata["relevance"] for d in found]
    assert 1 > chances[0] > chances[1] > chances[2] > 0
