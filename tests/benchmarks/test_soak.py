"""Replies under many schemas at once: a small run of the benchmark, with schemas of our own."""

import json

import pytest

from benchmarks.maskbench import Case
from benchmarks.soak import Soaker, main
from benchmarks.soak_report import Soak

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


@pytest.fixture
def rows(tmp_path):
    held = [{"id": str(n), "schema": schema, "tests": []} for n, schema in enumerate(SCHEMAS)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in held))
    return path


def drawn(soaker, numbers):
    soak = Soak()
    for draw in soaker.round(numbers):
        soak.add(draw)
    return soak


@pytest.mark.parametrize("seed", range(3))
def test_no_reply_breaks(tiny, seed):
    cases = [Case(str(number), schema, ()) for number, schema in enumerate(SCHEMAS)]
    soak = drawn(Soaker(tiny, cases, seed), range(48))
    assert soak.sound, soak.faults
    assert soak.replies + soak.outcomes["too small"] == 48 and soak.replies >= 40
    assert 0 < soak.guide_seconds < soak.all_seconds
    assert set(soak.keywords) <= {"not", "uniqueItems", "format"}


def test_budgets_are_above_the_shortest_reply_or_refused(tiny):
    cases = [Case("long", {"const": "abc" * 20}, ()), Case("none", {"type": "nonsense"}, ())]
    draws = Soaker(tiny, cases, 1).round(range(120))
    assert {draw.outcome for draw in draws} == {"valid", "too small", "uncompiled"}
    for draw in draws:
        assert (draw.outcome == "too small") == (draw.budget < draw.shortest)
        assert draw.tokens <= draw.budget
    assert 1 <= sum(draw.outcome == "too small" for draw in draws) <= 12


def test_schemas_whose_shortest_reply_is_too_long_are_counted_apart(tiny):
    case = Case("long", {"type": "array", "items": {"const": 1}, "minItems": 900}, ())
    assert [draw.outcome for draw in Soaker(tiny, [case], 0).round(range(3))] == ["too long"] * 3


def test_the_command_writes_what_it_counted(rows, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert main([str(rows), "--replies", "10", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["replies"] == 10 and report["outcomes"]["valid"] >= 5
    assert "| malformed" in capsys.readouterr().out
    assert main([str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_parts_are_taken_up_where_they_stopped(rows, tmp_path, capsys):
    kept = tmp_path / "one.jsonl"
    command = [str(rows), "--part", "2/2", "--rows", str(kept), "--replies"]
    assert main([*command, "3"]) == main([*command, "6"]) == 0
    numbers = [json.loads(line)["number"] for line in kept.read_text().splitlines()[1:]]
    assert numbers == list(range(1, 2 * len(numbers), 2)) and len(numbers) >= 6
    assert "| replies written" in capsys.readouterr().out
    assert main([*command, "6", "--seed", "1"]) == 2
    assert "give another file" in capsys.readouterr().err
    assert main([str(rows), "--part", "3/2"]) == 2
    assert "1/4" in capsys.readouterr().err


def test_a_fault_names_what_it_takes_to_see_it_again(tiny, monkeypatch):
    case = Case("numbers", {"type": "array", "items": {"type": "number"}, "minItems": 2}, ())
    written = []

    def noted(text):
        written.append(text)
        raise ValueError("refused")

    monkeypatch.setattr("benchmarks.soak.json.loads", noted)
    soaker = Soaker(tiny, [case], 3)
    fault, text = drawn(soaker, range(8)).faults[5], written[5]
    assert fault.startswith("numbers, number 5, budget ") and "refused" in fault
    assert drawn(soaker, [5]).faults == [fault] and written[-1] == text


def test_a_crash_is_laid_on_the_reply_that_crashed(tiny, monkeypatch):
    cases = [Case(str(number), schema, ()) for number, schema in enumerate(SCHEMAS)]
    plain, seeds = tiny.generate_batch, []

    def crashing(prompts, **asked):
        seeds.extend(how.seed for how in asked["sampling"])
        if seeds[2] in [how.seed for how in asked["sampling"]]:
            raise RuntimeError("broken")
        return plain(prompts, **asked)

    soaker = Soaker(tiny, cases, 0)
    monkeypatch.setattr(tiny, "generate_batch", crashing)
    soak = drawn(soaker, range(8))
    assert soak.outcomes["crash"] == 1 and "RuntimeError: broken" in soak.faults[0]
    assert soak.replies + soak.outcomes["too small"] == 7 and not soak.sound


def test_only_the_schemas_of_a_name_are_taken(tmp_path, capsys):
    rows = [{"id": name, "schema": {"const": name}, "tests": []} for name in ("a/1", "b/1")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([str(path), "--replies", "3", "--only", "b/"]) == 0
    assert main([str(path), "--replies", "3", "--only", "c"]) == 2
    assert "begins with 'c'" in capsys.readouterr().err
