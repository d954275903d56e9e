"""Parameters that combine several schemas, as the objects that the arguments may be.

A grammar leaves what `anyOf`, `oneOf` and `allOf` combine open to further keys, for one part may
name what another does not. An object for each way of reading them can be closed.
"""

from collections.abc import Mapping
from typing import Any

from llm_core.structured import definition_of

Schema = dict[str, Any]
COMBINES = ("allOf", "anyOf", "oneOf")
_DEFINITIONS = ("$defs", "definitions")
_NOTES = {"title", "description", "default", "examples", "$comment", *_DEFINITIONS}
_PLAIN = {"type", "properties", "required", "additionalProperties", *_NOTES}


def ways(parameters: Mapping[str, Any]) -> list[Schema]:
    """The objects that `parameters` allow, each with nothing combined; never none.

    Whatever satisfies one of them has still to be held against the whole, `oneOf` above all.
    Parameters that combine more than plain objects come back as they are.
    """
    whole = dict(parameters)
    choices = [key for key in ("anyOf", "oneOf") if key in whole]
    if not any(key in whole for key in COMBINES) or len(choices) > 1:
        return [whole]
    parts = _objects(whole, "allOf")
    arms = _objects(whole, choices[0]) if choices else [{}]
    if parts is None or not arms:
        return [whole]
    base = {key: value for key, value in whole.items() if key not in COMBINES}
    for part in parts:
        base = _joined(base, part)
    if choices == ["oneOf"]:
        return [_joined(base, arm, _asked_elsewhere(arm, arms)) for arm in arms]
    return [_joined(base, arm) for arm in arms]


def any_of(objects: list[Schema]) -> Schema:
    """One schema for several objects, and that of the only one as it is."""
    if len(objects) == 1:
        return objects[0]
    kept = {key: objects[0][key] for key in _DEFINITIONS if key in objects[0]}
    bare = [{k: v for k, v in each.items() if k not in _DEFINITIONS} for each in objects]
    return {"anyOf": bare, **kept}


def properties_of(schema: Mapping[str, Any]) -> Schema:
    """The schemas of all arguments that an object, or one of several, has by name."""
    found: Schema = {}
    for each in (schema, *schema.get("anyOf", ())):
        found = {**each.get("properties", {}), **found}
    return found


def _objects(whole: Mapping[str, Any], key: str) -> list[Schema] | None:
    """The parts under a key that are objects; None where one is more than plain."""
    kept = {name: whole[name] for name in _DEFINITIONS if name in whole}
    found: list[Schema] = []
    for part in whole.get(key, ()):
        if not isinstance(part, Mapping):
            return None
        followed = dict(definition_of({**part, **kept}))
        if followed.get("type", "object") != "object":
            continue  # arguments are never that
        if not followed.keys() <= _PLAIN or not isinstance(followed.get("properties", {}), Mapping):
            return None
        found.append(followed)
    return found


def _joined(base: Schema, part: Schema, without: frozenset[str] = frozenset()) -> Schema:
    """An object that is both, closed unless one of them says otherwise."""
    own, common = part.get("properties", {}), base.get("properties", {})
    if part.get("additionalProperties") is False:
        common = {name: common[name] for name in common if name in own}
    named = {**common, **own}
    required = dict.fromkeys([*base.get("required", ()), *part.get("required", ())])
    rest = {key: value for key, value in part.items() if key not in _NOTES}
    return {
        "additionalProperties": False,
        **base,
        **rest,
        "properties": {name: value for name, value in named.items() if name not in without},
        "required": list(required),
    }


def _asked_elsewhere(arm: Schema, arms: list[Schema]) -> frozenset[str]:
    """What other arms require and this one does not name: with it, both might be satisfied."""
    others = {name for other in arms for name in other.get("required", ())}
    return frozenset(others - set(arm.get("required", ())) - arm.get("properties", {}).keys())
