"""The benchmark of constraints: what it counts, and how it writes a value through a grammar."""

import gzip
import json

import pytest

from benchmarks.maskbench import Bench, Case, read_cases, run
from benchmarks.rows import KeptRows
from benchmarks.spelling import Speller
from llm_core.errors import ModelError

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "born": {"type": "string", "format": "date"},
        "size": {"type": "integer"},
    },
    "required": ["name"],
}


@pytest.fixture
def speller(tiny):
    return Speller(lambda text: tiny.tokenizer.encode(text, marks=False))


@pytest.mark.parametrize(
    ("value", "can"),
    [
        ({"size": 3, "name": "x", "born": "2001-02-03"}, True),
        ({"size": 3.0, "name": "x"}, True),
        ({"name": "x", "extra": {"a": [], "b": {}}}, False),
        ({"size": 3}, False),
        ({"name": 3}, False),
        ({}, False),
        ("x", False),
    ],
)
def test_a_value_can_be_written_in_any_order_of_its_keys(tiny, speller, value, can):
    matcher = tiny.tokenizer.grammars.of_json(PERSON).matcher()
    assert speller.can_write(matcher, value) is can


def test_open_objects_may_hold_keys_without_a_name(tiny, speller):
    matcher = tiny.tokenizer.grammars.of_json(PERSON, forms=["open"]).matcher()
    assert speller.can_write(matcher, {"name": "x", "extra": {"a": [1, "é"], "b": {}}})


CASES = [
    Case(
        "a",
        PERSON,
        (
            ({"name": "x"}, True),
            ({"name": "x", "more": 1}, True),
            ({"name": 1}, False),
            ({"name": "x", "born": "2001-02-30"}, False),
        ),
    ),
    Case("b", {"type": "nonsense"}, ((1, True), (2, False))),
]


def test_instances_are_counted_by_what_becomes_of_them(tiny):
    score = run(Bench(tiny.tokenizer), CASES, KeptRows(None, {}))
    assert score.forms == {"closed": 1} and score.refusals.total() == 1
    assert score.compiled == 0.5
    assert (score.valid, score.invalid, score.untried) == (2, 2, 1)
    assert score.written == {"open": 2, "closed": 1}
    assert score.passed_both == 0 and not score.good  # half of the schemas is not 98 %


def test_kept_rows_are_not_tried_again(tiny, tmp_path):
    path = tmp_path / "rows.jsonl"
    one = run(Bench(tiny.tokenizer), CASES[:1], KeptRows(path, {"of": "tests"}))
    with path.open("a") as out:
        out.write('{"name": "b", "for')  # cut short when the run was stopped
    tried = []

    class Noted(Bench):
        def row(self, case):
            tried.append(case.name)
            return super().row(case)

    both = run(Noted(tiny.tokenizer), CASES, KeptRows(path, {"of": "tests"}))
    assert tried == ["b"] and both.refusals.total() == 1
    assert (both.written, both.seconds) == (one.written, one.seconds)


@pytest.mark.parametrize("text", ['{"about": {"of": "x"}}\n', '{"name": 1}\n', "no rows\n"])
def test_rows_of_something_else_are_refused(tmp_path, text):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(ModelError, match="rows"):
        KeptRows(path, {"of": "tests"})


def test_alternatives_may_order_the_same_keys_otherwise(tiny, speller):
    kinds = {"a": ["id", "kind", "x"], "b": ["kind", "y", "id"]}
    number = {"type": "integer"}
    ways = [
        {"properties": {k: {"const": kind} if k == "kind" else number for k in keys}}
        for kind, keys in kinds.items()
    ]
    schema = {"type": "object", "anyOf": ways}
    matcher = tiny.tokenizer.grammars.of_json(schema, forms=["open"]).matcher()
    assert speller.can_write(matcher, {"kind": "a", "y": "z", "x": 1, "id": 2})
    assert speller.can_write(matcher, {"id": 2, "y": 1, "kind": "b", "x": "z"})
    assert not speller.can_write(matcher, {"id": 2, "y": "z", "kind": "b", "x": 1})


def test_small_numbers_may_be_written_without_an_exponent(tiny, speller):
    schema = {"type": "number", "minimum": 0, "maximum": 1}
    assert speller.can_write(tiny.tokenizer.grammars.of_json(schema).matcher(), 1e-06)


def test_the_file_may_be_packed(tmp_path):
    row = {"id": "a", "schema": {}, "tests": [{"valid": True, "data": 1}]}
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_text(json.dumps(row) + "\n")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_cases(plain) == read_cases(packed) == [Case("a", {}, ((1, True),))]
    plain.write_text("{}\n")
    with pytest.raises(ModelError, match="cannot be read as MaskBench's file"):
        read_cases(plain)
