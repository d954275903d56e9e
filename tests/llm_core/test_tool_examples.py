import gzip
import json

import pytest

from llm_core.errors import ModelError
from llm_core.tool_examples import read_examples, read_file

TOOL = {
    "name": "f",
    "description": "Does.",
    "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}},
}


def write(path, rows):
    text = json.dumps(rows)
    if path.name.endswith(".gz"):
        with gzip.open(path, "wt") as file:
            file.write("\n".join(map(json.dumps, rows)))
    else:
        path.write_text(text)
    return path


def test_dialogue_rows_say_what_is_called_or_that_nothing_is(tmp_path):
    said = [{"role": "user", "content": "do"}]
    call = {"name": "f", "arguments": {"x": 1}}
    rows = [{"tools": [TOOL], "messages": said, "call": made} for made in (call, None)]
    called, answered = read_file(write(tmp_path / "a.jsonl.gz", rows))
    assert called.calls == (("f", {"x": 1}),) and answered.calls == ()
    assert called.turns[0].text == "do" and called.tools[0].name == "f"


def test_typed_rows_get_a_json_schema(tmp_path):
    said = [
        {"role": "user", "content": "do"},
        {"role": "agent", "content": "Now.\nGenerate API Request:"},
    ]
    tool = {
        "name": "f",
        "description": "Does.",
        "parameters": {"x": {"type": "int"}, "y": {"type": "list(str)"}, "z": {"type": "any"}},
    }
    row = {"query": said, "tools": [tool], "answers": [{"name": "f", "arguments": {"x": 1}}]}
    (one,) = read_file(write(tmp_path / "a.json", [row]))
    properties = one.tools[0].parameters["properties"]
    assert properties["x"]["type"] == "integer"
    assert properties["y"] == {"type": "array", "items": {"type": "string"}, "description": ""}
    assert "type" not in properties["z"]
    assert [turn.text for turn in one.turns] == ["do"]  # the agent's cue is no turn


def test_calls_and_results_of_a_marked_dialogue_are_turns(tmp_path):
    call = '{"name": "f", "parameters": {"x": %d}}'
    row = {
        "instruction": "Tools\n1. Name: f\nDescription: Does.\nParameters: "
        '{"x": {"description": "n", "type": "int, optional", "default": ""}}\n',
        "input": f"<user> do </user>\n<tool_call>\n{call % 1}\n</tool_call>\n<obs> 2 </obs>",
        "output": f"<think> a <tool_call> is due </think>\n<tool_call>\n{call % 2}\n</tool_call>",
    }
    (one,) = read_file(write(tmp_path / "a.json", [row]))
    assert one.calls == (("f", {"x": 2}),)
    assert [turn.from_tool for turn in one.turns] == [False, False, True]
    assert one.turns[1].calls[0].arguments == {"x": 1}
    assert one.tools[0].parameters["required"] == []


def test_each_reply_of_a_conversation_is_an_example(tmp_path):
    said = [
        ("human", "hi"),
        ("gpt", "hello"),
        ("human", "do"),
        ("function_call", json.dumps({"name": "f", "arguments": {}})),
        ("observation", "2"),
        ("gpt", "done"),
    ]
    row = {
        "conversations": [{"from": who, "value": text} for who, text in said],
        "tools": json.dumps([TOOL]),
    }
    found = list(read_file(write(tmp_path / "a.json", [row])))
    assert [len(one.calls) for one in found] == [0, 1, 0]
    assert found[2].turns[-1].from_tool


def test_a_folder_without_labelled_rows_is_an_error(tmp_path):
    write(tmp_path / "a.json", [{"other": 1}])
    with pytest.raises(ModelError, match="no labelled tool use"):
        read_examples(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text("[{")
    with pytest.raises(ModelError, match=r"a\.json cannot be read"):
        read_examples(tmp_path)
    write(tmp_path / "a.json", [{"messages": 3, "call": None, "tools": []}])
    with pytest.raises(ModelError, match=r"a\.json holds a row"):
        read_examples(tmp_path)
