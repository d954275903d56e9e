import json

import pytest
import typer
from typer.testing import CliRunner

from llm_core.commands.fit_tools import fit_tools
from llm_core.cue_fitting import cues_of, fit_cues
from llm_core.cue_signs import SIGNS, Request
from llm_core.cues import with_cues
from llm_core.errors import ModelError
from llm_core.tool_examples import read_examples

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "description": "Days of forecast."},
        "humidity": {"type": "boolean", "description": "Include humidity."},
        "guest_name": {"type": "string", "description": "Who comes."},
    },
    "required": ["city"],
}


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        ("weather in Oslo", {"city"}),
        ("weather in Oslo in Celsius", {"city", "unit"}),
        ("weather in Oslo, 3 days", {"city", "days"}),
        ("weather in Oslo for 3 euros", {"city"}),
        ("weather and humidity in Oslo", {"city", "humidity"}),
        ("weather in Oslo for my guest", {"city", "guest_name"}),
    ],
)
def test_an_optional_argument_is_offered_only_with_a_cue(request_, kept):
    assert with_cues(PARAMETERS, request_)["properties"].keys() == kept


def test_a_closed_value_counts_as_words_of_its_own():
    schema = {"properties": {"size": {"enum": ["big", "very_big"]}}}
    assert with_cues(schema, "bigger than that")["properties"] == {}
    assert "size" in with_cues(schema, "a very big one")["properties"]


def test_a_number_that_a_required_argument_takes_is_no_cue():
    schema = {
        "properties": {"rooms": {"type": "integer"}, "nights": {"type": "integer"}},
        "required": ["rooms"],
    }
    assert with_cues(schema, "2 rooms for some nights")["properties"].keys() == {"rooms"}
    assert with_cues(schema, "2 rooms for 3 nights")["properties"].keys() == {"rooms", "nights"}


def test_the_schema_itself_stays_as_it_is():
    before = dict(PARAMETERS["properties"])
    with_cues(PARAMETERS, "weather")
    assert PARAMETERS["properties"] == before


def test_an_argument_that_the_request_surely_speaks_of_must_be_given():
    shoes = {
        "properties": {
            "model": {"type": "string"},
            "colour": {"type": "string", "enum": ["red", "blue"], "description": "Colour."},
            "size": {"type": "integer"},
        },
        "required": ["model"],
    }
    assert with_cues(shoes, "the Runner in a blue colour")["required"] == ["model", "colour"]
    assert with_cues(shoes, "the Runner, whatever it costs")["required"] == ["model"]
    assert shoes["required"] == ["model"]


CITY, ZIP = {"city": {"type": "string"}}, {"zip": {"type": "string"}}


def test_what_another_argument_depends_on_is_kept_and_required_with_it():
    schema = {
        "properties": {**CITY, **ZIP, "land": {"type": "string"}, "day": {"type": "string"}},
        "required": ["city"],
        "dependentRequired": {"city": ["zip"], "zip": ["land"], "day": ["city"]},
    }
    found = with_cues(schema, "hello")
    assert list(found["properties"]) == found["required"] == ["city", "zip", "land"]


def test_as_many_arguments_are_kept_as_must_be_given():
    schema = {"properties": {**CITY, **ZIP, "days": {"type": "integer"}}, "minProperties": 2}
    found = with_cues(schema, "the zip please")
    assert "zip" in found["properties"] and len(found["properties"]) == 2
    assert sorted(found["required"]) == sorted(found["properties"])
    assert with_cues({**schema, "minProperties": 0}, "hello")["properties"] == {}
    assert len(with_cues({**schema, "minProperties": 9}, "hello")["properties"]) == 3


@pytest.mark.parametrize("key", ["if", "then", "dependentSchemas"])
def test_arguments_that_a_rule_names_are_kept(key):
    rule = {"required": ["zip"]}
    schema = {"properties": {**CITY, **ZIP}, key: {"x": rule} if key[0] == "d" else rule}
    assert with_cues(schema, "hello")["properties"].keys() == {"zip"}


def test_a_choice_of_objects_is_closed_and_each_has_its_own_arguments():
    place = {"type": "object", "properties": {**CITY, **ZIP}, "required": ["city"]}
    point = {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}
    for key in ("anyOf", "oneOf"):
        choice = {"type": "object", "properties": {}, key: [place, {"$ref": "#/$defs/p"}]}
        found = with_cues({**choice, "$defs": {"p": point}}, "hello")
        assert [list(each["properties"]) for each in found["anyOf"]] == [["city"], ["lat"]]
        assert not any(each["additionalProperties"] for each in found["anyOf"])
        assert found["$defs"] == {"p": point}
    both = with_cues({"properties": {}, "allOf": [place, point]}, "hello")
    assert list(both["properties"]) == both["required"] == ["city", "lat"]


def test_of_two_arguments_of_which_just_one_may_be_given_each_choice_has_its_own():
    rules = [{"required": ["city"]}, {"required": ["zip"]}]
    found = with_cues({"properties": {**CITY, **ZIP}, "oneOf": rules}, "the zip and the city")
    assert [list(each["properties"]) for each in found["anyOf"]] == [["city"], ["zip"]]


def test_what_combines_more_than_objects_stays_as_it_is():
    odd = {"properties": {**CITY, **ZIP}, "anyOf": [{"required": ["zip"]}, {"not": {}}]}
    assert with_cues(odd, "hello") == {**odd, "properties": ZIP}


def test_the_signs_lie_between_0_and_1():
    request = Request('3 rooms in "Hotel Rome" with a view, in Oslo', PARAMETERS)
    for name, part in PARAMETERS["properties"].items():
        signs = request.signs(name, part)
        assert len(signs) == len(SIGNS) and all(0 <= sign <= 1 for sign in signs)


def test_what_tells_in_labelled_calls_gets_the_weight(tmp_path):
    path = tmp_path / "calls.jsonl"
    rows = [labelled(number, given=number % 2 == 0) for number in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)))
    cues = list(cues_of(read_examples(path), 100, 0))
    assert len(cues) == 60 and sum(cue.given for cue in cues) == 30
    found = fit_cues(cues, 0)
    assert found["area"] == 1.0
    assert found["weights"]["name"] > 0 and found["weights"]["unnamed"] == 0
    with pytest.raises(ModelError, match="some given and some not"):
        fit_cues([cue for cue in cues if cue.given], 0)


def test_the_command_writes_the_weights(tmp_path):
    path, out = tmp_path / "calls.jsonl", tmp_path / "cues.json"
    rows = [labelled(number, given=number % 3 == 0) for number in range(30)]
    path.write_text("\n".join(map(json.dumps, rows)))
    app = typer.Typer()
    app.command()(fit_tools)
    ran = CliRunner().invoke(app, [str(path), "--cues", str(out)])
    assert ran.exit_code == 0, ran.output
    assert json.loads(out.read_text())["arguments"] == {"calls.jsonl": 30}


def labelled(number, given):
    arguments = {"city": "Oslo", "humidity_level": "low"} if given else {"city": "Oslo"}
    properties = {"city": {"type": "string"}, "humidity_level": {"type": "string"}}
    tool = {
        "name": "weather",
        "description": "Weather.",
        "parameters": {"type": "object", "properties": properties, "required": ["city"]},
    }
    asked = f"weather in Oslo, {number}" + (", humidity level low" if given else "")
    return {
        "messages": [{"role": "user", "content": asked}],
        "call": {"name": "weather", "arguments": arguments},
        "tools": [tool],
    }
