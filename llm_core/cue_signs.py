"""The signs that a request speaks of an optional argument, as numbers to be weighed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llm_core.copy_sources import numbers_in
from llm_core.nearness import nearness, stems_of
from llm_core.requests import count_numbers, count_spans, needed_numbers
from llm_core.words import is_named, stems

SIGNS = (
    "name",  # share of the name's words that the request holds
    "about",  # the same of the description's
    "near",  # how near a value stands to any of them
    "named",  # one of the closed values is in the request
    "unnamed",  # none is
    "number_spare",  # there are more numbers than required arguments take
    "number_about",  # and the request speaks of the argument
    "string_spare",  # there are more names and quotations than required arguments take
    "list_about",
    "default",  # the description tells of one
)
_SPAN = re.compile(
    rb"\"[^\"\n]+\"|'[^'\n]+'|(?<=[\w,:] )[A-Z][\w'&-]*(?: [A-Z][\w'&-]*)*"  # quoted, or a name
)


class Request:
    """A request, and which of its values the required arguments of a tool leave over."""

    def __init__(self, text: str, parameters: Mapping[str, Any]) -> None:
        self.text = text
        self._words = stems(text)
        self._bytes = text.encode()
        self._numbers = [(number.start, number.end) for number in numbers_in(text)]
        self._spans = [found.span() for found in _SPAN.finditer(self._bytes)]
        self._spare_numbers = count_numbers(text) - needed_numbers(parameters)
        self._spare_strings = count_spans(text) - needed_strings(parameters)

    def signs(self, name: str, part: Mapping[str, Any]) -> list[float]:
        """The numbers in the order of SIGNS, each from 0 to 1."""
        kind, values = part.get("type"), part.get("enum")
        closed = isinstance(values, list) and bool(values)
        description = str(part.get("description", ""))
        of_name, of_text = stems(name.replace("_", " ")), stems(description)
        about = bool((of_name | of_text) & self._words)
        is_number = kind in ("integer", "number")
        is_string = kind in ("string", None) and not closed
        spare_number = is_number and self._spare_numbers > 0
        named = closed and self._names(values or (), part.get("default"))
        found = (
            _share(of_name, self._words),
            _share(of_text, self._words),
            self._near(name, part, self._numbers if is_number else self._spans),
            named,
            closed and not named,
            spare_number,
            spare_number and about,
            is_string and self._spare_strings > 0,
            kind == "array" and about,
            "default" in part or "default" in description.lower(),
        )
        return [float(each) for each in found]

    def _names(self, values: Sequence[Any], usual: Any) -> bool:
        return any(is_named(value, self.text) for value in values if value != usual)

    def _near(self, name: str, part: Mapping[str, Any], spans: Sequence[tuple[int, int]]) -> float:
        words = nearness(self._bytes)
        names, about = stems_of(name, part)
        return max((words.of(start, end, names | about) for start, end in spans), default=0.0)


def _share(some: set[str], words: set[str]) -> float:
    return len(some & words) / len(some) if some else 0.0


def needed_strings(parameters: Mapping[str, Any]) -> int:
    """How many of the required parameters are a free text each, by the JSON schema of all."""
    properties = parameters.get("properties", {})
    parts = (properties.get(name) for name in parameters.get("required", ()))
    return sum(
        isinstance(part, Mapping) and part.get("type") == "string" and "enum" not in part
        for part in parts
    )
