"""A chat model writes further queries; one that cannot leaves the question alone."""

from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from retrievers.query.chat import HypotheticalExpander, PartExpander, VariantExpander
from retrievers.query.plan import Query, QueryExpander
from tests.fakes import ScriptedChat

QUESTION = "Where was the stone hidden?"
MADE_UP = "The stone was hidden  in the crop of a goose."


def model(name: str, **values: Any) -> ScriptedChat:
    call = {"name": name, "args": values, "id": "1"}
    return ScriptedChat(replies=[AIMessage("", tool_calls=[call])])


def test_variants_are_other_wordings_up_to_their_number() -> None:
    told = [QUESTION.lower(), "stone  place", "stone place", "in what was it put", "one more"]
    chat = model("Wordings", questions=told[:4])
    assert VariantExpander(model=chat, weight=0.4).expand(QUESTION) == [
        Query("stone place", 0.4, "variant"),
        Query("in what was it put", 0.4, "variant"),
    ]
    assert chat.asked[0][-1].content == QUESTION
    one = VariantExpander(model=model("Wordings", questions=told[1:4]), variants=1)
    assert [query.text for query in one.expand(QUESTION)] == ["stone place"]


def test_parts_are_told_by_rules_first_and_by_the_model_only_where_rules_see_one() -> None:
    chat = model("Wordings", questions=["Who hid it?", "Which stone?"])
    ruled = PartExpander(model=chat).expand("Who hid the stone? Where is the goose?")
    assert [query.text for query in ruled] == ["Who hid the stone?", "Where is the goose?"]
    assert chat.asked == []
    asked = PartExpander(model=chat).expand(QUESTION)
    assert [(query.text, query.kind) for query in asked] == [
        ("Who hid it?", "part"),
        ("Which stone?", "part"),
    ]
    assert PartExpander().expand(QUESTION) == []


def test_a_made_up_passage_feeds_the_dense_ranking_alone() -> None:
    queries = HypotheticalExpander(model=model("Passage", text=MADE_UP)).expand(QUESTION)
    assert queries == [
        Query(
            f"{QUESTION} The stone was hidden in the crop of a goose.",
            0.5,
            "hypothetical",
            lexical=False,
        )
    ]


@pytest.mark.parametrize("kind", [VariantExpander, PartExpander, HypotheticalExpander])
@pytest.mark.parametrize(
    "reply",
    [
        AIMessage("I would rather not."),
        AIMessage("", tool_calls=[{"name": "Wordings", "args": {"questions": []}, "id": "1"}]),
        AIMessage("", tool_calls=[{"name": "Passage", "args": {"text": "short"}, "id": "1"}]),
    ],
)
def test_a_reply_that_is_no_such_object_adds_nothing(
    kind: type[QueryExpander], reply: AIMessage
) -> None:
    assert kind(model=ScriptedChat(replies=[reply])).expand(QUESTION) == []


def test_a_model_without_structured_output_adds_nothing() -> None:
    chat = GenericFakeChatModel(messages=iter([]))
    assert VariantExpander(model=chat).expand(QUESTION) == []


@pytest.mark.model
def test_the_default_model_writes_variants_within_their_bounds(chat_model: Any) -> None:
    queries = VariantExpander(model=chat_model).expand(QUESTION)
    assert len(queries) <= 3 and all(0 < len(query.text) <= 300 for query in queries)
