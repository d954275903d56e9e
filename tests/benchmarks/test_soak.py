"""Replies under many schemas at once: a small run of the benchmark, with schemas of our own."""

import json

import pytest

from benchmarks.maskbench import Case
from benchmarks.soak import Soaker, main

SCHEMAS = [
    {"type": "string", "pattern": "wifi$"},
    {"type": "array", "items": {"type": "number"}, "minItems": 2},
    {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
    {"enum": ["a", 1, None, {"k": [True]}]},
    {
        "type": "object",
        "properties": {
            "when": {"type": "string", "format": "date-time"},
            "mail": {"type": "string", "format": "email"},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
        "required": ["when", "mail"],
    },
    {"not": {"type": "null"}, "type": ["null", "boolean"]},
]


@pytest.mark.parametrize("seed", range(3))
def test_no_reply_breaks(tiny, seed):
    cases = [Case(str(number), schema, ()) for number, schema in enumerate(SCHEMAS)]
    soaker = Soaker(tiny, cases, seed)
    for _ in range(3):
        soaker.round(16)
    soak = soaker.soak
    assert soak.sound, soak.faults
    assert soak.replies >= 40
    assert 0 < soak.guide_seconds < soak.all_seconds
    assert set(soak.keywords) <= {"not", "uniqueItems", "format"}


def test_the_command_writes_what_it_counted(tmp_path, capsys):
    rows = [{"id": str(n), "schema": schema, "tests": []} for n, schema in enumerate(SCHEMAS)]
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([str(path), "--replies", "10", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["replies"] >= 10 and report["malformed"] == 0
    assert "| malformed" in capsys.readouterr().out
    assert main([str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_a_fault_names_what_it_takes_to_see_it_again(tiny, monkeypatch):
    case = Case("numbers", {"type": "array", "items": {"type": "number"}, "minItems": 2}, ())
    written = []

    def noted(text):
        written.append(text)
        raise ValueError("refused")

    monkeypatch.setattr("benchmarks.soak.json.loads", noted)
    first = Soaker(tiny, [case], 3)
    first.round(8)
    fault, text = first.soak.faults[5], written[5]
    assert fault.startswith("numbers, number 5, budget ") and "refused" in fault
    again = Soaker(tiny, [case], 3, first=5)
    again.round(1)
    assert again.soak.faults == [fault] and written[-1] == text


def test_only_the_schemas_of_a_name_are_taken(tmp_path, capsys):
    rows = [{"id": name, "schema": {"const": name}, "tests": []} for name in ("a/1", "b/1")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([str(path), "--replies", "3", "--only", "b/"]) == 0
    assert main([str(path), "--replies", "3", "--only", "c"]) == 2
    assert "begins with 'c'" in capsys.readouterr().err
