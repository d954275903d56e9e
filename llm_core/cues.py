"""Which optional arguments a call should give: those that the request holds a cue for.

A small model fills optional arguments badly both ways. One is offered to it only where the
request names one of its values, speaks of it by name or description, or holds a number or a
name that no required argument takes. And one must be given where a logistic score over the
signs of that is high; `python -m llm_core fit-tools --cues` fits it on labelled calls.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llm_core.combined import any_of, ways
from llm_core.cue_signs import SIGNS, Request, needed_strings
from llm_core.requests import count_numbers, count_spans, needed_numbers
from llm_core.words import is_named, stems

WEIGHTS = Path(__file__).with_name("cues.json")
UNWEIGHED = ("boolean", "object")  # types that labelled calls have too few of
# Keywords of an object that say which arguments may stand beside which.
_RULES = (
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
)


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
    """The JSON schema of a tool's arguments: those without a cue left out, some more required.

    What other rules than `required` ask for stays in, so that a valid call can be written.
    """
    return any_of([_cued(way, request) for way in ways(parameters)])


def _cued(parameters: Mapping[str, Any], request: str) -> dict[str, Any]:
    properties = parameters.get("properties", {})
    tied = _tied(parameters)
    required = _with_tied(parameters.get("required", ()), tied)
    words = stems(request)
    spare = {
        "number": count_numbers(request) - needed_numbers(parameters),
        "string": count_spans(request) - needed_strings(parameters),
    }
    ruled = _ruled(parameters)
    names = _with_tied(
        (
            name
            for name, part in properties.items()
            if name in required or name in ruled or has_cue(name, part, request, words, spare)
        ),
        tied,
    )
    kept = {name: part for name, part in properties.items() if name in names}
    found = {**parameters, "properties": kept}
    free = {name: part for name, part in kept.items() if name not in required}
    if not ruled and not {"maxProperties", "not"} & parameters.keys():
        required = _with_tied([*required, *_needed(free, found, request)], tied)
    if required != list(parameters.get("required", ())):
        found["required"] = required
    return _filled(found, properties, request)


def _tied(parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """The arguments that must be given besides each, where it is."""
    tied: dict[str, list[str]] = {}
    for key in ("dependentRequired", "dependencies"):
        rules = parameters.get(key)
        for name, others in rules.items() if isinstance(rules, Mapping) else ():
            if isinstance(others, list):
                tied.setdefault(name, []).extend(others)
    return tied


def _with_tied(names: Iterable[str], tied: Mapping[str, list[str]]) -> list[str]:
    """The names, each once, and all that must be given besides them."""
    found = list(dict.fromkeys(names))
    for name in found:  # which grows meanwhile
        found += [other for other in tied.get(name, ()) if other not in found]
    return found


def _ruled(rules: Any, *, within: bool = False) -> set[str]:
    """All names in the rules of a schema that say what may stand beside what."""
    if isinstance(rules, str):
        return {rules} if within else set()
    if isinstance(rules, Mapping):
        inner = rules if within else {key: rules[key] for key in _RULES if key in rules}
        names = set(map(str, inner)) if within else set()
        return names.union(*(_ruled(rule, within=True) for rule in inner.values()))
    if isinstance(rules, list | tuple):
        return set().union(*(_ruled(rule, within=within) for rule in rules))
    return set()


def _filled(found: dict[str, Any], properties: Mapping[str, Any], request: str) -> dict[str, Any]:
    """The schema with as many arguments as it asks for, the likeliest of those left out."""
    least, kept = found.get("minProperties", 0), found["properties"]
    if not isinstance(least, int) or len(kept) > least:
        return found
    left = [name for name in properties if name not in kept]
    if len(kept) < least and left:
        weights, spoken = load_cues(), Request(request, found)
        signs = {name: spoken.signs(name, _mapping(properties[name])) for name in left}
        left.sort(key=lambda name: -weights.score(signs[name]))
        more = {*kept, *left[: least - len(kept)]}
        kept = {name: part for name, part in properties.items() if name in more}
    if len(kept) == least and kept:
        found["required"] = _with_tied([*found.get("required", ()), *kept], {})
    return {**found, "properties": kept}


def _mapping(part: Any) -> Mapping[str, Any]:
    return part if isinstance(part, Mapping) else {}


def _needed(free: Mapping[str, Any], parameters: Mapping[str, Any], request: str) -> list[str]:
    """Which of these optional arguments the request surely speaks of."""
    if not free:
        return []
    weights, spoken = load_cues(), Request(request, parameters)
    return [
        name
        for name, part in free.items()
        if _mapping(part).get("type") not in UNWEIGHED
        and weights.score(spoken.signs(name, _mapping(part))) >= weights.needed
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
