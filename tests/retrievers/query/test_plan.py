"""A plan is the question, edited and with the queries its parts add."""

import time
import unicodedata

import pytest

from retrievers.query.intent import intent_of
from retrievers.query.names import names_of
from retrievers.query.normalise import normalise
from retrievers.query.plan import Edited, Query, QueryExpander, QueryPlanner, QuestionEdit
from retrievers.query.split import split_question


class Adds(QueryExpander):
    """Adds fixed texts."""

    texts: list[str]

    def expand(self, question: str) -> list[Query]:
        return [Query(text, weight=0.5, kind="variant") for text in self.texts]


class Reads(QuestionEdit):
    """Takes a word out of the question and makes it a filter."""

    word: str

    def edit(self, question: str) -> Edited:
        return Edited(question.replace(self.word, "").strip(), {"kind": self.word}, (self.word,))


def test_a_plan_without_parts_is_the_question_alone() -> None:
    plan = QueryPlanner().plan("  Where was the \u200bblue  stone hidden? ")
    assert plan.question == "Where was the blue stone hidden?"
    assert plan.queries == (Query("Where was the blue stone hidden?"),)
    assert (plan.language, plan.intent, plan.where, plan.notes) == ("en", "fact", None, ())


def test_queries_are_kept_once_in_the_order_of_the_parts_up_to_the_limit() -> None:
    planner = QueryPlanner(
        expanders=[
            Adds(texts=["Blue stone", "?!"]),
            Adds(texts=["blue  STONE", "a goose", "eggs"]),
        ],
        limit=3,
    )
    assert [query.text for query in planner.plan("the stone").queries] == [
        "the stone",
        "Blue stone",
        "a goose",
    ]


def test_an_expander_for_other_intents_is_left_out() -> None:
    for_summaries = Adds(texts=["more"], intents=frozenset({"summary"}))
    planner = QueryPlanner(expanders=[for_summaries])
    assert len(planner.plan("Where is the goose?").queries) == 1
    assert len(planner.plan("Summarise the story of the goose").queries) == 2


def test_edits_come_first_and_their_filters_are_joined() -> None:
    edits: list[QuestionEdit] = [Reads(word="pdf"), Reads(word="2023")]
    plan = QueryPlanner(edits=edits).plan("pdf costs 2023")
    assert plan.question == "costs" and plan.notes == ("pdf", "2023")
    assert plan.where == {"$and": [{"kind": "pdf"}, {"kind": "2023"}]}


def test_an_edit_cannot_empty_a_question() -> None:
    assert QueryPlanner(edits=[Reads(word="pdf")]).plan("pdf").queries == (Query("pdf"),)


def test_a_planner_is_a_runnable() -> None:
    plan = QueryPlanner(expanders=[Adds(texts=["goose"])]).invoke("stone")
    assert [query.text for query in plan.queries] == ["stone", "goose"]
    assert Adds(texts=["goose"]).invoke("stone") == [Query("goose", weight=0.5, kind="variant")]
    assert Reads(word="pdf").invoke("pdf cost").text == "cost"


@pytest.mark.parametrize(
    ("typed", "clean"),
    [
        (unicodedata.normalize("NFD", "café"), "café"),
        ("“Who”  wrote it’s—plan\u00ad?", '"Who" wrote it\'s—plan?'),
        ("ＧＤＰ\u3000２０２３", "GDP 2023"),
        ("a di\ufb00erent \ufb01le", "a different file"),
        ("น\u0e49\u0e49ำ", "น้ำ"),  # the tone mark typed twice
        ("เเม่น้ำ", "แม่น้ำ"),  # two vowels that look like one
        ("x² of H₂O", "x² of H₂O"),
        ("  ", ""),
    ],
)
def test_what_looks_alike_becomes_alike(typed: str, clean: str) -> None:
    assert normalise(typed) == clean


@pytest.mark.parametrize(
    ("question", "intent"),
    [
        ("hello there!", "chit-chat"),
        ("ขอบคุณครับ", "chit-chat"),
        ("Where was the stone hidden?", "fact"),
        ("แม่น้ำเจ้าพระยายาวเท่าไร", "fact"),
        ("Summarise the report on geese", "summary"),
        ("สรุปบทที่หนึ่ง", "summary"),
        ("What are these documents about?", "summary"),
        ("Who is older, Ada Lovelace or Charles Babbage?", "comparison"),
        ("Are Rome and Paris in the same country?", "comparison"),
        ("What is the difference between a goose and a duck?", "comparison"),
        ("Where was the director of the film that won the prize born?", "multi-hop"),
        ("When did the mother of the king of Saxony die?", "multi-hop"),
        ("What year did Anna's brother's school open?", "multi-hop"),
    ],
)
def test_intents_are_told_by_their_words(question: str, intent: str) -> None:
    assert intent_of(question) == intent


def test_a_long_pasted_text_is_planned_in_little_time() -> None:
    started = time.process_time()
    for piece in (
        "more less Alpha ",
        "The best man, Alice or Bob ",
        "the a of the b of ",
        "hi you ",
    ):
        intent_of(piece * 1000)
        split_question(piece * 1000)
    split_question("a" + " " * 20_000 + "b")
    assert time.process_time() - started < 3


def test_names_are_runs_of_capitals_without_what_opens_the_sentence() -> None:
    text = "The Bank of England met Mr. Hall in 1999. In London, GPT-4 and Élan Vital 3 were new."
    assert names_of(text) == ["Bank of England", "Mr. Hall", "London", "GPT-4 and Élan Vital 3"]
    assert names_of("who hid the blue stone in 1890?") == []
