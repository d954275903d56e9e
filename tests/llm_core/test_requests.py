import numpy as np
import pytest

from llm_core.requests import (
    clauses,
    count_numbers,
    divide,
    looks_back,
    numbers_lacking,
)
from llm_core.toolcalls import ToolSpec


def tool(name, **kinds):
    properties = {key: {"type": kind} for key, kind in kinds.items()}
    schema = {"type": "object", "properties": properties, "required": list(kinds)}
    return ToolSpec(name, "", schema)


WEATHER = tool("weather", city="string")
BOOK = tool("book", place="string", people="integer")
ADD = tool("add", a="number", b="number")
TOOLS = [WEATHER, BOOK, ADD]


def by_word(texts):
    """A tool is close to a text that holds its name."""
    found = [[0.6 if one.name in text.lower() else 0.1 for one in TOOLS] for text in texts]
    return np.array(found)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Find the weather in Oslo.", ["Find the weather in Oslo."]),
        ("Tell me a. Then book b.", ["Tell me a.", "Then book b."]),
        ("Check the mail, then call Bob", ["Check the mail", "call Bob"]),
        ("Get the sum and find the mean", ["Get the sum", "find the mean"]),
        ("Say 'one. two and find' to her", ["Say 'one. two and find' to her"]),
        ("Ask Dr. Kim for 3.5 l", ["Ask Dr. Kim for 3.5 l"]),
        ("salt and pepper", ["salt and pepper"]),
        ("See Oslo, and what is 3 plus 4?", ["See Oslo", "what is 3 plus 4?"]),
        ("What is Two  plus 1.5 plus six?", ["What is Two  plus 1.5 plus six?"]),
        ("Get the 3 plus the 4", ["Get the 3", "the 4"]),
    ],
)
def test_a_request_is_cut_where_another_wish_begins(text, parts):
    assert clauses(text) == parts


def wishes(text):
    return [(one.tool.name if one.tool else None, one.text) for one in divide(text, TOOLS, by_word)]


def test_parts_that_want_different_tools_stand_alone():
    found = wishes("Give me the weather in Oslo. Also book Chez Nous for 4 people.")
    assert found == [
        ("weather", "Give me the weather in Oslo."),
        ("book", "Also book Chez Nous for 4 people."),
    ]


def test_parts_that_want_the_same_tool_stand_alone_if_each_names_something():
    assert len(wishes("Give me the weather in Oslo and give me the weather in Rome")) == 2
    assert len(wishes("Give me the weather in Oslo and tell me how the weather is")) == 1


def test_a_part_without_the_numbers_its_tool_needs_does_not_stand_alone():
    assert len(wishes("add 3 and 4, then add 5 and 6")) == 2
    assert len(wishes("add 3, then add 5")) == 1


def test_a_part_that_only_tells_something_is_no_wish():
    text = "Show the weather in Oslo. My book of the weather is in Rome. Also book Nous for 2."
    assert [name for name, _ in wishes(text)] == ["weather", "book"]


def test_a_plain_wish_may_leave_some_numbers_open_and_a_vague_one_none():
    three = tool("mix", a="number", b="number", c="number")

    def close(texts):
        return np.array([[0.6 * ("mix" in text), 0.6 * ("weather" in text)] for text in texts])

    plain = divide(
        "Show the weather in Oslo. Also compute a mix of 3 and 4", [three, WEATHER], close
    )
    vague = divide("Show the weather in Oslo. Nice mix of 3 and 4", [three, WEATHER], close)
    assert len(plain) == 2 and len(vague) == 1


def test_both_sides_of_an_and_stand_alone_if_each_has_a_tool_of_its_own():
    found = wishes("I need the weather in Oslo and a book at Nous for 2")
    assert found == [("weather", "I need the weather in Oslo"), ("book", "a book at Nous for 2")]
    assert len(wishes("I need the weather in Oslo and Rome")) == 1
    assert len(wishes("My weather is in Oslo and my book is of 2")) == 1


def test_asking_for_the_same_once_more_is_no_wish():
    found = wishes("Show the weather in Oslo. Then book Nous for 2. Could you get them for me?")
    assert [name for name, _ in found] == ["weather", "book"]
    assert found[1][1].endswith("Could you get them for me?")


def test_what_is_close_to_no_tool_goes_with_the_part_it_stands_by():
    text = "I am going on holiday. Show the weather in Oslo. Then book Nous for 2. I am so glad!"
    assert wishes(text) == [
        ("weather", "I am going on holiday. Show the weather in Oslo."),
        ("book", "Then book Nous for 2. I am so glad!"),
    ]


def test_a_part_that_needs_a_result_waits():
    found = divide("add 3 and 4, then add 5 to the result 2", TOOLS, by_word)
    assert [one.waits for one in found] == [False, True]
    assert looks_back("multiply the result") and not looks_back("multiply 3")


def test_numbers_count_in_digits_and_words():
    assert count_numbers("two of 1,200 and 3.5") == 3
    assert numbers_lacking("add 3", ADD.parameters) == 0.5
    assert numbers_lacking("weather", WEATHER.parameters) == 0.0
