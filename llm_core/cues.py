"""Which optional arguments a call should give: those that the request holds a cue for.

A small model fills optional arguments badly both ways. One is offered to it only where the
request names one of its values, speaks of it by name or description, or holds a number or a
name that no required argument takes.
"""

import re
from collections.abc import Mapping
from typing import Any

from llm_core.requests import count_numbers, count_spans, needed_numbers

_WORD = re.compile(r"[a-z]+|\d+")
_FILLERS = (
    "a an the of to for in on at by with and or is are be it its this that if not as from number"
    " value type name string integer float boolean list default optional whether which should can"
    " e g i eg ie etc example format specified specify include included used using use based such"
    " desired want wanted given set data id unit units result results your you user we will any all"
    " only must may like when than more maximum minimum option options parameter true false none"
    " there search find get one two"
)
_COMMON = frozenset(_FILLERS.split())
_LEAST = 3  # letters of a word that counts


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
        return any(_named(value, request) for value in values if value != usual)
    named = bool(stems(name.replace("_", " ")) & words)
    about = named or bool(stems(str(part.get("description", ""))) & words)
    if kind in ("integer", "number"):
        return spare["number"] > 0 and about
    if kind == "string":
        return named or (about and spare["string"] > 0)
    return named or (about and kind == "boolean")


def stems(text: str) -> set[str]:
    """The words of a text that mean something, cut to their first five letters."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    return {
        word[:5] for word in _WORD.findall(spaced) if len(word) >= _LEAST and word not in _COMMON
    }


def _named(value: Any, request: str) -> bool:
    """Whether a closed value stands in the request, as words of its own."""
    spoken = re.sub(r"[_-]", " ", str(value)).strip()
    if not spoken:
        return False
    plain = re.sub(r"[_-]", " ", request)
    return re.search(rf"(?<!\w){re.escape(spoken)}(?!\w)", plain, re.IGNORECASE) is not None


def _needed_strings(parameters: Mapping[str, Any]) -> int:
    properties = parameters.get("properties", {})
    parts = (properties.get(name) for name in parameters.get("required", ()))
    return sum(
        isinstance(part, Mapping) and part.get("type") == "string" and "enum" not in part
        for part in parts
    )
