"""A larger model plans; a small one leaves it to rules, and what is missing is asked again."""

from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from agents.notes import Intake
from agents.planner import Planner
from agents.profile import LARGE, SMALL
from retrievers.query.split import MAX_PARTS
from tests.fakes import ScriptedChat

ONE = "What did Holmes and Watson find in the goose?"


def plan_reply(*sub_questions: Any) -> AIMessage:
    call = {"name": "Wordings", "args": {"questions": list(sub_questions)}, "id": "1"}
    return AIMessage("", tool_calls=[call])


def planned(question: str, *replies: AIMessage, profile: Any = LARGE) -> list[str]:
    return Planner(ScriptedChat(replies=list(replies)), profile).plan(Intake(question=question), [])


def test_what_is_missing_is_asked_in_its_bare_words_once() -> None:
    planner = Planner(ScriptedChat(), LARGE)
    missing = ["Where is the blue stone?", "blue goose"]
    assert planner.plan(Intake(question=ONE), missing) == ["blue stone"]


def test_a_small_model_is_not_asked() -> None:
    assert planned(ONE, profile=SMALL) == [ONE]


def test_a_large_model_splits_what_rules_leave_whole() -> None:
    model = ScriptedChat(replies=[plan_reply(" What did Holmes find? ", "  ", "And Watson?")])
    parts = Planner(model, LARGE).plan(Intake(question=ONE), [])
    assert parts == ["What did Holmes find?", "And Watson?"]
    assert model.asked[0][-1].content == ONE


def test_a_large_model_is_not_asked_what_rules_have_split() -> None:
    assert len(planned("Who hid the stone? Where is the goose?")) == 2


@pytest.mark.parametrize(
    "reply",
    [
        AIMessage("I would ask about the goose."),
        plan_reply(),
        plan_reply(*(f"part {n}" for n in range(MAX_PARTS + 1))),
        plan_reply({"no": "text"}),
        plan_reply("  ", ""),
        AIMessage("", tool_calls=[{"name": "Wordings", "args": {}, "id": "1"}]),
    ],
)
def test_a_bad_plan_leaves_the_question_whole(reply: AIMessage) -> None:
    assert planned(ONE, reply) == [ONE]


def test_a_model_without_structured_output_leaves_the_question_whole() -> None:
    model = GenericFakeChatModel(messages=iter([]))
    assert Planner(model, LARGE).plan(Intake(question=ONE), []) == [ONE]
