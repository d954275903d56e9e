"""Every measure on replies small enough to be scored by hand."""

from dataclasses import replace

import pytest

from graphs.evaluate.refusals import is_refusal
from graphs.evaluate.scoring import (
    Cited,
    Passage,
    Reply,
    Row,
    Sentence,
    Spent,
    Task,
    marked_ids,
    score,
    without_markers,
)
from graphs.evaluate.summary import bootstrap, risk_coverage, summarise
from graphs.qa_metrics import area_under_roc, contains_answer, count_words, exact_match, f1
from graphs.squad import Example, sample

CONTEXT = "The stone lay in the crop of a goose. It was blue."
EXAMPLE = Example("q1", "Goose", "Where was the stone?", CONTEXT, ("a goose", "the crop"))
TASK = Task(EXAMPLE, EXAMPLE.answers, own_files=True)
OWN = Passage(EXAMPLE.source, CONTEXT)
OTHER = Passage("b/Other.txt", "A hat was found in the street.")
SPENT = Spent(seconds=2.0, cpu_seconds=1.0, peak_mb=100.0)


def cited(id_: int, file: str = EXAMPLE.source, start: int = 0, quote: str = CONTEXT) -> Cited:
    return Cited(id_, file, None, start, start + len(quote), quote, passage=quote)


GOOD = Reply(
    answer="The stone lay in a goose. [1] It was blue. [1][2]",
    abstained=False,
    retrieved=[OTHER, OWN],
    short_answer="in a goose",
    citations=[cited(1), cited(2, "b/Other.txt", quote="A hat was found.")],
    sentences=[Sentence((1,), composed=True), Sentence((1, 2), composed=False)],
    probability=0.9,
)
REFUSED = Reply(
    answer="not in your documents",
    abstained=True,
    retrieved=[OTHER],
    short_answer="",
    citations=[],
    sentences=[],
    probability=0.2,
)


def row(reply: Reply = GOOD, task: Task = TASK, at: int = 0) -> Row:
    return score(at, task, reply, SPENT)


def foreign(reply: Reply, at: int = 0) -> Row:
    return score(at, replace(TASK, answers=()), reply, SPENT)


def test_an_answer_is_counted_sentence_by_sentence_and_citation_by_citation() -> None:
    got = row()
    assert (got.hit, got.em, got.passage_retrieved, got.own_retrieved) == (1, 0, True, True)
    assert got.f1 == pytest.approx(2 * 1 / (2 + 1))  # "in goose" against "goose"
    assert (got.words, got.sentences, got.cited_sentences, got.composed) == (9, 2, 2, 1)
    assert (got.citations, got.own_citations, got.holding_citations) == (2, 1, 1)
    assert (got.cited_holds, got.dangling, got.duplicates, got.max_ids) == (1, 0, 0, 2)


def test_a_refusal_of_an_answerable_question_holds_no_answer() -> None:
    got = row(REFUSED)
    assert (got.hit, got.em, got.f1, got.cited_holds) == (0, 0, 0, 0)
    assert (got.words, got.sentences, got.citations) == (None, 0, 0)
    assert (got.own_retrieved, got.passage_retrieved) == (False, False)


def test_an_answer_to_an_unanswerable_question_has_no_hit_to_score() -> None:
    got = foreign(GOOD)
    assert (got.answerable, got.hit, got.em, got.f1) == (False, None, None, None)
    assert (got.own_citations, got.passage_retrieved, got.citations) == (None, None, 2)


def test_a_marker_is_no_word_of_the_answer() -> None:
    task = replace(TASK, answers=("1",))
    assert row(replace(GOOD, answer="There was a stone. [1]"), task).hit == 0
    assert row(replace(GOOD, answer="There was 1 stone. [1]"), task).hit == 1


def test_markers_and_ids_without_a_citation_dangle() -> None:
    sentences = [Sentence((1, 7), composed=False)]
    got = row(replace(GOOD, answer="Blue. [1, 2] Red. [8]", sentences=sentences))
    assert got.dangling == 2  # 7 and 8


