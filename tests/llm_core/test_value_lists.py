import pytest

from llm_core.toolcalls import ToolSpec
from llm_core.value_lists import groups, places, siblings, spread, value_lists


def tool(**kinds):
    properties = {key: {"type": kind} for key, kind in kinds.items()}
    schema = {"type": "object", "properties": properties, "required": list(kinds)}
    return ToolSpec("a_tool", "", schema)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("weather in Oslo, Rome and Madrid", ("Oslo", "Rome", "Madrid")),
        ("time in Paris, France and Austin, TX", ("Paris, France", "Austin, TX")),
        ("the factorial of 5, 7 and 1,200", ("5", "7", "1,200")),
        ("log in 'ann' and 'bob'", ("'ann'", "'bob'")),
        ("salt and pepper", None),
        ("pay 5 euros in Rome", None),
        ("Compare Rome and Oslo", ("Rome", "Oslo")),
        ("caps of Ripple (XRP) and Cardano (ADA)", ("Ripple (XRP)", "Cardano (ADA)")),
        ("read https://a.com/x and https://b.com/y.", ("https://a.com/x", "https://b.com/y")),
        ("the parts 32A, B65 and 17", ("32A", "B65", "17")),
        ("on March 1, 2023 and May 2, 2024", ("March 1, 2023", "May 2, 2024")),
        ("a number between 3 and 5", None),
        ("a room in Rome and I want a view", None),
        ("at 10:30 and 11:45", None),
    ],
)
def test_lists_of_values_of_one_kind_are_found(text, values):
    assert [one.values for one in value_lists(text)] == ([values] if values else [])


def test_a_value_that_the_call_left_out_makes_a_sibling():
    text = "weather in Oslo, Rome and Madrid today"
    assert siblings(text, {"city": "Oslo"}) == ["weather in Rome today", "weather in Madrid today"]
    assert siblings("factorial of 5 and 7", {"n": 5}) == ["factorial of 7"]


def test_a_unit_behind_a_number_does_not_hide_it():
    assert siblings("a square of 5 cm and 7 cm", {"side": 5}) == ["a square of 7 cm"]
    assert siblings("rain in 5 and 7 days", {"days": 5}) == ["rain in 7 days"]


def test_a_call_that_takes_the_whole_list_has_no_siblings():
    assert siblings("fly from Oslo to Rome", {"from": "Oslo", "to": "Rome"}) == []
    assert siblings("add 3 and 4", {"a": 3, "b": 4}) == []
    assert siblings("mean of 3 and 4", {"numbers": [3, 4]}) == []
    assert siblings("stay in Oslo and Rome", {"place": "Oslo and Rome"}) == []


def test_lists_of_the_same_length_go_together():
    text = "log in 'ann' and 'bob' with 'a1' and 'b2'"
    assert siblings(text, {"user": "ann", "password": "a1"}) == ["log in 'bob' with 'b2'"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Give me 10 users in English and 8 in German.", ("10 users in English", "8 in German")),
        (
            "I need 7 easy words for kids and 9 hard words for teens",
            ("7 easy words for kids", "9 hard words for teens"),
        ),
        (
            "goals of season 25 in cup 4, season 24 in cup 3",
            ("season 25 in cup 4", "season 24 in cup 3"),
        ),
        ("characters of the show with ID 1, ID 2", ("ID 1", "ID 2")),
        ("with base 6 cm and height 10 cm", None),
        ("The title is 'a', and the date is 'b'", None),
        ("it starts at 10 AM and ends at 11 AM", None),
    ],
)
def test_groups_of_one_shape_are_found(text, values):
    assert [one.values for one in groups(text)] == ([values] if values else [])


def test_a_tool_with_one_place_is_called_for_each_value():
    assert spread("factorial of 5, 7 and 9", tool(n="integer")) == [
        "factorial of 5",
        "factorial of 7",
        "factorial of 9",
    ]
    assert spread("data of products 3, 4", tool(id="string")) == ["data of products 3, 4"]
    assert len(spread("the gender of 'Ava' and 'Ethan'", tool(name="string"))) == 2


def test_a_tool_with_a_place_for_each_value_is_called_once():
    text = "add 3 and 4"
    assert spread(text, tool(a="number", b="number")) == [text]
    assert spread(text, tool(numbers="array")) == [text]
    assert spread(text, tool(on="boolean")) == [text]


def test_a_text_that_may_hold_several_values_is_given_once():
    names = {"names": {"type": "string", "description": "Comma-separated names."}}
    listed = ToolSpec("a_tool", "", {"type": "object", "properties": names})
    assert spread("mail 'ann' and 'bob'", listed) == ["mail 'ann' and 'bob'"]


def test_lists_go_together_where_they_are_as_long_and_cross_where_not():
    login = tool(user="string", password="string")
    text = "log in 'ann', 'bob' and 'cy' with 'a1', 'b2' and 'c3'"
    assert spread(text, login) == [
        "log in 'ann' with 'a1'",
        "log in 'bob' with 'b2'",
        "log in 'cy' with 'c3'",
    ]
    crossed = spread(
        "rain in Oslo and Rome for 1, 2 and 3 days", tool(city="string", days="integer")
    )
    assert len(crossed) == 6 and "rain in Rome for 2 days" in crossed


def test_groups_are_called_for_one_by_one():
    profile = tool(count="integer", language="string")
    assert spread("Give 10 users in English and 8 in German.", profile) == [
        "Give 10 users in English.",
        "Give 8 in German.",
    ]


def test_required_parameters_have_places_and_all_where_none_is_required():
    assert places(tool(a="number", b="string").parameters, "number") == 1
    assert places(tool(a="string", b="string").parameters, "number") == 2
    free = {"properties": {"a": {"type": "number"}, "b": {"type": "string"}}}
    assert places(free, "text") == 1
    free["properties"]["c"] = {"type": "string", "description": "Default is 'en'."}
    assert places(free, "text") == 1
