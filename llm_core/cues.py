"""Which optional arguments a call should give: those that the request holds a cue for.

A small model fills optional arguments badly both ways. One is offered to it only where the
request names one of its values, speaks of it by name or description, or holds a number or a
name that no required argument takes. And one must be given where a logistic score over the
signs of that is high; `python -m llm_core fit-tools --cues` fits it on labelled calls.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llm_core.cue_signs import SIGNS, Request, needed_strings
from llm_core.requests import count_numbers, count_spans, needed_numbers
from llm_core.words import is_named, stems

WEIGHTS = Path(__file__).with_name("cues.json")
UNWEIGHED = ("boolean", "object")  # types that labelled calls have too few of


@dataclass(frozen=True)
class CueWeights:
    """A logistic model over signs; from the score `needed` on an argument must be given."""

    weights: Mapping[str, float]
    bias: float
    needed: float

    def score(self, signs: list[float]) -> float:
        """The log-odds that an argument is given."""
        pairs = zip(SIGNS, signs, strict=True)
        return self.bias + sum(self.weights[name] * value for name, value in pairs)


@lru_cache(maxsize=1)
def load_cues() -> CueWeights:
    """The fitted weights."""
    found: dict[str, Any] = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return CueWeights(found["weights"], found["bias"], found["needed"])


def with_cues(parameters: Mapping[str, Any], request: str) -> dict[str, Any]:
    """The JSON schema of a tool's arguments: those without a cue left out, some more required."""
    properties = parameters.get("properties", {})
    required = set(parameters.get("required", ()))
    words = stems(request)
    spare = {
        "number": count_numbers(request) - needed_numbers(parameters),
        "string": count_spans(request) - needed_strings(parameters),
    }
    kept = {
        name: part
        for name, part in properties.items()
        if name in required or has_cue(name, part, request, words, spare)
    }
    found = {**parameters, "properties": kept}
    needed = _needed({name: kept[name] for name in kept if name not in required}, found, request)
    return {**found, "required": [*parameters.get("required", ()), *needed]} if needed else found


def _needed(free: Mapping[str, Any], parameters: Mapping[str, Any], request: str) -> list[str]:
    """Which of these optional arguments the request surely speaks of."""
    if not free:
        return []
    weights, spoken = load_cues(), Request(request, parameters)
    return [
        name
        for name, part in free.items()
        if part.get("type") not in UNWEIGHED
        and weights.score(spoken.signs(name, part)) >= weights.needed
    ]


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
