"""Features of sentences, worked out by hand: every word has an axis of its own here."""

import re
from math import log, sqrt

import numpy as np
import pytest
from langchain_core.documents import Document
from numpy.typing import NDArray

from agents.evidence import FEATURES, EvidenceFeatures, Scored
from agents.question import Question
from retrievers.token_vectors import TokenEncoder
from tests.agents.library_helpers import THAI, library_of, loaded, passages_of
from tests.fakes import HashEmbeddings, WordEmbeddings

# Three passages hold "stone", one "goose", none "ruby": idf = ln(1 + (N - n + 0.5) / (n + 0.5)).
TEXTS = (
    "The stone fell. Ryder hid the stone in a goose.",
    "A stone bridge crosses the river.",
    "Every stone was carried by hand.",
    "The mill is old.",
)
STONE_IDF = log(1 + (4 - 3 + 0.5) / 3.5)
GOOSE_IDF = log(1 + (4 - 1 + 0.5) / 1.5)
RUBY_IDF = log(1 + 4.5 / 0.5)
ALL = STONE_IDF + GOOSE_IDF + RUBY_IDF
ASK = "Where is the stone, goose or ruby?"


def measured(asked: str, passages: list[Document], embeddings: object = None) -> Scored:
    everything = passages_of(*(loaded(f"{n}.txt", text) for n, text in enumerate(TEXTS)))
    encoder = TokenEncoder(embeddings or WordEmbeddings())  # type: ignore[arg-type]  # either fake
    return EvidenceFeatures(library_of(everything), encoder).measure(Question(asked), passages)


def first_passage() -> Document:
    return passages_of(loaded("0.txt", TEXTS[0]))[0]


def feature(scored: Scored, name: str) -> list[float]:
    return [float(value) for value in scored.rows[:, FEATURES.index(name)]]


def test_every_sentence_of_every_passage_has_a_row() -> None:
    passages = passages_of(loaded("0.txt", TEXTS[0]), loaded("1.txt", TEXTS[1]))
    scored = measured(ASK, passages)
    texts = [passages[at].page_content[start:end] for at, start, end in scored.spans]
    assert texts == ["The stone fell.", "Ryder hid the stone in a goose.", TEXTS[1]]
    assert scored.rows.shape == (3, len(FEATURES))


def test_nothing_found_has_no_rows_and_every_column() -> None:
    scored = measured(ASK, [])
    assert scored.spans == [] and scored.rows.shape == (0, len(FEATURES))


def test_coverage_is_the_share_of_the_question_s_idf() -> None:
    scored = measured(ASK, [first_passage()])
    both = (STONE_IDF + GOOSE_IDF) / ALL
    assert feature(scored, "sentence_coverage") == pytest.approx([STONE_IDF / ALL, both], rel=1e-5)
    assert feature(scored, "window_coverage") == pytest.approx([both, both], rel=1e-5)
    assert feature(scored, "passage_coverage") == pytest.approx([both, both], rel=1e-5)


def test_the_window_is_the_sentence_and_one_on_either_side() -> None:
    text = "The goose sat. He waited. She waited. A stone fell. They waited."
    scored = measured("Where is the goose?", passages_of(loaded("w.txt", text)))
    assert feature(scored, "window_coverage") == [1, 1, 0, 0, 0]
    assert feature(scored, "passage_coverage") == [1] * 5


def test_the_rarest_term_missing_is_named_by_its_idf_over_eight() -> None:
    scored = measured("Where is the stone or the goose?", [first_passage()])
    assert feature(scored, "rarest_missing") == pytest.approx([GOOSE_IDF / 8, 0], rel=1e-5)
    assert feature(scored, "rarest_missing_passage") == [0, 0]
    scored = measured(ASK, [first_passage()])
    assert feature(scored, "rarest_missing") == pytest.approx([RUBY_IDF / 8] * 2, rel=1e-5)


