"""Prepare a JSON schema for decoding: closed objects, and a bound on everything that can grow."""

from dataclasses import dataclass
from typing import Any

_CHILD_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_CHILD_LISTS = ("anyOf", "oneOf", "prefixItems")
_CHILDREN = ("items", "additionalProperties", "contains", "additionalItems")
_FIXES_STRING = ("maxLength", "enum", "const", "format", "pattern")


@dataclass(frozen=True)
class Bounds:
    """Limits put where a schema states none: characters, items, and size of integers."""

    string: int = 240
    items: int = 16
    integer: int = 10**12


def bounded(schema: dict[str, Any], bounds: Bounds | None = None) -> dict[str, Any]:
    """A copy of `schema` that a decoder can follow to an end.

    Objects with named properties admit no others, required properties come first, and
    strings, arrays and integers without a limit get the one of `bounds`. Everything the copy
    accepts, the original accepts too.
    """
    return _bound(schema, bounds or Bounds(), merged=False)


def _bound(node: dict[str, Any], bounds: Bounds, *, merged: bool) -> dict[str, Any]:
    out = dict(node)
    for key in _CHILD_MAPS:
        if isinstance(out.get(key), dict):
            out[key] = {k: _child(v, bounds, False) for k, v in out[key].items()}
    for key in _CHILD_LISTS:
        if isinstance(out.get(key), list):
            # Alternatives beside sibling properties are merged with them, so stay open.
            out[key] = [_child(v, bounds, merged or "properties" in out) for v in out[key]]
    if isinstance(out.get("allOf"), list):
        alone = len(out["allOf"]) == 1 and "properties" not in out
        out["allOf"] = [_child(v, bounds, merged or not alone) for v in out["allOf"]]
    for key in _CHILDREN:
        if key in out:
            out[key] = _child(out[key], bounds, False)
    _limit(out, bounds, merged)
    return out


def _child(value: Any, bounds: Bounds, merged: bool) -> Any:
    return _bound(value, bounds, merged=merged) if isinstance(value, dict) else value


def _limit(node: dict[str, Any], bounds: Bounds, merged: bool) -> None:
    kinds = node.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if isinstance(node.get("properties"), dict):
        _close(node, merged)
    if "string" in kinds and not any(key in node for key in _FIXES_STRING):
        node["maxLength"] = max(bounds.string, node.get("minLength", 0))
    if "array" in kinds and not {"maxItems", "prefixItems", "enum", "const"} & node.keys():
        node["maxItems"] = max(bounds.items, node.get("minItems", 0))
    if "integer" in kinds and not {"enum", "const"} & node.keys():
        _limit_integer(node, bounds.integer)


def _limit_integer(node: dict[str, Any], size: int) -> None:
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    if low is None and (high is None or high > -size):
        node["minimum"] = -size
    if high is None and (low is None or low < size):
        node["maximum"] = size


def _close(node: dict[str, Any], merged: bool) -> None:
    required = list(dict.fromkeys(node.get("required", [])))
    properties = node["properties"]
    composed = merged or {"allOf", "anyOf", "oneOf", "$ref", "patternProperties"} & node.keys()
    closes = not composed and "additionalProperties" not in node
    first = {name: properties[name] for name in properties if name in required}
    if closes:
        # A key that is required but not described may hold anything.
        first |= {name: {} for name in required if name not in properties}
        node["additionalProperties"] = False
    node["properties"] = {**first, **{k: v for k, v in properties.items() if k not in required}}