def test_the_same_span_or_the_same_id_twice_is_a_duplicate() -> None:
    same_span = replace(GOOD, citations=[cited(1), cited(2)])
    same_id = replace(GOOD, citations=[cited(1), cited(1, start=5), cited(2, start=9)])
    both = replace(GOOD, citations=[cited(1), cited(1), cited(2, start=9)])
    assert [row(reply).duplicates for reply in (GOOD, same_span, same_id, both)] == [0, 1, 1, 1]


def test_the_most_ids_are_read_from_the_text_too() -> None:
    assert row(replace(GOOD, answer="Blue. [1][2] [3]")).max_ids == 3
    assert marked_ids("a [1][2], b [3; 4] c") == [{1, 2}, {3, 4}]
    assert without_markers("Blue [1, 2]. Red [x].") == "Blue. Red [x]."


def test_an_answer_without_sentences_is_one_without_a_citation() -> None:
    got = row(replace(GOOD, answer="I answer questions.", sentences=[], citations=[]))
    assert (got.sentences, got.cited_sentences) == (1, 0)


def test_what_a_system_does_not_do_is_not_scored() -> None:
    got = row(Reply("In a goose.", abstained=False, retrieved=[OWN]))
    assert got.hit == 1
    assert {got.em, got.f1, got.citations, got.sentences, got.dangling, got.max_ids} == {None}


def test_a_passage_that_holds_the_answer_counts_as_retrieved_though_not_the_own() -> None:
    got = row(replace(GOOD, retrieved=[Passage("b/Other.txt", "A goose walked by.")]))
    assert (got.own_retrieved, got.passage_retrieved) == (False, True)


def test_over_other_documents_the_own_paragraph_is_known_by_its_words() -> None:
    task = replace(TASK, own_files=False)
    assert task.is_own("any.txt", "lay in the  crop\nof a goose") is True
    assert task.is_own("any.txt", f"Before. {CONTEXT} After.") is True
    assert task.is_own("any.txt", "A hat.") is False
    unknown = replace(task, example=replace(EXAMPLE, context=""))
    assert unknown.is_own("any.txt", "A hat.") is None
    assert row(GOOD, unknown).own_citations is None


def test_the_summary_pools_counts_over_the_questions() -> None:
    slow = Spent(seconds=4.0, cpu_seconds=3.0, peak_mb=300.0)
    rows = [row(), row(REFUSED, at=1), foreign(GOOD, 2), score(3, TASK, REFUSED, slow)]
    got = summarise(rows, seed=0)
    assert (got["questions"], got["answerable"], got["unanswerable"]) == (4, 3, 1)
    assert got["passage_recall"] == got["answer_hit"] == pytest.approx(1 / 3, abs=1e-4)
    assert (got["em"], got["f1"]) == (0, pytest.approx(2 / 9, abs=1e-4))
    assert (got["citation_precision"], got["citation_holds_answer"]) == (0.5, 0.5)
    assert got["cited_holds_answer"] == pytest.approx(1 / 3, abs=1e-4)
    assert (got["sentences_with_citation"], got["composed_share"]) == (1, 0.5)
    assert (got["abstention_unanswerable"], got["answer_words"]) == (0, 9)
    assert got["abstention_answerable"] == pytest.approx(2 / 3, abs=1e-4)
    assert (got["citations"], got["dangling_citations"], got["duplicate_citations"]) == (4, 0, 0)
    assert (got["max_ids_a_sentence"], got["stopped"], got["peak_memory_mb"]) == (2, 0, 300)
    assert (got["seconds_median"], got["cpu_seconds_median"]) == (2, 1)
    assert got["seconds_p90"] == pytest.approx(2 + 0.7 * 2)  # place 2.7 of 2, 2, 2, 4


def test_the_summary_of_foreign_questions_invents_nothing() -> None:
    got = summarise([foreign(REFUSED), foreign(GOOD, 1)], seed=0)
    assert got["abstention_unanswerable"] == 0.5
    for name in ("answer_hit", "em", "f1", "citation_precision", "passage_recall"):
        assert got[name] is None
    assert got["intervals"] == {"answer_hit": None, "f1": None, "citation_precision": None}
    assert got["risk_coverage"]["auroc"] is None
    assert got["risk_coverage"]["curve"][0]["answered_answerable"] is None


