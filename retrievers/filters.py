"""One language for filters on metadata, whichever engine holds the documents.

The operators are those of Chroma: `{"year": 2023}`, `{"year": {"$gte": 2020, "$lt": 2024}}`,
`{"source": {"$in": ["a.pdf", "b.pdf"]}}`, `{"$and": [...]}`, `{"$or": [...]}`. Fields named side by
side must all hold. Numbers are compared as numbers and never equal a boolean; a field that is
missing or of another type is unequal to everything, so only `$ne` and `$nin` hold for it.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from retrievers.errors import RetrievalError

Where: TypeAlias = Mapping[str, Any]
Scalar: TypeAlias = str | int | float | bool

ORDER: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_MEMBERS: Final = ("$in", "$nin")
_OPERATORS: Final = ("$eq", "$ne", *ORDER, *_MEMBERS)
_GROUPS: Final = ("$and", "$or")


class FilterError(RetrievalError):
    """A metadata filter cannot be understood; the message names the part and the mend."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison of one field; `value` is a tuple for `$in` and `$nin`."""

    key: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions joined by `$and` or `$or`."""

    operator: str
    parts: tuple["Clause | Group", ...]


Condition: TypeAlias = Clause | Group


def parse_where(where: Where) -> Condition:
    """The condition that `where` spells.

    Raises:
        FilterError: it is empty, or an operator or a value is not one of the language.
    """
    if not isinstance(where, Mapping) or not where:
        raise FilterError(f"filter {where!r} is not a mapping of fields: write {{'year': 2023}}")
    parts = [part for key, value in where.items() for part in _parts(key, value)]
    return parts[0] if len(parts) == 1 else Group("$and", tuple(parts))


def check_where(where: Where) -> None:
    """Accept `where` silently.

    Raises:
        FilterError: as `parse_where`.
    """
    parse_where(where)


def matches(metadata: Mapping[str, Any], where: Where) -> bool:
    """Whether `metadata` is what `where` asks for.

    Raises:
        FilterError: as `parse_where`.
    """
    return holds(parse_where(where), metadata)


def holds(condition: Condition, metadata: Mapping[str, Any]) -> bool:
    """Whether a parsed condition is true of `metadata`."""
    if isinstance(condition, Group):
        every = all if condition.operator == "$and" else any
        return every(holds(part, metadata) for part in condition.parts)
    return clause_holds(condition, metadata.get(condition.key))


def clause_holds(clause: Clause, held: Any) -> bool:
    """Whether a clause is true of the value of its field; None where the field is missing."""
    match clause.operator:
        case "$eq":
            return _same(held, clause.value)
        case "$ne":
            return not _same(held, clause.value)
        case "$in":
            return any(_same(held, value) for value in clause.value)
        case "$nin":
            return not any(_same(held, value) for value in clause.value)
        case _:
            return _is_number(held) and bool(ORDER[clause.operator](held, clause.value))


def canonical(where: Where) -> dict[str, Any]:
    """The same filter with one field, one operator or one group in each mapping.

    That is the form that Chroma and `langchain-postgres` take.

    Raises:
        FilterError: as `parse_where`.
    """
    return _spelled(parse_where(where))


def _spelled(condition: Condition) -> dict[str, Any]:
    if isinstance(condition, Group):
        return {condition.operator: [_spelled(part) for part in condition.parts]}
    key, name = condition.key, condition.operator
    if name not in _MEMBERS:
        return {key: {name: condition.value}}
    kinds: dict[type, list[Scalar]] = {}  # the engines take a list of one type
    for value in condition.value:
        kinds.setdefault(type(value), []).append(value)
    lists = [{key: {name: values}} for values in kinds.values()]
    return lists[0] if len(lists) == 1 else {"$or" if name == "$in" else "$and": lists}


def _parts(key: object, value: Any) -> Iterator[Condition]:
    if key in _GROUPS:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise FilterError(f"{key} in a filter takes a list of filters, not {value!r}")
        parts = tuple(parse_where(part) for part in value)
        yield parts[0] if len(parts) == 1 else Group(str(key), parts)
    elif not isinstance(key, str) or key.startswith("$"):
        raise FilterError(f"a filter cannot begin with {key!r}: name a field, $and or $or")
    elif not isinstance(value, Mapping):
        yield _clause(key, "$eq", value)
    elif not value:
        raise FilterError(f"the filter on {key!r} is empty: write {{{key!r}: 'value'}}")
    else:
        for name, operand in value.items():
            yield _clause(key, name, operand)


def _clause(key: str, name: Any, value: Any) -> Clause:
    if name not in _OPERATORS:
        known = ", ".join(_OPERATORS)
        raise FilterError(f"no operator {name!r} in the filter on {key!r}: there are {known}")
    if name in _MEMBERS:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise FilterError(f"{name} in the filter on {key!r} takes a list, not {value!r}")
        if odd := [item for item in value if not _is_scalar(item)]:
            raise FilterError(_not_scalar(key, odd[0]))
        return Clause(key, name, tuple(value))
    if name in ORDER and not _is_number(value):
        raise FilterError(f"{name} in the filter on {key!r} takes a number, not {value!r}")
    if not _is_scalar(value):
        raise FilterError(_not_scalar(key, value))
    return Clause(key, name, value)


def _not_scalar(key: str, value: object) -> str:
    return f"the filter on {key!r} takes text, a finite number, true or false, not {value!r}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _same(held: object, wanted: object) -> bool:
    """Equal and of one kind: True is not 1, but 1.0 is."""
    return isinstance(held, bool) == isinstance(wanted, bool) and held == wanted
