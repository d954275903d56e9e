"""Prepare a JSON schema for decoding: which keys an object may have, and what else must give.

What a copy made here accepts, the original accepts too, or a validator refuses it afterwards.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from math import comb
from typing import Any

Schema = dict[str, Any]

_CHILD_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_CHILD_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_CHILDREN = ("items", "additionalProperties", "contains", "additionalItems", "not", "if", "then")
_LEAST, _MOST = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
_FAR = 1e17  # numbers beyond are not written, and bounds much beyond not followed
_OLD = re.compile(r"draft-0[3467]\b")
_REF = ("$schema", "$ref", "$defs", "definitions", "$id", "id")  # what stands beside a reference
_LONG, _COUNTS = 240, re.compile(r"\{\d+,\d*\}")  # characters, and a pattern that counts
_NOTES = ("title", "description", "$comment")
_WAYS = 24  # alternatives that a count of keys is worth
_COMPOSING = {"allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "patternProperties", "if"}


def closed(schema: Schema) -> Schema:
    """A copy in which objects with named properties admit no others, and required ones come first.

    An object that says itself whether it is open stays so, and so does one that is merged with
    another schema, for there a key may be named elsewhere. Everything the copy accepts, the
    original accepts too.
    """
    return _close(schema, merged=False)


def loosened(schema: Schema, compiles: Callable[[str], bool]) -> Schema:
    """A copy without what a grammar engine most often refuses; it accepts more.

    Patterns for which `compiles` is False go, as do the neighbours of references, conditions,
    and patterns of keys where several could hold for the same key.
    """
    return _loosen(schema, compiles)


def narrowed(schema: Schema, compiles: Callable[[str], bool]) -> Schema:
    """A copy without the alternatives whose patterns cannot be followed, where others are left.

    `compiles` says of a pattern whether it can be.
    """

    def narrow(node: Any, _keyword: str) -> Any:
        if not isinstance(node, dict):
            return node
        out = _mapped(node, narrow)
        for key in ("anyOf", "oneOf"):
            parts = out[key] if isinstance(out.get(key), list) else []
            out |= {key: kept} if (kept := [p for p in parts if _followed(p, compiles)]) else {}
        return out

    return dict(narrow(schema, ""))


def near(schema: Schema) -> Schema:
    """A copy without bounds so far out that they are of no use to a grammar engine.

    No number that is written meets some of them; and a pattern that counts, within a length
    that is counted up to thousands, has more states than the engine keeps.
    """

    def child(node: Any, _keyword: str) -> Any:
        if not isinstance(node, dict):
            return node
        out = _mapped(node, child)
        for names, sign in ((_LEAST, -1), (_MOST, 1)):
            for name in names:
                if _is_far(out.get(name), sign):
                    del out[name]
        if _COUNTS.search(str(out.get("pattern", ""))) and _is_long(out.get("maxLength")):
            del out["maxLength"]
        return out

    return dict(child(schema, ""))


def referred(schema: Schema) -> Schema:
    """A copy that means under the newest draft what the schema means under its own.

    Until draft 7 the neighbours of a `$ref` counted for nothing.
    """
    if not _OLD.search(str(schema.get("$schema", ""))):
        return schema

    def child(node: Any, _keyword: str) -> Any:
        if not isinstance(node, dict):
            return node
        out = _mapped(node, child)
        return {name: out[name] for name in _REF if name in out} if _refers(out) else out

    refs = [str(node["$ref"]) for node in _nodes(schema) if _refers(node)]
    heads = {ref.split("/")[1] for ref in refs if ref.startswith("#/")}
    # Definitions may stand anywhere, under the root's own reference too.
    return {name: schema[name] for name in schema if name in heads} | dict(child(schema, ""))


def apart(schema: Schema, *, exactly: bool) -> Schema:
    """A copy in which alternatives of `oneOf` leave out a key that another one requires.

    The grammar engine takes `oneOf` for `anyOf`, and what satisfies two of them is wrong. With
    `exactly` only where the copy then accepts all that the original accepts.
    """

    def part(node: Any, _keyword: str) -> Any:
        if not isinstance(node, dict):
            return node
        out = _mapped(node, part)
        ways = out.get("oneOf")
        if isinstance(ways, list) and all(isinstance(way, dict) for way in ways):
            always = _required(out)
            out["oneOf"] = [_without(way, ways, always, exactly) for way in ways]
        return out

    return dict(part(schema, ""))


def counted(schema: Schema) -> Schema:
    """A copy in which `minProperties` says what the grammar engine takes it to say.

    The engine counts the keys that have no name in the schema. Here the named ones that a
    reply may choose from are spelled out as alternatives; where these are too many, and where
    the names stand in another schema, the count is left to a validator.
    """

    def count(node: Any, _keyword: str) -> Any:
        return _counted(_mapped(node, count)) if isinstance(node, dict) else node

    return dict(count(schema, ""))


def far_bound(schema: Any) -> str | None:
    """The first bound that only numbers too large to be written satisfy, with its value."""
    for node in _nodes(schema):
        for names, sign in ((_LEAST, 1), (_MOST, -1)):
            for name in names:
                if _is_far(node.get(name), sign):
                    return f"{name} {node[name]}"
    return None


def numbers_of(schema: Any, *names: str) -> Iterator[int]:
    """The values of these keywords, wherever in the schema they stand."""
    for node in _nodes(schema):
        yield from (node[name] for name in names if isinstance(node.get(name), int))


def patterns_of(schema: Any) -> Iterator[str]:
    """The patterns of strings and keys, wherever in the schema they stand."""
    for node in _nodes(schema):
        if isinstance(node.get("pattern"), str):
            yield node["pattern"]
        if isinstance(node.get("patternProperties"), dict):
            yield from node["patternProperties"]


def _nodes(schema: Any) -> Iterator[Schema]:
    """Every object in a schema, the schema itself first."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
        parts = node.values() if isinstance(node, dict) else node
        waiting += [part for part in parts if isinstance(part, (dict, list))]