def test_intervals_are_seeded_and_hold_the_share() -> None:
    parts = [(1.0, 1.0)] * 30 + [(0.0, 1.0)] * 10
    low, high = bootstrap(parts, seed=1) or (0, 0)
    assert [low, high] == bootstrap(parts, seed=1)
    # A binomial share of 0.75 over 40 has a standard error of 0.068.
    assert low == pytest.approx(0.75 - 1.96 * 0.068, abs=0.04)
    assert high == pytest.approx(0.75 + 1.96 * 0.068, abs=0.04)
    assert bootstrap([(1.0, 1.0)] * 5, seed=1) == [1, 1]
    assert bootstrap([(0.0, 0.0)], seed=1) is None


def test_thresholds_trade_answers_for_refusals() -> None:
    values = [(True, 0.9), (True, 0.4), (False, 0.6), (False, 0.1)]
    rows = [
        (row if answerable else foreign)(replace(GOOD, probability=value))
        for answerable, value in values
    ]
    got = risk_coverage([*rows, row(replace(GOOD, probability=None))])
    assert got is not None
    assert (got["questions"], got["auroc"]) == (4, 0.75)  # three of four pairs in order
    at = {point["threshold"]: point for point in got["curve"]}
    expected = {0.0: (1, 0), 0.5: (0.5, 0.5), 0.6: (0.5, 0.5), 0.65: (0.5, 1), 1.0: (0, 1)}
    for threshold, (answered, refused) in expected.items():
        point = at[threshold]
        assert (point["answered_answerable"], point["refused_unanswerable"]) == (answered, refused)
    assert risk_coverage([row(replace(GOOD, probability=None))]) is None


def test_equal_scores_count_half_in_the_area_under_the_curve() -> None:
    assert area_under_roc([0.5], [0.5]) == 0.5
    assert area_under_roc([0.9, 0.5], [0.5, 0.1]) == 0.875
    assert area_under_roc([], [0.5]) is None


def test_answers_are_compared_as_in_squad() -> None:
    assert exact_match("The Goose!", ["goose"]) == 1
    assert exact_match("", []) == 1
    assert f1("blue goose", ["the goose", "hat"]) == pytest.approx(2 / 3)
    assert f1("", ["goose"]) == 0
    assert contains_answer("It lay in a goose, dead.", ["goose dead"])
    assert not contains_answer("mongoose", ["goose"])
    assert count_words("It lay  in a goose.") == 5
    assert count_words("แมวกินปลา") == 3


@pytest.mark.parametrize(
    ("limit", "answerable", "unanswerable"),
    [(4, 2, 2), (5, 3, 2), (8, 5, 3), (None, 7, 3), (99, 7, 3), (1, 1, 0)],
)
def test_a_sample_is_half_unanswerable_while_there_are_enough(
    limit: int | None, answerable: int, unanswerable: int
) -> None:
    examples = [replace(EXAMPLE, id=str(n), answers=("x",) * (n < 7)) for n in range(10)]
    chosen = sample(examples, limit, seed=3)
    assert sum(bool(e.answers) for e in chosen) == answerable
    assert sum(not e.answers for e in chosen) == unanswerable
    assert len({e.id for e in chosen}) == len(chosen)
    assert chosen == sample(examples, limit, seed=3)
    assert limit != 8 or chosen != sample(examples, limit, seed=4)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I don't know.",
        "I’m sorry, I do not know the answer.",
        "The provided context does not mention the stone.",
        "The colour of the stone is not specified in the given text.",
        "There is not enough information to answer the question.",
        "This question cannot be answered from the passage.",
        "The documents don't explicitly state where it was.",
        "ไม่ทราบคำตอบ",
    ],
)
def test_a_refusal_is_known_by_its_words(reply: str) -> None:
    assert is_refusal(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "The stone was in the crop of a goose.",
        "It does not include gravity.",
        "He did not give up until 1920.",
        "The word is not found in older English.",
        "Nobody knows why, but the capital was moved in 1868.",
        "It was in the goose. It was blue. I don't know who put it there.",
    ],
)
def test_an_answer_with_a_negation_is_no_refusal(reply: str) -> None:
    assert not is_refusal(reply)
