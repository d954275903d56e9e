"""Near duplicates: what the measures say, which one is kept, and what is told of the others."""

import numpy as np
import pytest
from langchain_core.documents import Document

from retrievers.near_duplicates import (
    NearDuplicateFilter,
    jaccard,
    minhash,
    repeats_by_vectors,
    repeats_by_words,
    shingles,
)
from tests.fakes import HashEmbeddings

STORY = "the blue carbuncle was hidden in the crop of a goose that was sold at the market"


def documents(*texts: str) -> list[Document]:
    return [Document(id=f"p{row}", page_content=text) for row, text in enumerate(texts)]


def test_shingles_are_runs_of_words_whatever_their_case_and_marks() -> None:
    assert len(shingles("one two three four")) == 2
    assert shingles("One, two: three!") == shingles("one two three")
    assert len(shingles("one two")) == 1 and shingles("one two") != shingles("one")
    assert shingles("") == shingles(" ... ") == frozenset()


def test_a_script_without_spaces_has_shingles_of_characters() -> None:
    long, changed = "การวิจัยเอกสารภาษาไทยบนเครื่องของผู้ใช้เอง", "การวิจัยเอกสารภาษาไทยบนเครื่องของผู้ใช้งาน"
    assert 0.3 < jaccard(shingles(long), shingles(changed)) < 1
    assert jaccard(shingles(long), shingles("สวัสดีครับทุกคนที่มาประชุมวันนี้นะ")) == 0


@pytest.mark.parametrize("shared", [0, 50, 80, 100])
def test_minhash_agrees_about_as_often_as_the_sets_do(shared: int) -> None:
    one = frozenset(range(1000, 1100))
    other = frozenset(range(1100 - shared, 1200 - shared))
    agreement = float((minhash(one) == minhash(other)).mean())
    assert agreement == pytest.approx(jaccard(one, other), abs=0.13)


def test_minhash_of_nothing_agrees_with_nothing_else() -> None:
    empty = minhash(frozenset())
    assert (empty == minhash(frozenset())).all()
    assert not (empty == minhash(frozenset({1, 2}))).any()


def test_the_first_of_two_copies_is_kept() -> None:
    texts = [STORY, "something else altogether here", STORY.upper() + ".", STORY + " of Covent"]
    assert repeats_by_words(texts) == [0, 1, 0, 0]
    assert repeats_by_words(texts, threshold=1.0) == [0, 1, 0, 3]
    assert repeats_by_words([]) == []


def test_an_estimate_alone_drops_no_text() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(60)]
    texts = [" ".join(words)]
    for _ in range(40):  # copies with five words replaced: near 0.6 alike, below the threshold
        other = list(words)
        for at in rng.choice(range(0, 60, 6), 5, replace=False):
            other[at] = f"x{rng.integers(10**9)}"
        texts.append(" ".join(other))
    for row, of in enumerate(repeats_by_words(texts, threshold=0.7)):
        assert of == row or jaccard(shingles(texts[of]), shingles(texts[row])) >= 0.7


def test_vectors_tell_repetitions_in_other_words() -> None:
    assert repeats_by_vectors([[1, 0], [0, 1], [2, 0.1], [0.7, 0.7]], 0.95) == [0, 1, 0, 3]
    assert repeats_by_vectors(np.zeros((0, 3))) == []


def test_the_filter_names_what_it_dropped() -> None:
    given = documents(STORY, "a red house", STORY + "!", STORY)
    kept = NearDuplicateFilter().compress_documents(given, "goose")
    assert [d.id for d in kept] == ["p0", "p1"]
    assert kept[0].metadata == {"duplicates": ["p2", "p3"]} and kept[1].metadata == {}
    assert given[0].metadata == {}


def test_the_filter_uses_vectors_where_it_has_an_embedding_model() -> None:
    given = documents("stone goose blue", "blue stone goose", "a red house")
    assert len(NearDuplicateFilter().compress_documents(given, "x")) == 3
    kept = NearDuplicateFilter(embeddings=HashEmbeddings()).compress_documents(given, "x")
    assert [d.id for d in kept] == ["p0", "p2"]
    assert kept[0].metadata["duplicates"] == ["p1"]


def test_a_copy_of_a_copy_is_told_under_the_one_that_stays() -> None:
    given = documents("stone goose blue", "blue stone goose", "blue stone goose")
    kept = NearDuplicateFilter(embeddings=HashEmbeddings()).compress_documents(given, "x")
    assert [(d.id, d.metadata["duplicates"]) for d in kept] == [("p0", ["p1", "p2"])]