def _required(node: Schema) -> list[str]:
    names = node.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _differ(way: Schema, other: Schema, names: set[str]) -> bool:
    """Whether two objects have different constants under one of these keys."""
    own, others = _constants(way), _constants(other)
    return any(own[name].isdisjoint(others[name]) for name in names & own.keys() & others.keys())


def _constants(node: Schema) -> dict[str, set[str]]:
    """By key, the values that an object may have there, as JSON, where these are listed."""
    named = node.get("properties")
    parts = named.items() if isinstance(named, dict) else ()
    listed = {
        name: [part["const"]] if "const" in part else part.get("enum")
        for name, part in parts
        if isinstance(part, dict)
    }
    return {name: set(map(json.dumps, v)) for name, v in listed.items() if isinstance(v, list)}


def _without(way: Schema, ways: list[Schema], always: list[str], exactly: bool) -> Schema:
    """One of some alternatives that exclude each other, without a key of each of the others."""
    if _refers(way):
        return way  # the engine refuses neighbours of a reference that comes back to itself
    own = {*always, *_required(way)}
    left_out: dict[str, Any] = {}
    for other in ways:
        more = [name for name in _required(other) if name not in own]
        if other is way or not more or any(name in left_out for name in more):
            continue
        if _differ(way, other, own):
            continue  # what holds of one cannot hold of the other, whichever keys are there
        if not exactly or (len(more) == 1 and not other.keys() - {"required", *_NOTES}):
            left_out[more[0]] = False
    named = way.get("properties", {})
    if not left_out or not isinstance(named, dict):
        return way
    return {**way, "properties": {**named, **left_out}}


