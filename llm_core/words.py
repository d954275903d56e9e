"""The words of requests and of tools, compared by their stems."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

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
_REFUSING = "no not without don doesn isn never exclude excluding skip nor t"
_REFUSALS = frozenset(_REFUSING.split())
_PLURALS = {"women": "woman", "men": "man", "children": "child", "people": "person"}
_LEAST = 3  # letters of a word that counts


def stems(text: str) -> set[str]:
    """The words of a text that mean something, cut to their first five letters."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    return {
        word[:5] for word in _WORD.findall(spaced) if len(word) >= _LEAST and word not in _COMMON
    }


def named_values(values: Sequence[Any], request: str) -> list[Any]:
    """The closed values that stand in the request; where none does, those whose stems do."""
    named = [value for value in values if is_named(value, request)]
    if named:
        return named
    spoken = _roots(request)
    return [value for value in values if (roots := _roots(str(value))) and roots <= spoken]


def is_wished(name: str, part: Mapping[str, Any], request: str) -> bool:
    """Whether a request speaks of what a yes-or-no argument is about, and does not refuse it."""
    about = stems(name.replace("_", " ")) or stems(str(part.get("description", "")))
    words = _WORD.findall(request.lower())
    places = [at for at, word in enumerate(words) if word[:5] in about]
    return bool(places) and not any(
        word in _REFUSALS for at in places for word in words[max(0, at - 3) : at]
    )


def _roots(text: str) -> set[str]:
    """The words of a text without what tells several from one."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return {_PLURALS.get(word, word.removesuffix("s")) for word in words}


def is_named(value: Any, request: str) -> bool:
    """Whether a closed value stands in the request, as words of its own."""
    spoken = re.sub(r"[_-]", " ", str(value)).strip()
    if not spoken:
        return False
    plain = re.sub(r"[_-]", " ", request)
    return re.search(rf"(?<!\w){re.escape(spoken)}(?!\w)", plain, re.IGNORECASE) is not None
