"""Filters are read out of a question where the documents bear them out."""

from typing import Any

import pytest

from retrievers.query.plan import QueryPlanner
from retrievers.query.reading import FilterEdit, files_of_year

SOURCES = [
    "finance/annual report 2023.pdf",
    "finance/annual_report_2022.pdf",
    "finance/budget-2023.xlsx",
    "notes/Meeting.md",
    "mail/2023-05-01.eml",
]
REPORT = {"source": {"$in": ["finance/annual report 2023.pdf"]}}


@pytest.mark.parametrize(
    ("question", "left", "where"),
    [
        ("What was the profit in the 2023 report?", "What was the profit?", REPORT),
        ("What was the profit in the annual report for 2023?", "What was the profit?", REPORT),
        (
            "According to the file meeting.md, who came?",
            "who came?",
            {"source": {"$in": ["notes/Meeting.md"]}},
        ),
        (
            "What do the plans in finance/budget-2023.xlsx say?",
            "What do the plans say?",
            {"source": {"$in": ["finance/budget-2023.xlsx"]}},
        ),
        (
            "Which costs are named in the spreadsheets?",
            "Which costs are named?",
            {"source": {"$in": ["finance/budget-2023.xlsx"]}},
        ),
        ("What stands on page 12?", "What stands?", {"page": 12}),
        ("What stands on pages 3-5?", "What stands?", {"page": {"$gte": 3, "$lte": 5}}),
        ("กำไรในหน้าที่ 7", "กำไร", {"page": 7}),
        (
            "What was the profit on page 4 of annual_report_2022.pdf?",
            "What was the profit?",
            {"$and": [{"source": {"$in": ["finance/annual_report_2022.pdf"]}}, {"page": 4}]},
        ),
    ],
)
def test_a_phrase_becomes_a_filter_and_leaves_the_question(
    question: str, left: str, where: Any
) -> None:
    edited = FilterEdit(sources=SOURCES).edit(question)
    assert (edited.text, edited.where) == (left, where)
    assert all(note.startswith("only ") for note in edited.notes) and edited.notes


@pytest.mark.parametrize(
    "question",
    [
        "Who won the 2023 election?",
        "What happened in 2023?",
        "What was the profit in the 2019 report?",  # there is none of that year
        "How does Node.js read files?",
        "What is written in other.pdf?",
        "Which slides are in the presentation?",  # no such file
        "Is there a page 12 man?",
    ],
)
def test_what_the_documents_do_not_bear_out_stays_a_question(question: str) -> None:
    edited = FilterEdit(sources=SOURCES).edit(question)
    assert (edited.text, edited.where, edited.notes) == (question, None, ())


def test_a_question_of_nothing_but_a_filter_keeps_its_words() -> None:
    edited = FilterEdit(sources=SOURCES).edit("in the 2023 report?")
    assert (edited.text, edited.where) == ("in the 2023 report?", REPORT)


def test_the_year_decides_and_the_words_choose_among_its_files() -> None:
    assert files_of_year("2023", ["budgets"], SOURCES) == ["finance/budget-2023.xlsx"]
    assert len(files_of_year("2023", ["paper"], SOURCES)) == 3
    assert files_of_year("202", [], SOURCES) == []


def test_the_filter_reaches_the_plan() -> None:
    plan = QueryPlanner(edits=[FilterEdit(sources=SOURCES)]).plan("the profit in the 2023 report")
    assert plan.where == REPORT and plan.queries[0].text == "the profit"
