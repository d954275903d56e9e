"""The last word on a value: formats count, and nothing is fetched."""

import pytest

from llm_core.grammars import SchemaError
from llm_core.validation import violation

FORMATS = {
    "date": (["2024-02-29", "1999-12-31"], ["2023-02-29", "2024-13-01", "20240229", "2024-1-1"]),
    "time": (["12:00:00Z", "23:59:60.5+07:00"], ["12:00:00", "24:00:00Z", "12:00Z"]),
    "date-time": (
        ["2024-02-29T12:00:00Z", "2024-01-01t00:00:00.123-05:30"],
        ["2024-01-01", "2024-01-01 12:00:00Z", "2024-01-01T12:00:00", "2024-02-30T12:00:00Z"],
    ),
    "duration": (["P1Y2M3DT4H5M6S", "P3W", "PT1H"], ["P", "P1YT", "1Y", "P1W2D"]),
    "email": (
        ["a.b+c@example.org", '"a b"@example.org', "x@[127.0.0.1]", "x@[IPv6:::1]"],
        ["example.org", "@x.org", "a b@x.org", ".a@x.org", "a@-x.org", "x@[1.2.3]"],
    ),
    "idn-email": (["甲@例.org"], ["甲", "@例", "a b@c"]),
    "hostname": (["example.org", "a-b.c"], ["-a.org", "a..b", "a_b.org", "x" * 64 + ".org"]),
    "ipv4": (["127.0.0.1"], ["256.0.0.1", "1.2.3", "01.2.3.4"]),
    "ipv6": (["::1", "2001:db8::8a2e"], ["1::2::3", "fe80::1%eth0", "127.0.0.1"]),
    "uuid": (["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000"]),
    "uri": (["https://a.org/b?c=%20#d", "urn:x:y"], ["a/b", "http://a b", "x:%zz", "a:#b#c"]),
    "uri-reference": (["../a?b#c", "", "https://x"], ["://", "a b", "\\\\"]),
    "iri": (["https://例.org/路"], ["例", "http://a b"]),
    "iri-reference": (["路/a"], ["a b"]),
    "uri-template": (["/a/{b}/c"], ["/a/{b", "/a b"]),
    "json-pointer": (["", "/a/~0b/~1"], ["a", "/~2"]),
    "relative-json-pointer": (["0", "1/a", "2#"], ["/a", "01", "-1"]),
    "regex": (["^a+$"], ["(", "[a"]),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_checked(name):
    right, wrong = FORMATS[name]
    schema = {"format": name}
    assert [text for text in right if violation(text, schema)] == []
    assert [text for text in wrong if violation(text, schema) is None] == []
    assert violation(3, schema) is None  # it asks something of strings alone


def test_a_format_that_nobody_knows_is_a_note():
    assert violation("x", {"type": "string", "format": "colour-of-the-day"}) is None


def test_the_reason_names_the_place():
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    reason = violation({"a": [1, "x"]}, schema)
    assert reason == "the reply does not satisfy its schema at $.a[1]: 'x' is not of type 'integer'"


@pytest.mark.parametrize("value", [0.47, 26, 0, -1.1, 1e3, 123456789012.34, True, "x"])
def test_multiples_count_in_decimal_digits(value):
    assert violation(value, {"multipleOf": 0.01}) is None


@pytest.mark.parametrize("value", [0.475, 1e-9, float("inf")])
def test_what_is_no_multiple_is_found(value):
    assert violation(value, {"multipleOf": 0.01}) is not None


def test_a_step_of_nothing_is_named():
    with pytest.raises(SchemaError, match="multipleOf 0; give a number above 0"):
        violation(3, {"multipleOf": 0})


def test_another_document_is_not_fetched():
    schema = {"$ref": "https://example.org/schema.json"}
    with pytest.raises(SchemaError, match=r"refers to 'https://example.org/schema.json'"):
        violation(1, schema)


def test_a_pattern_that_is_none_is_named():
    with pytest.raises(SchemaError, match=r"has the pattern '\('"):
        violation("x", {"pattern": "("})


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("a" * 60 + "!", {"not": {"pattern": "^(a|aa)+$"}}),
        (
            {"a" * 60 + "!": 1},
            {"additionalProperties": False, "patternProperties": {"^(a|aa)+$": {}}},
        ),
    ],
)
def test_a_pattern_that_takes_for_ever_is_given_up(value, schema):
    with pytest.raises(SchemaError, match="takes more than 1 s"):
        violation(value, schema)
