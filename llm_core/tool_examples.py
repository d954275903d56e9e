"""Labelled tool use: a conversation, the tools on offer, and the calls that came next.

Four public layouts are read, told apart by their fields: the Schema-Guided Dialogue rows with
`messages` and `call` (JSONL, gzipped or not), API-Bank (`query`, `answers`), ToolRL
(`instruction`, `input`, `output`) and ShareGPT as Glaive uses it (`conversations`).
"""

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_core.errors import ModelError
from llm_core.prompt import Call, Role, Turn
from llm_core.toolcalls import ToolSpec

SUFFIXES = (".json", ".jsonl", ".jsonl.gz")
_ROLES: dict[str, Role] = {
    "user": "user",
    "human": "user",
    "system": "system",
    "assistant": "assistant",
    "agent": "assistant",
    "gpt": "assistant",
    "function_call": "assistant",
}
_RESULTS = ("tool", "observation")
_CUE = "Generate API Request:"  # API-Bank's own mark of a place for a call
_TOOL = re.compile(r"^\d+\. Name: (.*)\nDescription: (.*)\nParameters: (.*)$", re.MULTILINE)
_MARKED = re.compile(r"<(user|obs|response|tool_call)>(.*?)</\1>", re.DOTALL)
_TYPES = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
}


@dataclass(frozen=True)
class Example:
    """`calls` are (name, arguments), none where an answer came next."""

    source: str
    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...]
    calls: tuple[tuple[str, dict[str, Any]], ...]


def read_examples(folder: Path) -> list[Example]:
    """The examples of every file of a folder, or of one file; unknown layouts are passed over.

    Raises ModelError where there is none to read, or a file is damaged.
    """
    files = [folder] if folder.is_file() else sorted(folder.glob("*"))
    found = [
        example
        for file in files
        if file.name.endswith(SUFFIXES)
        for example in read_file(file)
        if example.tools
    ]
    if not found:
        raise ModelError(f"{folder} holds no labelled tool use that can be read")
    return found


def read_file(path: Path) -> Iterator[Example]:
    """The examples of one file, named after it; none where its layout is unknown."""
    try:
        rows = _rows(path)
    except (OSError, ValueError) as err:
        raise ModelError(f"{path} cannot be read: {err}; copy it again") from err
    for row in rows:
        for known, reader in _READERS.items():
            if isinstance(row, Mapping) and set(known) <= row.keys():
                try:
                    yield from reader(path.name, row)
                except (KeyError, TypeError, ValueError, AttributeError) as err:
                    raise ModelError(f"{path} holds a row that cannot be read: {err!r}") from err
                break


def _rows(path: Path) -> list[Any]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        if path.suffix == ".json":
            rows = json.load(file)
            return rows if isinstance(rows, list) else []
        return [json.loads(line) for line in file if line.strip()]


def _dialogue(source: str, row: Mapping[str, Any]) -> Iterator[Example]:
    turns = tuple(Turn(_ROLES[turn["role"]], turn["content"]) for turn in row["messages"])
    call = row["call"]
    calls = () if call is None else ((call["name"], dict(call["arguments"])),)
    yield Example(source, turns, tuple(map(ToolSpec.of, row["tools"])), calls)


def _api_bank(source: str, row: Mapping[str, Any]) -> Iterator[Example]:
    turns = []
    for turn in row["query"]:
        text = turn["content"].replace(_CUE, "").strip()
        if turn["role"] in _RESULTS:
            turns.append(_result(text))
        elif turn["role"] != "agent" or turn is not row["query"][-1]:
            turns.append(Turn(_ROLES[turn["role"]], text.strip("`")))
    tools = [_typed(tool["name"], tool["description"], tool["parameters"]) for tool in row["tools"]]
    calls = tuple((call["name"], dict(call["arguments"])) for call in row["answers"])
    yield Example(source, tuple(turns), tuple(tools), calls)


def _tool_rl(source: str, row: Mapping[str, Any]) -> Iterator[Example]:
    tools = [
        _typed(name, about, json.loads(parameters))
        for name, about, parameters in _TOOL.findall(row["instruction"])
    ]
    turns = []
    for kind, text in _MARKED.findall(row["input"]):
        if kind == "tool_call":
            turns.append(_made(tuple(_written(text))))
        elif kind == "obs":
            turns.append(_result(text.strip()))
        else:
            turns.append(Turn("user" if kind == "user" else "assistant", text.strip()))
    parts = dict(_MARKED.findall(row["output"].rpartition("</think>")[2]))
    yield Example(source, tuple(turns), tuple(tools), tuple(_written(parts.get("tool_call", ""))))


def _share_gpt(source: str, row: Mapping[str, Any]) -> Iterator[Example]:
    """One example for each reply of the conversation."""
    tools = tuple(map(ToolSpec.of, json.loads(row["tools"] or "[]")))
    turns: list[Turn] = []
    for said in row["conversations"]:
        kind, text = said["from"], said["value"]
        calls: tuple[tuple[str, dict[str, Any]], ...] = ()
        if kind == "function_call":
            call = json.loads(text)
            calls = ((call["name"], dict(call["arguments"])),)
        if kind in ("gpt", "function_call") and turns:
            yield Example(source, tuple(turns), tools, calls)
        if kind in _RESULTS:
            turns.append(_result(text))
        else:
            turns.append(_made(calls) if calls else Turn(_ROLES[kind], text))


def _result(text: str) -> Turn:
    return Turn("user", f"The function returned: {text}", from_tool=True)


def _written(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in text.strip().splitlines():
        if line.strip():
            call = json.loads(line)
            yield call["name"], dict(call["parameters"])


def _made(calls: tuple[tuple[str, dict[str, Any]], ...]) -> Turn:
    lines = [json.dumps({"name": name, "arguments": given}) for name, given in calls]
    return Turn("assistant", "\n".join(lines), calls=tuple(Call(*call) for call in calls))


def _typed(name: str, about: str, parameters: Mapping[str, Any]) -> ToolSpec:
    """A tool whose parameters have types in Python's words; those that have a default are free."""
    properties, required = {}, []
    for key, said in parameters.items():
        kind, _, free = str(said.get("type", "")).partition(",")
        properties[key] = _schema(kind.strip()) | {"description": str(said.get("description", ""))}
        if not free and said.get("default", "") == "":
            required.append(key)
    schema = {"type": "object", "properties": properties, "required": required}
    return ToolSpec(name, about, schema)


def _schema(kind: str) -> dict[str, Any]:
    outer, _, inner = kind.replace("(", "[").partition("[")
    if outer.lower() in ("list", "tuple", "array"):
        items = _schema(inner.rstrip("])").split(",")[0]) if inner else {}
        return {"type": "array", "items": items}
    if outer.lower() in ("dict", "object"):
        return {"type": "object"}
    known = _TYPES.get(outer.lower())
    return {"type": known} if known else {}


_READERS = {
    ("messages", "call", "tools"): _dialogue,
    ("query", "answers", "tools"): _api_bank,
    ("instruction", "input", "output"): _tool_rl,
    ("conversations", "tools"): _share_gpt,
}
