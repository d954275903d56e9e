import json
import random
from itertools import combinations

import pytest
from jsonschema import Draft202012Validator

from llm_core.jsontext import JsonScan
from llm_core.schemas import (
    apart,
    closed,
    counted,
    far_bound,
    loosened,
    narrowed,
    near,
    numbers_of,
    referred,
)


def test_objects_are_closed_and_required_keys_come_first():
    schema = {
        "type": "object",
        "properties": {"x": {"type": "null"}, "y": {"type": "null"}},
        "required": ["y"],
    }
    out = closed(schema)
    assert out["additionalProperties"] is False
    assert list(out["properties"]) == ["y", "x"]
    assert "additionalProperties" not in schema


def test_a_required_key_without_a_description_may_hold_anything():
    out = closed({"properties": {"x": {}}, "required": ["y"]})
    assert out["properties"] == {"y": {}, "x": {}}


def test_every_nested_object_is_reached():
    leaf = {"properties": {"k": {"type": "string"}}}
    schema = {
        "$defs": {"d": leaf},
        "properties": {"a": {"items": leaf}, "b": {"prefixItems": [leaf]}},
        "patternProperties": {"^p": leaf},
        "additionalProperties": leaf,
        "allOf": [leaf],
    }
    alone = {"anyOf": [leaf, {"oneOf": [leaf]}]}
    assert json.dumps(closed(schema)).count('"additionalProperties": false') == 5
    assert json.dumps(closed(alone)).count('"additionalProperties": false') == 2


def test_objects_that_are_merged_stay_open():
    part = {"type": "object", "properties": {"a": {"type": "null"}}}
    out = closed({"allOf": [part, part], "properties": {"b": {}}})
    assert all("additionalProperties" not in each for each in [out, *out["allOf"]])
    assert closed({"allOf": [part]})["allOf"][0]["additionalProperties"] is False
    assert closed({"anyOf": [part]})["anyOf"][0]["additionalProperties"] is False
    beside = closed({"properties": {"b": {}}, "anyOf": [part]})
    assert "additionalProperties" not in beside["anyOf"][0]


def test_a_schema_says_when_it_is_open_and_stays_so():
    schema = {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}}
    Draft202012Validator(closed(schema)).validate({"k": 3})


def test_what_a_grammar_refuses_is_left_out_of_the_loose_form():
    schema = {
        "properties": {
            "a": {"type": "string", "pattern": "(?=x)", "minLength": 2},
            "b": {"type": "string", "pattern": "^x"},
            "c": {"$ref": "#/$defs/d", "properties": {}, "not": {}},
            "e": {"patternProperties": {"a": {}, "^b": {}}, "additionalProperties": False},
        },
        "$defs": {"d": {"if": {}, "then": {}, "type": "null"}},
        "not": {"required": ["z"]},
    }
    assert loosened(schema, lambda pattern: pattern == "^x") == {
        "properties": {
            "a": {"type": "string", "minLength": 2},
            "b": {"type": "string", "pattern": "^x"},
            "c": {"$ref": "#/$defs/d"},
            "e": {},
        },
        "$defs": {"d": {"type": "null"}},
    }


def test_alternatives_that_cannot_be_followed_are_left_out_where_others_are_left():
    hard, number = {"type": "string", "pattern": "(?=x)"}, {"type": "number"}
    schema = {
        "properties": {"a": {"anyOf": [number, hard]}, "b": {"oneOf": [hard, hard]}, "c": hard},
        "items": {"anyOf": [{"items": hard}, {"anyOf": [hard, number]}]},
    }
    assert narrowed(schema, lambda pattern: "?=" not in pattern) == {
        "properties": {"a": {"anyOf": [number]}, "b": {"oneOf": [hard, hard]}, "c": hard},
        "items": {"anyOf": [{"anyOf": [number]}]},
    }


def test_bounds_that_no_number_meets_are_left_out():
    whole = {"minimum": -(2**63), "maximum": 2**63 - 1}
    some = {"exclusiveMinimum": -1e300, "maximum": 10, "properties": {"minimum": whole}}
    assert near({"items": [some, True]}) == {
        "items": [{"maximum": 10, "properties": {"minimum": {}}}, True]
    }


def test_a_bound_that_only_huge_numbers_satisfy_is_named():
    assert far_bound({"items": {"minimum": 1e20}}) == "minimum 1e+20"
    assert far_bound({"exclusiveMaximum": -(10**18)}) == "exclusiveMaximum -1000000000000000000"
    assert far_bound({"minimum": -1e20, "maximum": 1e20, "x": {"minimum": "z"}}) is None


def test_the_numbers_of_a_schema_are_found_wherever_they_stand():
    schema = {"maxLength": 3, "items": {"anyOf": [{"maxLength": 9}, {"minLength": 1}]}}
    assert sorted(numbers_of(schema, "maxLength", "minLength")) == [1, 3, 9]


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


def test_a_scan_counts_the_items_and_keys_of_what_is_open():
    scan = JsonScan()
    scan.feed(b'[1, "a,b", [')
    assert (scan.items, scan.keys) == (1, 0)
    scan.feed(b'[], {"k": 1, "l": ",')
    assert (scan.items, scan.keys) == (0, 2)
    scan.feed(b'"}], 4')
    assert scan.items == 4


