"""Misspelt words are read as the corpus spells them; everything else stays."""

import pytest

from retrievers.analysis import tokenize
from retrievers.bm25 import BM25Index
from retrievers.query.plan import QueryPlanner
from retrievers.query.spelling import SpellingEdit, Vocabulary, distance

TEXTS = [
    "The blue carbuncle was hidden in a goose, and experiments were made in the hospital.",
    "The hospital received geese from the market; studies of adoption followed.",
    "Adaptation of Kant was printed in Baker Street. Hall adopted and adapted the plans.",
]


@pytest.fixture(scope="module")
def spelling() -> SpellingEdit:
    index = BM25Index.build([str(n) for n in range(len(TEXTS))], [tokenize(t) for t in TEXTS])
    held = index.frequency(index.tokens).tolist()
    return SpellingEdit(vocabulary=Vocabulary.of_terms(index.tokens, held))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Where was the carbunkle hidden?", "Where was the carbuncle hidden?"),
        ("the expriments in the hosptial", "the experiments in the hospital"),
        ("Hosptial recieved", "Hospital received"),
        ("studiess of geese", "studies of geese"),
    ],
)
def test_a_word_the_corpus_lacks_is_read_as_the_nearest_it_holds(
    spelling: SpellingEdit, typed: str, meant: str
) -> None:
    edited = spelling.edit(typed)
    assert edited.text == meant and len(edited.notes) >= 1
    assert all(" read as " in note for note in edited.notes)


@pytest.mark.parametrize(
    "question",
    [
        "Where was the carbuncle hidden?",  # all known
        "What did Schopenhauer write?",  # near nothing
        "Was Kent there?",  # a name of four letters, one edit from another name, is its own
        "the GPT4 goos-feather",  # codes and joined words
        "HOSPITEL",  # an acronym, as far as can be told
        "adepted",  # as near to "adapted" as to "adopted"
    ],
)
def test_what_may_be_meant_so_stays(spelling: SpellingEdit, question: str) -> None:
    edited = spelling.edit(question)
    assert edited.text == question and edited.notes == ()


def test_a_mended_question_is_what_a_plan_searches(spelling: SpellingEdit) -> None:
    plan = QueryPlanner(edits=[spelling]).plan("Where was the carbunkle?")
    assert plan.queries[0].text == "Where was the carbuncle?"
    assert plan.notes == ("'carbunkle' read as 'carbuncle'",)


@pytest.mark.parametrize(
    ("one", "other", "away"),
    [("goose", "goose", 0), ("gosoe", "goose", 1), ("gose", "goose", 1), ("geese", "goose", 2),
     ("goose", "street", 3), ("", "ab", 2)],
)  # fmt: skip
def test_an_exchange_of_neighbours_is_one_edit(one: str, other: str, away: int) -> None:
    assert distance(one, other, 2) == away
