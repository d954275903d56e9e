"""Which optional arguments a call should give: those that the request holds a cue for.

A small model fills optional arguments badly both ways. One is offered to it only where the
request names one of its values, speaks of it by name or description, or holds a number or a
name that no required argument takes.
"""

from collections.abc import Mapping
from typing import Any

from llm_core.requests import count_numbers, count_spans, needed_numbers
from llm_core.words import is_named, stems


def with_cues(parameters: Mapping[str, Any], request: str) -> dict[str, Any]:
    """The JSON schema of a tool's arguments without the optional ones that have no cue."""
    properties = parameters.get("properties", {})
    required = set(parameters.get("required", ()))
    words = stems(request)
    spare = {
        "number": count_numbers(request) - needed_numbers(parameters),
        "string": count_spans(request) - _needed_strings(parameters),
    }
    kept = {
        name: part
        for name, part in properties.items()
        if name in required or has_cue(name, part, request, words, spare)
    }
    return {**parameters, "properties": kept}


def has_cue(name: str, part: Any, request: str, words: set[str], spare: Mapping[str, int]) -> bool:
    """Whether a request, with its stems and its spare values, speaks of an optional argument."""
    if not isinstance(part, Mapping):
        return False
    kind = part.get("type")
    values = part.get("enum")
    if isinstance(values, list) and values:
        usual = part.get("default")
        return any(is_named(value, request) for value in values if value != usual)
    named = bool(stems(name.replace("_", " ")) & words)
    about = named or bool(stems(str(part.get("description", ""))) & words)
    if kind in ("integer", "number"):
        return spare["number"] > 0 and about
    if kind == "string":
        return named or (about and spare["string"] > 0)
    return named or (about and kind == "boolean")


def _needed_strings(parameters: Mapping[str, Any]) -> int:
    properties = parameters.get("properties", {})
    parts = (properties.get(name) for name in parameters.get("required", ()))
    return sum(
        isinstance(part, Mapping) and part.get("type") == "string" and "enum" not in part
        for part in parts
    )
