import json

import pytest

from benchmarks.bfcl import chosen, jobs, main, read_results
from benchmarks.bfcl_report import area, failures, paired, share, sign_test, summary, tables
from benchmarks.bfcl_rows import Call, call_matches, json_schema, read_rows
from benchmarks.bfcl_systems import Bench, attempt, call_schema, found_calls, ours
from llm_core.errors import ModelError
from tests.llm_core.tiny import build_tiny

KINDS = {"city": "string", "days": "integer", "rate": "number", "tags": "array", "at": "object"}
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": kind} for name, kind in KINDS.items()},
    "required": ["city"],
}


def row(number, category="simple_python", truth=None):
    function = {
        "name": "weather",
        "description": "Weather.",
        "parameters": {
            "type": "dict",
            "properties": {"city": {"type": "string"}, "rate": {"type": "float"}},
            "required": ["city"],
        },
    }
    truth = truth if truth is not None else [{"weather": {"city": ["Oslo"], "rate": ["", 1.5]}}]
    question = [[{"role": "user", "content": "Oslo?"}]]
    return {
        "id": f"{category}_{number}",
        "category": category,
        "question": question,
        "function": [function],
        "ground_truth": truth,
    }


@pytest.fixture
def tiny_folder(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    return build_tiny(folder, window=1024)


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [row(n) for n in range(4)] + [row(0, "irrelevance", [])]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize(
    ("given", "accepted", "right"),
    [
        ({"city": "oslo."}, {"city": ["Oslo"]}, True),
        ({"city": "New-York"}, {"city": ["Rome", "new york"]}, True),
        ({"city": "Rome"}, {"city": ["Oslo"]}, False),
        ({}, {"city": ["Oslo"]}, False),
        ({"city": "Oslo", "wind": 1}, {"city": ["Oslo"]}, False),
        ({"city": "Oslo"}, {"city": ["Oslo"], "days": [2]}, False),
        ({"city": "Oslo"}, {"city": ["Oslo"], "days": [2, ""]}, True),
        ({"city": "Oslo", "days": 2}, {"city": ["Oslo"], "days": [2]}, True),
        ({"city": "Oslo", "days": True}, {"city": ["Oslo"], "days": [1]}, False),
        ({"city": "Oslo", "days": "2"}, {"city": ["Oslo"], "days": [2]}, False),
        ({"city": "Oslo", "days": 2.5}, {"city": ["Oslo"], "days": [2]}, False),
        ({"city": "Oslo", "rate": 2}, {"city": ["Oslo"], "rate": [2.0]}, True),
        ({"city": "Oslo", "tags": ["A", "b"]}, {"city": ["Oslo"], "tags": [["a", "B"]]}, True),
        ({"city": "Oslo", "tags": ["b", "a"]}, {"city": ["Oslo"], "tags": [["a", "b"]]}, False),
        ({"city": "Oslo", "at": {"x": 1}}, {"city": ["Oslo"], "at": [{"x": [1, 2]}]}, True),
        ({"city": "Oslo", "at": {"x": 3}}, {"city": ["Oslo"], "at": [{"x": [1, 2]}]}, False),
        ({"city": "Oslo", "at": {}}, {"city": ["Oslo"], "at": [{"x": [1, ""]}]}, True),
        ({"city": "Oslo", "days": "n"}, {"city": ["Oslo"], "days": ["n"]}, True),
    ],
)
def test_arguments_are_compared_as_the_leaderboard_does(given, accepted, right):
    assert call_matches(given, SCHEMA, accepted) is right


def test_the_rows_own_truth_is_right_and_others_are_not(rows_file):
    rows = read_rows(rows_file)
    assert all(one.right(one.example()) for one in rows)
    assert not rows[0].right([]) and not rows[-1].right([Call("weather", {"city": "Oslo"})])
    assert rows[0].example() == [Call("weather", {"city": "Oslo"})]


def test_several_calls_may_come_in_any_order(tmp_path):
    truth = [{"weather": {"city": [city]}} for city in ("Oslo", "Rome")]
    (tmp_path / "a.jsonl").write_text(json.dumps(row(0, "parallel", truth)))
    (one,) = read_rows(tmp_path / "a.jsonl")
    oslo, rome = (Call("weather", {"city": city}) for city in ("Oslo", "Rome"))
    assert one.right([rome, oslo])
    assert not one.right([oslo]) and not one.right([oslo, oslo])
    assert one.right_tools([oslo, oslo]) and not one.right_tools([oslo])


def test_schemas_are_put_in_the_words_of_json_schema():
    given = {"type": "dict", "properties": {"x": {"type": "tuple", "items": {"type": "any"}}}}
    assert json_schema(given) == {
        "type": "object",
        "properties": {"x": {"type": "array", "items": {}}},
    }


def test_a_damaged_row_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(row(0)) + '\n{"id": 1}')
    with pytest.raises(ModelError, match="line 2"):
        read_rows(tmp_path / "a.jsonl")