def test_function_words_count_little_in_late_interaction() -> None:
    scored = measured("where is the stone", [first_passage()])
    # where, is, the weigh 0.15 and stone 1; both sentences hold "the" and "stone"
    expected = (0.15 + 1) / (3 * 0.15 + 1)
    assert feature(scored, "sentence_match") == pytest.approx([expected, expected])
    scored = measured("where is the goose", [first_passage()])
    assert feature(scored, "sentence_match") == pytest.approx([0.15 / 1.45, expected])
    assert feature(scored, "passage_match") == pytest.approx([expected, expected])


def test_function_words_count_fully_where_there_are_no_others() -> None:
    scored = measured("where is the", [first_passage()])
    assert feature(scored, "sentence_match") == pytest.approx([1 / 3, 1 / 3])


class SpacedWords(WordEmbeddings):
    """A word is what stands between spaces; each has an axis of its own."""

    def tokens_and_vectors(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found = list(re.finditer(r"\S+", text))
        vectors = np.zeros((len(found), self.dimension), dtype=np.float32)
        for row, match in enumerate(found):
            vectors[row, self.axes.setdefault(match[0], len(self.axes))] = 1.0
        return np.asarray([match.span() for match in found], dtype=np.int64), vectors


def test_thai_words_with_vowel_signs_count_fully() -> None:
    passage = passages_of(loaded("thai.txt", "แม่น้ำ"))
    scored = measured("where แม่น้ำ", passage, SpacedWords())
    assert feature(scored, "sentence_match") == pytest.approx([1 / (0.15 + 1)])


def test_cosines_compare_means_of_the_words() -> None:
    scored = measured("goose stone", [first_passage()])
    # "The stone fell": 1 of 3 words shared; "Ryder hid the stone in a goose": 2 of 7
    first, second = 1 / sqrt(2 * 3), 2 / sqrt(2 * 7)
    assert feature(scored, "sentence_cosine") == pytest.approx([first, second], rel=1e-5)
    assert feature(scored, "neighbour_cosine") == pytest.approx([second, first], rel=1e-5)


def test_a_sentence_alone_has_no_neighbour() -> None:
    scored = measured("goose stone", passages_of(loaded("1.txt", TEXTS[1])))
    assert feature(scored, "neighbour_cosine") == [0]


def test_the_passage_s_cosine_is_the_search_s() -> None:
    passage = first_passage()
    passage.metadata["dense"] = 0.625
    assert feature(measured(ASK, [passage]), "passage_cosine") == [0.625, 0.625]
    assert feature(measured(ASK, [first_passage()]), "passage_cosine") == [0, 0]


def test_length_type_and_place_are_marked() -> None:
    scored = measured("Who hid the stone?", [first_passage()])
    assert feature(scored, "short") == pytest.approx([3 / 12, 7 / 12])
    assert feature(scored, "long") == pytest.approx([3 / 60, 7 / 60])
    assert feature(scored, "type_held") == [0, 1]  # Ryder is a name
    assert feature(scored, "type_missing") == [1, 0]
    assert feature(scored, "first") == [1, 0]


def test_length_is_capped() -> None:
    text = "stone " * 80 + "end."
    scored = measured(ASK, passages_of(loaded("long.txt", text)))
    assert feature(scored, "short") == [1.0] and feature(scored, "long") == [1.0]


def test_an_untold_type_is_neither_held_nor_missing() -> None:
    scored = measured("What is a stone?", [first_passage()])
    assert feature(scored, "type_held") == feature(scored, "type_missing") == [0, 0]


def test_thai_is_measured_clause_by_clause() -> None:
    passages = passages_of(loaded("thai.txt", THAI))
    scored = measured("แม่น้ำเจ้าพระยาไหลผ่านเมืองไหน", passages, HashEmbeddings())
    texts = [THAI[start:end] for _, start, end in scored.spans]
    assert texts == ["กรุงเทพเป็นเมืองหลวงของประเทศไทย", "แม่น้ำเจ้าพระยาไหลผ่านเมือง"]
    assert max(feature(scored, "sentence_coverage")) == pytest.approx(1.0)


def test_every_feature_is_finite_with_sentence_embeddings_too() -> None:
    scored = measured(ASK, passages_of(*(loaded(f"{t[:5]}", t) for t in TEXTS)), HashEmbeddings())
    assert len(scored.rows) == 5
    assert (abs(scored.rows) <= 2).all()
