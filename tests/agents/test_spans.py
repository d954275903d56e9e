"""Candidate short answers."""

from agents.question import Question
from agents.spans import MAX_CANDIDATES, candidates


def test_names_keep_their_small_words_and_quantities_their_unit() -> None:
    found = candidates(
        "In 1887 the Bank of England lent 40 pounds to Victor Hatherley.",
        Question("Who borrowed the money?"),
    )
    assert {"1887", "Bank of England", "40 pounds", "Victor Hatherley"} <= set(found)


def test_words_of_the_question_alone_are_no_candidate() -> None:
    found = candidates("The goose was white and very large.", Question("What was the goose like?"))
    assert "goose" not in found
    assert "white" in found


def test_punctuation_and_function_words_end_a_span() -> None:
    found = candidates(
        "He wore a black cloak, red gloves and boots.", Question("What did he wear?")
    )
    assert "black cloak" in found
    assert "red gloves" in found
    assert not any("cloak, red" in span for span in found)


def test_a_sentence_that_adds_nothing_has_no_candidate() -> None:
    assert candidates("Who is he?", Question("Who is he?")) == []


def test_candidates_are_bounded_and_not_repeated() -> None:
    text = " and ".join(f"Word{n} of things" for n in range(200))
    found = candidates(text, Question("What?"))
    assert len(found) == len(set(found)) == MAX_CANDIDATES
