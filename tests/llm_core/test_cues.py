import pytest

from llm_core.cues import with_cues

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
