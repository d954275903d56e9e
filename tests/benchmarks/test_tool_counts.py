import pytest

from benchmarks.tool_counts import Count, drawn, joined, table
from llm_core.prompt import Turn
from llm_core.tool_examples import Example
from llm_core.toolcalls import ToolSpec

TOOLS = (ToolSpec("clock", "", {}), ToolSpec("rain", "", {}))


def example(text, *names, role="user"):
    return Example("rows", (Turn(role, text),), TOOLS, tuple((name, {}) for name in names))


@pytest.fixture
def rows():
    alone = [example(f"time {number}", "clock") for number in range(8)]
    return alone + [example(f"both {number}", "clock", "rain") for number in range(6)]


def test_the_halves_share_no_request(rows):
    halves = [{one.turns[-1].text for one in drawn(rows, 99, 0, half)} for half in (0, 1)]
    assert not halves[0] & halves[1]
    assert len([text for half in halves for text in half if "Also" not in text]) == 14


def test_a_limit_holds_for_each_kind(rows):
    found = drawn(rows, 2, 0, 0)
    assert [len(one.calls) for one in found] == [1, 1, 2, 2, 2]


def test_turns_that_tell_nothing_about_calls_are_left_out():
    broken = [
        example("said by the model", "clock", role="assistant"),
        example("Historical dialog data is as follows: ...", "clock"),
        example("a tool that is not offered", "car"),
        example("no call"),
        Example("rows", (Turn("user", "12", from_tool=True),), TOOLS, (("clock", {}),)),
    ]
    assert drawn(broken, 9, 0, 0) + drawn(broken, 9, 0, 1) == []


def test_joined_requests_want_the_calls_of_both():
    both = joined(example("Time?", "clock"), example("rain please", "rain"))
    assert both.turns[-1].text == "Time? Also, rain please"
    assert both.calls == (("clock", {}), ("rain", {})) and len(both.tools) == 2
    assert joined(example("now", "clock"), example("x", "rain")).turns[0].text == "now. Also, x"


def test_the_table_counts_numbers_and_tools():
    counts = [
        Count("rows", ("a", "b"), ("b", "a")),
        Count("rows", ("a", "b"), ("a", "a")),
        Count("rows", ("a", "b"), ("a",)),
        Count("rows", ("a", "b"), ("a", "b", "b")),
        Count("rows", ("a",), ("a",)),
    ]
    assert list(table(counts))[2:] == [
        "| rows | one | 1 | 1.000 | 1.000 | 0.000 | 0.000 |",
        "| rows | several | 4 | 0.500 | 0.250 | 0.250 | 0.250 |",
    ]
