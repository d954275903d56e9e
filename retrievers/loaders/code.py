"""Source code: kept as it is, so that line numbers are the file's own; definitions are headings."""

import re
from typing import Final

from retrievers.documents import Heading, Page
from retrievers.encodings import decode
from retrievers.errors import DocumentError
from retrievers.loaders import Loaded

_MAX_LINE: Final = 1000  # characters of a line on average: above it no person wrote the file
_MAX_HEADING: Final = 90  # characters
_MODIFIERS: Final = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|sealed|async|"
    r"virtual|override|inline|partial|unsafe|extern|open|data|pub(?:\([\w ]+\))?)\s+)*"
)
_NAMED: Final = re.compile(
    rf"([ \t]*){_MODIFIERS}"
    r"(class|def|function|func|fn|fun|struct|interface|enum|trait|impl|mod|module|namespace|"
    r"record|object|protocol|extension|package|sub|procedure|defmodule|defp|defmacro|"
    r"CREATE (?:OR REPLACE )?(?:TABLE|VIEW|FUNCTION|PROCEDURE|INDEX))\b\*?\s+"
    r"(?:IF NOT EXISTS\s+)?(?:\([^)\n]*\)\s*)?([\w$.<>\"`]+(?:::\w+)*)",
    re.IGNORECASE,
)
# A C-like function: a return type, a name and an opening brace, not a statement or a call.
_TYPED: Final = re.compile(
    rf"([ \t]*){_MODIFIERS}(?!return|else|new|throw|case|if|for|while|switch|typedef)"
    r"([A-Za-z_][\w:<>,*&\[\] ]*?[\s*&])([A-Za-z_~][\w:~]*)\s*\([^;]*$"
)
_BOUND: Final = re.compile(
    rf"([ \t]*){_MODIFIERS}(const|let|var)\s+([\w$]+)\s*(?::[^=]+)?=\s*"
    r"(?:async\s*)?(?:function\b|\([^)]*\)\s*(?::[^=]+)?=>|\w+\s*=>)"
)
_TEX: Final = re.compile(
    r"[ \t]*\\(part|chapter|section|subsection|subsubsection)\*?(?:\[[^\]]*\])?"
    r"\{((?:[^{}]|\{[^{}]*\})+)\}"
)
_COMMAND: Final = re.compile(r"\\[A-Za-z]+\*?|[{}~]")
_C_LINE_END: Final = ";\n"
_TEX_LEVELS: Final = {
    "part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5,
}  # fmt: skip


def load(data: bytes) -> Loaded:
    """One page with the file's exact text; classes and functions are headings by indentation."""
    text = decode(data)
    lines = text.count("\n") + 1
    if len(text) > _MAX_LINE * lines and len(text) > 10 * _MAX_LINE:
        raise DocumentError(f"written by a machine: {len(text) // lines:,} characters a line")
    return Loaded([Page(None, text, find_definitions(text))])


def find_definitions(text: str) -> tuple[Heading, ...]:
    """Lines that open a class, a function, a table or a section, with the level they stand at."""
    found: list[Heading] = []
    indents: list[int] = []  # of the definitions that are open
    typed = _C_LINE_END in text  # else a call over several lines looks like a function
    start = 0
    for line in text.splitlines(keepends=True):
        bare = line.rstrip()
        tex = _TEX.match(bare) if "\\" in bare else None
        match = None
        if tex:
            end = start + len(bare)
            name = " ".join(_COMMAND.sub(" ", tex[2]).split())
            found.append(Heading(start, end, _TEX_LEVELS[tex[1]], name))
        elif len(bare) <= 4 * _MAX_HEADING:
            match = _NAMED.match(bare) or _BOUND.match(bare) or (_typed(bare) if typed else None)
        if match:
            indent = len(match[1].expandtabs(4))
            while indents and indents[-1] >= indent:
                indents.pop()
            indents.append(indent)
            name = " ".join(f"{match[2]} {match[3]}".split())[:_MAX_HEADING]
            at = start + len(match[1])
            found.append(Heading(at, start + len(bare), len(indents), name))
        start += len(line)
    return tuple(found)


def _typed(line: str) -> re.Match[str] | None:
    """A function of a C-like language, at the left margin or in a class."""
    return _TYPED.match(line) if line.endswith(("{", ")", ",", "(")) and "=" not in line else None
