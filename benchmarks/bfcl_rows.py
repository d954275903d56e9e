"""Single-turn rows of the Berkeley Function Calling Leaderboard, and the check of a row's calls.

The check follows the leaderboard's own for Python: the tool's name, no argument that the tool
does not have, every required one, the types, and a value out of the accepted ones. Strings are
compared in lower case without blanks and `,./-_*^'"`; an integer passes for a number; an
accepted value of "" lets an argument be absent. Several calls may come in any order.

Source: Patil et al. 2025, "The Berkeley Function Calling Leaderboard"; bfcl_eval's ast_checker.
"""

import gzip
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_core.errors import ModelError
from llm_core.prompt import Role, Turn
from llm_core.toolcalls import ToolSpec

CATEGORIES = (
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_relevance",
    "live_irrelevance",
)
IRRELEVANT = ("irrelevance", "live_irrelevance")
RELEVANT_ONLY = "live_relevance"  # some call is wanted, no matter which
_KINDS = {"dict": "object", "float": "number", "tuple": "array"}
_IGNORED = re.compile(r"[ ,./\-_*^'\"]")
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True)
class Call:
    """One call of a tool, as a system under test made it."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One question, its tools, and the calls that count as right.

    `truth` holds one entry a call: tool name to argument to accepted values.
    """

    id: str
    category: str
    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...]
    truth: tuple[dict[str, dict[str, list[Any]]], ...]

    @property
    def wants_call(self) -> bool:
        """Whether a call is the right move."""
        return self.category not in IRRELEVANT

    @property
    def wants_many(self) -> bool:
        """Whether the category is one of several calls a row."""
        return "parallel" in self.category

    def right(self, calls: Sequence[Call]) -> bool:
        """Whether these calls are what the row asks for, none too many."""
        if not self.wants_call:
            return not calls
        if self.category == RELEVANT_ONLY:
            return bool(calls)
        if len(calls) != len(self.truth):
            return False
        left = list(calls)
        for wanted in self.truth:
            found = next((call for call in left if self._matches(call, wanted)), None)
            if found is None:
                return False
            left.remove(found)
        return True

    def right_tools(self, calls: Sequence[Call]) -> bool:
        """Whether the called tools are the wanted ones, whatever their arguments."""
        wanted = sorted(name for one in self.truth for name in one)
        return sorted(call.name for call in calls) == wanted

    def example(self) -> list[Call]:
        """Calls with the first accepted value of every argument that must be there."""
        return [
            Call(name, _sample(accepted, self._tool(name).parameters.get("required", ())))
            for one in self.truth
            for name, accepted in one.items()
        ]

    def _tool(self, name: str) -> ToolSpec:
        return next(tool for tool in self.tools if tool.name == name)

    def _matches(self, call: Call, wanted: Mapping[str, dict[str, list[Any]]]) -> bool:
        if call.name not in wanted:
            return False
        parameters = self._tool(call.name).parameters
        return call_matches(call.arguments, parameters, wanted[call.name])


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file, gzipped or not; raises ModelError naming a bad line."""
    opened = gzip.open if path.suffix == ".gz" else open
    rows = []
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    rows.append(_row(json.loads(line)))
                except (ValueError, KeyError, TypeError, IndexError) as err:
                    raise ModelError(f"{path}, line {number} is no BFCL row: {err!r}") from err
    except OSError as err:
        raise ModelError(f"{path} cannot be read: {err}; give the file of BFCL rows") from err
    return rows


def _row(raw: Mapping[str, Any]) -> Row:
    return Row(
        id=raw["id"],
        category=raw["category"],
        turns=tuple(Turn(_ROLES[turn["role"]], turn["content"]) for turn in raw["question"][0]),
        tools=tuple(
            ToolSpec(each["name"], each["description"], json_schema(each["parameters"]))
            for each in raw["function"]
        ),
        truth=tuple(raw["ground_truth"]),
    )


def json_schema(node: Any) -> Any:
    """A schema in the leaderboard's words as a JSON Schema; the argument stays as it is."""
    if isinstance(node, list):
        return [json_schema(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, Mapping):
            out[key] = {name: json_schema(part) for name, part in value.items()}
        elif key == "type" and isinstance(value, str):
            if value != "any":
                out[key] = _KINDS.get(value, value)
        elif key in ("items", "enum", "required", "description", "format", "default"):
            out[key] = json_schema(value) if key == "items" else value
    return out


def call_matches(
    arguments: Mapping[str, Any],
    schema: Mapping[str, Any],
    accepted: Mapping[str, list[Any]],
) -> bool:
    """Whether each argument has an accepted value of the right type, and none is missing."""
    properties = schema.get("properties", {})
    if any(name not in arguments for name in schema.get("required", ())):
        return False
    for name, value in arguments.items():
        if name not in properties or name not in accepted:
            return False
        if not _accepted(value, accepted[name], properties[name]):
            return False
    return all(name in arguments or "" in values for name, values in accepted.items())


def _accepted(value: Any, options: Sequence[Any], schema: Mapping[str, Any]) -> bool:
    """A value of the wrong type counts where an accepted one is of that type too."""
    fits = _of_type(value, schema.get("type")) or any(type(value) is type(x) for x in options if x)
    return fits and any(_same(value, each) for each in options)


def _of_type(value: Any, kind: Any) -> bool:
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return True


def _same(value: Any, wanted: Any) -> bool:
    """Whether a value is one accepted value; those of an object are lists of accepted ones."""
    if isinstance(value, str) and isinstance(wanted, str):
        return _plain(value) == _plain(wanted)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        if not value.keys() <= wanted.keys():
            return False
        return all(
            any(_same(value[key], each) for each in _options(values))
            if key in value
            else "" in _options(values)
            for key, values in wanted.items()
        )
    return bool(value == wanted)


def _plain(text: str) -> str:
    return _IGNORED.sub("", text).lower()


def _options(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _sample(accepted: Mapping[str, list[Any]], required: Collection[str]) -> dict[str, Any]:
    """The first accepted value of each argument, without those that may be absent."""
    return {
        key: _whole(next((each for each in options if each != ""), ""))
        for key, options in accepted.items()
        if "" not in options or key in required
    }


def _whole(value: Any) -> Any:
    """An accepted value as a value: an object's members are lists of accepted ones."""
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _whole(_options(values)[0])
        for key, values in value.items()
        if "" not in _options(values)
    }
