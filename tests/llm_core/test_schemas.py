import json
import random

from jsonschema import Draft202012Validator

from llm_core.jsontext import JsonScan
from llm_core.schemas import Bounds, bounded


def test_objects_are_closed_and_required_keys_come_first():
    schema = {
        "type": "object",
        "properties": {"x": {"type": "null"}, "y": {"type": "null"}},
        "required": ["y"],
    }
    out = bounded(schema)
    assert out["additionalProperties"] is False
    assert list(out["properties"]) == ["y", "x"]
    assert "additionalProperties" not in schema


def test_a_required_key_without_a_description_may_hold_anything():
    out = bounded({"properties": {"x": {}}, "required": ["y"]})
    assert out["properties"] == {"y": {}, "x": {}}


def test_what_grows_gets_a_limit_and_what_has_one_keeps_it():
    bounds = Bounds(string=9, items=3, integer=50)
    assert bounded({"type": "string"}, bounds)["maxLength"] == 9
    assert bounded({"type": "string", "minLength": 20}, bounds)["maxLength"] == 20
    assert "maxLength" not in bounded({"type": "string", "pattern": "^a$"}, bounds)
    assert bounded({"type": "string", "maxLength": 100}, bounds)["maxLength"] == 100
    assert bounded({"type": ["array", "null"]}, bounds)["maxItems"] == 3
    assert bounded({"type": "integer"}, bounds) == {
        "type": "integer",
        "minimum": -50,
        "maximum": 50,
    }
    assert bounded({"type": "integer", "minimum": 90}, bounds) == {"type": "integer", "minimum": 90}
    assert bounded({"type": "integer", "maximum": -90}, bounds)["maximum"] == -90


def test_every_nested_schema_is_reached():
    leaf = {"type": "string"}
    schema = {
        "$defs": {"d": leaf},
        "properties": {"a": {"items": leaf}, "b": {"anyOf": [leaf, {"prefixItems": [leaf]}]}},
        "additionalProperties": leaf,
        "allOf": [leaf],
    }
    assert json.dumps(bounded(schema)).count('"maxLength"') == 6


def test_objects_that_are_merged_stay_open():
    part = {"type": "object", "properties": {"a": {"type": "null"}}}
    out = bounded({"allOf": [part, part], "properties": {"b": {}}})
    assert all("additionalProperties" not in each for each in [out, *out["allOf"]])
    assert bounded({"allOf": [part]})["allOf"][0]["additionalProperties"] is False
    assert bounded({"anyOf": [part]})["anyOf"][0]["additionalProperties"] is False


def test_a_schema_says_when_it_is_open_and_stays_so():
    schema = {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}}
    Draft202012Validator(bounded(schema)).validate({"k": 3})


def test_a_scan_knows_keys_values_and_numbers():
    scan = JsonScan()
    scan.feed(b'{"ke')
    assert scan.in_string and scan.is_key
    scan.feed(b'y": "va\\"l')
    assert scan.in_string and not scan.is_key and scan.value == b'va\\"l'
    scan.feed(b'", "n": [-1.5e')
    assert scan.in_number and scan.value == b"-1.5e" and not scan.in_string
    scan.feed(b"3, true, ")
    assert not scan.in_number
    scan.feed(b'"x')
    assert not scan.is_key
    scan.feed(b'"]}')
    assert not scan.in_string


def test_a_scan_in_pieces_is_the_scan_of_the_whole():
    rng = random.Random(1)
    text = json.dumps({"a": [1, "b,{", {"c": 'd"e'}], "f": -2.5, "g": "h:\\"}).encode()
    for _ in range(50):
        cut, other = rng.randrange(len(text)), JsonScan()
        whole = JsonScan()
        whole.feed(text[:cut])
        other.feed(text[: cut // 2])
        twin = other.copy()
        other.feed(b"zzz")
        twin.feed(text[cut // 2 : cut])
        assert twin == whole
