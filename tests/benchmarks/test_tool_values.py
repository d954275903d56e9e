import json

import pytest

from benchmarks.tool_values import cases_of, main
from llm_core.tool_examples import read_examples
from tests.llm_core.tiny import build_tiny

TOOL = {
    "name": "weather",
    "description": "Weather.",
    "parameters": {
        "type": "object",
        "properties": {
            "days": {"type": "integer"},
            "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
        },
        "required": ["days"],
    },
}


def row(number, name="weather"):
    call = {"name": name, "arguments": {"days": number}}
    asked = {"role": "user", "content": f"Weather for {number} days?"}
    return {"messages": [asked], "call": call, "tools": [TOOL]}


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "data"
    found.mkdir()
    rows = [row(number) for number in range(12)] + [row(1, "other")]
    (found / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return found


def test_only_calls_of_tools_on_offer_are_cases_and_halves_share_none(folder):
    examples = read_examples(folder)
    halves = [cases_of(examples, 100, 0, half) for half in ("choose", "report")]
    ids = [{case.id for case in half} for half in halves]
    assert len(ids[0] | ids[1]) == 12
    assert not ids[0] & ids[1]
    assert len(cases_of(examples, 5, 0, "both")) == 5


def test_a_default_may_be_left_out_and_a_needless_argument_is_wrong(folder):
    case = cases_of(read_examples(folder), 1, 0, "both")[0]
    days = case.wanted["days"]
    assert case.right({"days": days})
    assert case.right({"days": days, "unit": "c"})
    assert not case.right({"days": days, "unit": "f"})
    assert not case.right({"days": days + 1})


def test_both_systems_are_compared_on_the_same_rows(folder, tmp_path, capsys):
    model = tmp_path / "tiny"
    model.mkdir()
    build_tiny(model, window=1024)
    results = tmp_path / "results.jsonl"
    given = [str(folder), "--model", str(model), "--limit", "2", "--half", "both"]
    assert main([*given, "--results", str(results)]) == 0
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [one["system"] for one in rows] == ["constrained", "ours"] * 2
    assert "ours against constrained: " in capsys.readouterr().out


def test_a_folder_without_labelled_calls_is_a_clear_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "labelled tool use" in capsys.readouterr().err
