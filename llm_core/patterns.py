"""A short text that matches a regular expression: a hint for a search, never the last word."""

import re
import string

_TRIED = "a0A-_ .:/" + string.printable[:94]
_MOST = 200  # characters of a text worth trying
_LEFT = 3  # characters of a fixed beginning that may be written with what follows
_HEAD = re.compile(r"\^((?:[\w ,:;=@/#%&~'\"<>!-]|\\[^\w])+)(?![*?{])")  # what must come first
_DOUBTFUL = re.compile(r"(?<!\\)([\[&~|])|--")  # in a class; Python warns of a later meaning


def short_match(pattern: str) -> str | None:
    """A text that `pattern` most likely finds itself in; None where it is beyond this reader.

    Look-around and references back are ignored, so whoever uses the text has to test it.
    """
    reader = _Reader(pattern)
    try:
        found = reader.choice()
    except (IndexError, ValueError, RecursionError, re.error):
        return None
    return found if reader.at == len(pattern) and len(found) <= _MOST else None


def short_ends(pattern: str) -> list[str]:
    """`short_match`, and what is left of it where most of a fixed beginning is written."""
    text = short_match(pattern)
    if text is None:
        return []
    found = _HEAD.match(pattern)
    head = len(found[1].replace("\\", "")) if found and "|" not in pattern else 0
    return list(dict.fromkeys([text, *(text[at:] for at in range(max(head - _LEFT, 1), head + 1))]))


class _Reader:
    """Reads a pattern from left to right; each method returns a text for what it has read."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0

    def choice(self) -> str:
        found = [self._sequence()]
        while self._next("|"):
            found.append(self._sequence())
        return min(found, key=len)

    def _sequence(self) -> str:
        text = ""
        while self.at < len(self._pattern) and self._pattern[self.at] not in "|)":
            text = (text + self._times(self._atom()))[: _MOST + 1]  # more is of no use
        return text

    def _times(self, text: str) -> str:
        """`text` as often as the quantifier behind it asks at least."""
        if self._next("*") or self._next("?"):
            text = ""
        elif not self._next("+"):
            found = re.compile(r"\{(\d+)(,\d*)?\}").match(self._pattern, self.at)
            if found is None:
                return text
            self.at = found.end()
            text *= min(int(found[1]), _MOST + 1)
        self._next("?")  # lazy
        return text

    def _atom(self) -> str:
        start = self.at
        self.at += 1
        mark = self._pattern[start]
        if mark in "^$":
            return ""
        if mark == "(":
            return self._group()
        if mark == "[":
            self._skip_class()
        elif mark == "\\":
            self.at += {"u": 5, "x": 3}.get(self._pattern[self.at], 1)
        elif mark != ".":
            return mark
        atom = self._pattern[start : self.at]
        if atom in ("\\b", "\\B", "\\A", "\\Z", "\\z"):
            return ""
        if mark == "[":
            atom = "[" + _DOUBTFUL.sub(_escaped, atom[1:])
        one = re.compile(atom)
        return next((char for char in _TRIED if one.fullmatch(char)), "")

    def _group(self) -> str:
        ignored = False
        if self._next("?"):
            ignored = self._pattern[self.at] in "=!" or self._pattern[self.at + 1] in "=!"
            end = re.compile(r"P?<\w+>|<?[=!]|[a-z-]*:").match(self._pattern, self.at)
            if end is None:
                raise ValueError(f"an unknown group in {self._pattern!r}")
            self.at = end.end()
        text = self.choice()
        if not self._next(")"):
            raise ValueError(f"an open group in {self._pattern!r}")
        return "" if ignored else text

    def _skip_class(self) -> None:
        self._next("^")
        self._next("]")
        while self._pattern[self.at] != "]":
            self.at += 2 if self._pattern[self.at] == "\\" else 1
        self.at += 1

    def _next(self, mark: str) -> bool:
        """Step over `mark` where it comes next."""
        found = self._pattern[self.at : self.at + 1] == mark
        self.at += found
        return found


def _escaped(found: re.Match[str]) -> str:
    return "\\" + found[0] if found[1] else "-\\-"