def _counted(node: Schema) -> Schema:
    least, named = node.get("minProperties"), node.get("properties")
    if not isinstance(least, int) or not (isinstance(named, dict) and named):
        merged = _COMPOSING - {"if", "patternProperties"}
        return {key: node[key] for key in node if key != "minProperties" or not merged & set(node)}
    required = _required(node)
    free = [name for name, part in named.items() if name not in required and part is not False]
    more = least - len(required)
    opens = node.get("additionalProperties", True) is not False
    if more <= 0 or (not opens and (more > len(free) or (more == 1 and not required))):
        return node  # the engine reads it as it is meant
    # Of keys without a name so many fewer have to be there.
    sizes = range(0 if opens else more, min(more, len(free)) + 1)
    out = dict(node) if opens else {key: node[key] for key in node if key != "minProperties"}
    if _ways(len(free), sizes) > _WAYS:
        return {key: node[key] for key in node if key != "minProperties"}
    chosen = [list(some) for size in sizes for some in combinations(free, size)]
    ways = {"anyOf": [{"required": [*required, *some]} for some in chosen]}
    before = out.get("allOf")
    return {**out, "allOf": [*(before if isinstance(before, list) else []), ways]}


def _ways(names: int, sizes: range) -> int:
    """In how many ways so many names can be chosen; of more than _WAYS not each is counted."""
    if len(sizes) > _WAYS or (names > _WAYS and any(0 < size < names for size in sizes)):
        return max(len(sizes), names)  # at least; the true number may take long
    return sum(comb(names, size) for size in sizes)


def _followed(schema: Any, compiles: Callable[[str], bool]) -> bool:
    return all(map(compiles, patterns_of(schema)))


def _refers(node: Schema) -> bool:
    return isinstance(node.get("$ref"), str)


def _is_long(length: Any) -> bool:
    return isinstance(length, int) and length > _LONG


def _is_far(value: Any, sign: int) -> bool:
    return isinstance(value, (int, float)) and sign * value > _FAR


def _close(node: Schema, *, merged: bool) -> Schema:
    composed = merged or bool(_COMPOSING & node.keys())
    alone = "properties" not in node and not merged

    def child(value: Any, keyword: str) -> Any:
        if not isinstance(value, dict):
            return value
        inside = keyword in ("anyOf", "oneOf") and not alone
        inside |= keyword == "allOf" and not (alone and len(node["allOf"]) == 1)
        return _close(value, merged=inside)

    out = _mapped(node, child)
    if isinstance(out.get("properties"), dict):
        closes = not composed and "additionalProperties" not in out
        out["properties"] = _ordered(out["properties"], out.get("required"), closes)
        if closes:
            out["additionalProperties"] = False
    return out


def _ordered(properties: Schema, required: Any, closes: bool) -> Schema:
    """The properties, those that must be there first."""
    names = (
        [each for each in required if isinstance(each, str)] if isinstance(required, list) else []
    )
    first = {name: value for name, value in properties.items() if name in names}
    if closes:
        # A key that is required but not described may hold anything.
        first |= {name: {} for name in names if name not in properties}
    return {**first, **{k: v for k, v in properties.items() if k not in first}}


def _loosen(node: Schema, compiles: Callable[[str], bool]) -> Schema:
    def child(value: Any, _keyword: str) -> Any:
        return _loosen(value, compiles) if isinstance(value, dict) else value

    out = _mapped(node, child)
    if _refers(out):
        return {name: out[name] for name in _REF if name in out}
    for name in ("if", "then", "else", "not", "propertyNames", "dependencies", "multipleOf"):
        out.pop(name, None)
    if isinstance(out.get("pattern"), str) and not compiles(out["pattern"]):
        del out["pattern"]
    if out.pop("patternProperties", None) is not None:
        out.pop("additionalProperties", None)
    return out


def _mapped(node: Schema, child: Callable[[Any, str], Any]) -> Schema:
    """A copy of a schema whose subschemas are what `child` makes of them and their keyword."""
    out = dict(node)
    for key in _CHILD_MAPS:
        if isinstance(out.get(key), dict):
            out[key] = {name: child(value, key) for name, value in out[key].items()}
    for key in _CHILD_LISTS:
        if isinstance(out.get(key), list):
            out[key] = [child(value, key) for value in out[key]]
    for key in _CHILDREN:
        if isinstance(out.get(key), dict):
            out[key] = child(out[key], key)
        elif isinstance(out.get(key), list):
            out[key] = [child(value, key) for value in out[key]]
    return out
