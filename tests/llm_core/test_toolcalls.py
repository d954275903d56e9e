import json

import pytest

from llm_core.copying import CopyBias
from llm_core.errors import ModelError
from llm_core.prompt import Turn
from llm_core.toolcalls import (
    ToolSpec,
    call_prefix,
    call_turns,
    offer_turns,
    tool_choice_of,
    tools_of,
)
from tests.llm_core.tiny import gained

WEATHER = ToolSpec("get_weather", "Get the weather.", {"type": "object", "properties": {}})
ADD = ToolSpec("math.add", "Add\n two numbers.", {"type": "object", "properties": {}})


def test_a_tool_is_read_from_either_form():
    inner = {"name": "f", "description": "d"}
    for form in (inner, {"type": "function", "function": inner}):
        spec = ToolSpec.of(form)
        assert (spec.name, spec.description) == ("f", "d")
        assert spec.parameters == {"type": "object", "properties": {}}
    with pytest.raises(ModelError, match="needs a name"):
        ToolSpec.of({"description": "d"})


def test_parameters_may_be_a_reference_and_may_lack_keywords():
    named = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    spec = ToolSpec.of({"name": "f", "parameters": {"$ref": "#/$defs/N", "$defs": {"N": named}}})
    assert spec.parameters == {**named, "$defs": {"N": named}}
    empty = {"type": "object", "properties": None, "required": None}
    spec = ToolSpec.of({"name": "f", "parameters": empty})
    assert spec.parameters == {"type": "object", "properties": {}}
    backwards = {"required": ["n"], "properties": {"n": {}}, "type": "object"}
    assert list(ToolSpec.of({"name": "f", "parameters": backwards}).parameters) == [*backwards]


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        ("f", "must be a list"),
        ([len], "needs a name"),
        (["f"], "needs a name"),
        ([{"name": "f", "parameters": [1]}], "'f' must be the JSON schema of an object"),
        ([{"name": "f", "parameters": {"type": "array"}}], "'f' must be the JSON schema"),
        ([{"name": "f", "parameters": {"properties": [1]}}], "'f' must be the JSON schema"),
        ([{"name": "f", "parameters": {"required": "n"}}], "'f' must be the JSON schema"),
    ],
)
def test_tools_that_cannot_be_called_are_named(tools, reason):
    with pytest.raises(ModelError, match=reason):
        tools_of(tools)


def test_a_summary_is_plain_words():
    assert ADD.summary() == "math add: Add two numbers."
    assert ToolSpec("go_home", "", {}).summary() == "go home"


@pytest.mark.parametrize(
    ("choice", "meaning"),
    [
        (None, "auto"),
        ("auto", "auto"),
        ("any", "any"),
        ("required", "any"),
        (True, "any"),
        (False, "none"),
        ("none", "none"),
        ("get_weather", "get_weather"),
        ({"type": "function", "function": {"name": "math.add"}}, "math.add"),
        ({"name": "math.add"}, "math.add"),
        ({"type": "tool", "name": "math.add"}, "math.add"),
        ({"type": "any"}, "any"),
        ({"type": "auto"}, "auto"),
    ],
)
def test_every_form_of_tool_choice_is_understood(choice, meaning):
    assert tool_choice_of(choice, [WEATHER, ADD]) == meaning


@pytest.mark.parametrize("choice", ["go", ["math.add"], {"function": "math.add"}, {"name": 1}, 3])
def test_a_choice_of_no_tool_is_named(choice):
    with pytest.raises(ModelError, match=r"the tools are: get_weather, math\.add"):
        tool_choice_of(choice, [WEATHER, ADD])


def test_the_prompt_shows_the_tools_and_the_start_of_a_call():
    turns = [Turn("user", "x")]
    assert all(
        spec.signature() in offer_turns(turns, [WEATHER, ADD])[0].text for spec in (WEATHER, ADD)
    )
    assert WEATHER.signature() in call_turns(turns, WEATHER)[0].text
    assert json.loads(call_prefix(ADD) + " {}}") == {"name": "math.add", "arguments": {}}


def preferred(tiny, written: str, sources: list[str]) -> set[str]:
    bias = CopyBias(sources, tiny.tokenizer)
    for token in tiny.tokenizer.encode(written):
        bias.accept(token)
    return {tiny.tokenizer.decode([token]) for token, gain in gained(bias).items() if gain > 0}


def test_a_string_value_copies_on_from_the_source(tiny):
    assert "B" in preferred(tiny, '{"city": "', ["Fly to Bangkok, please"])
    assert "a" not in preferred(tiny, '{"city": "', ["Bangkok"])  # only from word starts
    assert {"k"} <= preferred(tiny, '{"city": "Bang', ["Fly to Bangkok, please"])
    ended = preferred(tiny, '{"city": "Bangkok', ["Fly to Bangkok, please"])
    assert '"' in ended and "," in ended
    assert preferred(tiny, '{"city": "Paris', ["Fly to Bangkok"]) == set()


def test_a_number_copies_on_and_ends_where_the_source_does(tiny):
    assert preferred(tiny, '{"n": 1', ["pay $1,250 now"]) == {"2"}
    assert preferred(tiny, '{"n": 1250', ["pay $1,250 now"]) <= {",", "}", "]", "}}"}


def test_keys_and_structure_are_left_alone(tiny):
    for written in ("{", '{"ci', '{"city":', '{"city": "x"'):
        assert preferred(tiny, written, ["city x"]) == set()