def test_a_smaller_limit_draws_a_part_of_a_larger_one(rows_file):
    rows = read_rows(rows_file)
    two, three = (chosen(rows, ["simple_python"], limit, 5) for limit in (2, 3))
    assert two == three[:2] and len(three) == 3


def test_finished_rows_are_not_run_again(rows_file, tmp_path):
    rows = read_rows(rows_file)
    done = [{"system": "ours", "id": rows[0].id}]
    keys = [job.key for job in jobs(rows, ["constrained", "ours"], done)]
    assert ("ours", rows[0].id) not in keys and ("constrained", rows[0].id) in keys
    assert ("constrained", "irrelevance_0") not in keys and ("ours", "irrelevance_0") in keys
    results = tmp_path / "r.jsonl"
    results.write_text('{"id": "a"}\n{"id": ')  # stopped in the middle of a line
    assert read_results(results) == [{"id": "a"}]


def test_calls_are_found_in_prose():
    text = 'Sure: {"name": "f", "arguments": {"x": [1]}} and {"a": 1} or {broken'
    assert found_calls(text) == [Call("f", {"x": [1]})]
    assert found_calls('[{"name": "f", "parameters": {}}]') == [Call("f", {})]


def test_the_grammar_of_a_call_names_every_tool(rows_file):
    tools = read_rows(rows_file)[0].tools
    assert call_schema(tools, many=False)["properties"]["name"] == {"const": "weather"}
    assert call_schema(tools * 2, many=True)["items"]["anyOf"][1]["required"] == [
        "name",
        "arguments",
    ]


def test_shares_areas_and_tests_are_those_of_the_textbook():
    found = share(8, 10)
    assert found["share"] == 0.8
    assert found["low"] == pytest.approx(0.4902, abs=1e-4)
    assert found["high"] == pytest.approx(0.9433, abs=1e-4)
    assert sign_test(9, 1) == pytest.approx(22 / 1024)
    assert sign_test(0, 0) == 1.0
    assert area([3, 2], [1, 2]) == 0.875


def result(system, number, right, **more):
    base = {
        "system": system,
        "id": f"r{number}",
        "category": "multiple",
        "right": right,
        "right_tools": True,
        "valid": True,
        "finished": True,
        "wants": None,
        "free": None,
        "cpu_seconds": 1.0,
    }
    return {**base, **more}


def test_a_report_says_what_is_missed():
    good = [result("ours", n, True, wants=0.9, free=True) for n in range(10)]
    plain = [result("constrained", n, n > 8) for n in range(10)]
    report = summary(good + plain)
    assert paired(good + plain, "ours", "constrained")["gained"] == 9
    assert failures(report) == []
    assert any("multiple" in line and "ours" in line for line in tables(report))
    bad = [result("ours", n, n > 8, right_tools=n > 5, valid=n > 0) for n in range(10)]
    missed = failures(summary(bad + plain))
    assert len(missed) == 3


def test_a_missing_file_is_one_clear_line(tmp_path, capsys):
    assert main([str(tmp_path / "none.jsonl")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_every_system_makes_a_row_of_results(rows_file, tmp_path, tiny_folder, capsys):
    results, report = tmp_path / "r.jsonl", tmp_path / "r.json"
    given = [str(rows_file), "--model", str(tiny_folder), "--results", str(results)]
    given += ["--limit", "1", "--json", str(report), "--threads", "1", "--max-tokens", "60"]
    main(given)
    rows = read_results(results)
    assert {(one["system"], one["category"]) for one in rows} == {
        *((system, "simple_python") for system in ("free", "constrained", "copy", "ours")),
        ("free", "irrelevance"),
        ("ours", "irrelevance"),
    }
    forced = [one for one in rows if one["system"] in ("constrained", "copy", "ours")]
    assert all(one["valid"] and one["finished"] for one in forced)
    assert json.loads(report.read_text())["shares"]["simple_python"]["ours"]["whole"] == 1.0
    before = results.read_text()
    main(given)
    assert results.read_text() == before
    assert "simple_python" in capsys.readouterr().out


def test_a_prompt_that_does_not_fit_is_no_call(rows_file, tiny_folder, capsys):
    bench = Bench.open(str(tiny_folder), None, 1, 100_000)
    outcome = attempt(ours, bench, read_rows(rows_file)[0])
    assert (outcome.calls, outcome.finished) == ([], False)
    assert "window" in capsys.readouterr().err
