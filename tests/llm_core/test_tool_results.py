"""Results of tools as facts: no call is left to be repeated, and nothing that was said is lost."""

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from llm_core import LocalChatModel
from llm_core.messages import to_turns
from llm_core.prompt_format import ANSWER
from llm_core.tool_results import with_facts


def calling(text: str = "", **calls: dict[str, object]) -> AIMessage:
    made = [{"name": name, "args": args, "id": name} for name, args in calls.items()]
    return AIMessage(text, tool_calls=made)


def told(*messages: BaseMessage, ask: bool = True) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in with_facts(to_turns(messages), ask=ask)]


def test_a_result_follows_its_question_with_the_arguments_that_brought_it() -> None:
    history = [
        HumanMessage("Is it warm in London, and in Oslo?"),
        calling(get_weather={"city": "London"}, look_up={"place": "Oslo", "days": 2}),
        ToolMessage("21 degrees", tool_call_id="get_weather"),
        ToolMessage("no such place", tool_call_id="look_up", name="look_up", status="error"),
    ]
    question, first, second, order = told(*history)[0][1].split("\n\n")
    assert question == "Is it warm in London, and in Oslo?"
    assert first == "get weather (city London): 21 degrees"
    assert second == "look up (place Oslo, days 2) failed: Error: no such place"
    assert order == ANSWER
    assert ANSWER not in told(*history, ask=False)[0][1]


def test_what_was_said_beside_a_call_and_after_it_stays() -> None:
    turns = told(
        HumanMessage("Add 1 and 2."),
        calling("Let me see.", add={"a": 1, "b": 2}),
        ToolMessage("3", tool_call_id="add"),
        AIMessage("It is 3."),
        HumanMessage("Thank you."),
    )
    assert turns == [
        ("user", "Add 1 and 2."),
        ("assistant", "Let me see."),
        ("user", "add (a 1, b 2): 3"),
        ("assistant", "It is 3."),
        ("user", "Thank you."),
    ]


def test_a_result_of_a_call_that_is_not_there_is_still_told() -> None:
    assert told(ToolMessage("3", tool_call_id="x")) == [("user", f"result: 3\n\n{ANSWER}")]


@pytest.mark.model
@pytest.mark.parametrize(
    ("question", "name", "args", "result", "fact"),
    [
        ("What time is it in Tokyo?", "time_in", {"city": "Tokyo"}, "03:25", "03:25"),
        ("What is 221 plus 34?", "add", {"a": 221, "b": 34}, "255", "255"),
        ("Who wrote Dracula?", "find_author", {"book": "Dracula"}, "Bram Stoker", "Stoker"),
    ],
)
def test_the_real_model_answers_from_a_result_instead_of_calling_again(
    chat_model: LocalChatModel,
    question: str,
    name: str,
    args: dict[str, object],
    result: str,
    fact: str,
) -> None:
    history = [
        HumanMessage(question),
        calling(**{name: args}),
        ToolMessage(result, tool_call_id=name),
    ]
    reply = chat_model.invoke(history, max_tokens=40).text
    assert fact in reply and "{" not in reply