def test_until_draft_7_nothing_counts_beside_a_reference():
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"n": {"type": "null"}},
        "properties": {"a": {"type": "string", "$ref": "#/definitions/n"}, "$ref": {}},
    }
    out = referred(schema)
    assert out["properties"] == {"a": {"$ref": "#/definitions/n"}, "$ref": {}}
    assert out["definitions"] == schema["definitions"]
    newer = {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"}
    assert referred(newer) == newer


def test_alternatives_that_exclude_each_other_leave_out_what_others_require():
    ways = [{"required": ["a", "b"]}, {"required": ["b", "x"]}]
    schema = {"oneOf": ways, "properties": {"a": {}, "x": {}}}
    out = apart(schema, exactly=True)
    assert [way["properties"] for way in out["oneOf"]] == [{"x": False}, {"a": False}]
    assert keys_that_pass({**out, "anyOf": out.pop("oneOf")}) == keys_that_pass(schema)


def test_only_a_reply_leaves_out_more_than_it_must():
    wide = {"oneOf": [{"required": ["a"]}, {"required": ["x", "y"]}], "required": ["b"]}
    assert apart(wide, exactly=True)["oneOf"][0] == {"required": ["a"]}
    out = apart(wide, exactly=False)
    assert out["oneOf"][0] == {"required": ["a"], "properties": {"x": False}}
    taken = keys_that_pass({**out, "anyOf": out.pop("oneOf")})
    assert {"a", "b"} in taken and all(keys in keys_that_pass(wide) for keys in taken)
    same = {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "required": ["a", "b"]}
    assert apart(same, exactly=False) == same


def test_alternatives_with_other_constants_keep_the_keys_of_each_other():
    name, needs = {"type": "string"}, [["kind"], ["kind", "name"]]
    for parts in (({"const": "a"}, {"const": "b"}), ({"enum": ["a", "b"]}, {"enum": ["c"]})):
        ways = [
            {"properties": {"kind": part, "name": name}, "required": required}
            for part, required in zip(parts, needs, strict=True)
        ]
        assert apart({"oneOf": ways}, exactly=False) == {"oneOf": ways}
    same = {"properties": {"kind": {"enum": ["b", "d"]}, "name": name}, "required": ["kind"]}
    out = apart({"oneOf": [same, {**ways[1], "properties": ways[0]["properties"]}]}, exactly=False)
    assert out["oneOf"][0]["properties"]["name"] is False


def test_references_are_left_to_the_validator_where_alternatives_exclude_each_other():
    schema = {"oneOf": [{"$ref": "#/$defs/a"}, {"required": ["b"]}], "$defs": {"a": {}}}
    assert apart(schema, exactly=True) == schema


def test_definitions_under_any_name_stay_beside_a_reference():
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/components/n",
        "components": {"n": {"type": "null"}},
        "type": "string",
    }
    assert referred(schema) == {name: schema[name] for name in schema if name != "type"}


def keys_that_pass(schema, most=3):
    """The sets of the keys a, b, x and y with which an object satisfies `schema`."""
    names = "abxy"
    sets = [set(some) for size in range(most + 1) for some in combinations(names, size)]
    return [keys for keys in sets if Draft202012Validator(schema).is_valid(dict.fromkeys(keys, 1))]


def as_the_engine_counts(schema):
    """`minProperties` as llguidance reads it: of the keys that have no name in the schema."""
    out = {key: part for key, part in schema.items() if key not in ("minProperties", "allOf")}
    least = schema.get("minProperties", 0)
    ways = [each for part in schema.get("allOf", [{}]) for each in part.get("anyOf", [part])]
    wholes = []
    for way in ways:
        required = {*schema.get("required", []), *way.get("required", [])}
        more = max(least - len(required), 0)
        wholes.append({**out, "required": sorted(required), "more": more})
    named = set(schema.get("properties", {}))
    return [
        keys
        for keys in keys_that_pass(out)
        if any(
            set(whole["required"]) <= keys and len(keys - named) >= whole["more"]
            for whole in wholes
        )
    ]


@pytest.mark.parametrize("least", [1, 2, 3])
@pytest.mark.parametrize("required", [[], ["b"]])
def test_the_keys_of_an_open_object_are_counted_as_the_schema_means_it(least, required):
    schema = {"properties": {"a": {}, "b": {}}, "required": required, "minProperties": least}
    assert as_the_engine_counts(counted(schema)) == keys_that_pass(schema)


def test_the_keys_of_a_closed_object_are_counted_among_its_names():
    schema = {"properties": {"a": {}, "b": {}, "x": {}}, "additionalProperties": False}
    out = counted({**schema, "minProperties": 2})
    assert "minProperties" not in out
    assert keys_that_pass(out) == keys_that_pass({**schema, "minProperties": 2})
    assert counted({**schema, "minProperties": 1}) == {**schema, "minProperties": 1}


def test_a_count_of_too_many_ways_or_of_names_elsewhere_is_left_to_a_validator():
    wide = {"properties": {f"k{number}": {} for number in range(40)}, "minProperties": 2}
    assert "minProperties" not in counted(wide) and "allOf" not in counted(wide)
    for least, most in ((10**12, 1), (1500, 3000)):
        huge = {"properties": {str(n): {} for n in range(most)}, "minProperties": least}
        assert len(counted(huge).get("allOf", [{"anyOf": []}])[0]["anyOf"]) <= 24
    merged = {"allOf": [{"properties": {"a": {}}}], "minProperties": 1}
    assert counted({"items": merged}) == {"items": {"allOf": merged["allOf"]}}
    assert counted({"minProperties": 3}) == {"minProperties": 3}


def test_a_length_of_thousands_is_no_matter_for_a_pattern_that_counts():
    words = {"type": "string", "pattern": r"^(\S+\s){0,99}\S+$", "maxLength": 5000}
    assert "maxLength" not in near(words)
    for other in ({**words, "pattern": "^a+$"}, {**words, "maxLength": 200}):
        assert near(other) == other
