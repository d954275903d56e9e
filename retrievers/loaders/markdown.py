"""Markdown: kept as it is, so that line numbers are the file's own; headings and title found."""

import re
from typing import Final

from retrievers.documents import Heading, Page
from retrievers.encodings import decode
from retrievers.loaders import Loaded

_MAX_HEADING: Final = 500  # characters
_FENCE: Final = re.compile(r"[ ]{0,3}(`{3,}|~{3,})")
_ATX: Final = re.compile(r"[ ]{0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_SETEXT: Final = re.compile(r"[ ]{0,3}(=+|-{2,})[ \t]*$")
_BLOCK_START: Final = re.compile(r"[ \t]*(?:[-*+>|]|\d+[.)]|#)")
_FRONT_MATTER: Final = re.compile(r"---\n(.*?)\n(?:---|\.\.\.)\n", re.DOTALL)
_FRONT_TITLE: Final = re.compile(r"(?m)^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKUP: Final = re.compile(r"[*_`]+|<[^>]*>|\\(?=\W)|[ \t]*\{#[^}]*\}")


def load(data: bytes) -> Loaded:
    """One page with the file's exact text (line ends as LF)."""
    text = decode(data)
    headings = find_headings(text)
    front = _FRONT_MATTER.match(text)
    stated = _FRONT_TITLE.search(front[1]) if front else None
    top = min((heading.level for heading in headings), default=0)
    first = next((heading.text for heading in headings if heading.level == top), "")
    return Loaded([Page(None, text, headings)], stated[1] if stated else first)


def find_headings(text: str) -> tuple[Heading, ...]:
    """ATX ("# Title") and setext (underlined) headings outside code and front matter."""
    found: list[Heading] = []
    front = _FRONT_MATTER.match(text)
    start = front.end() if front else 0
    fence = ""
    above: tuple[int, str] | None = None  # a line that an underline would make a heading
    for line in text[start:].splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            # A fence closes with the same sign, at least as often.
            fence = "" if mark and mark[1].startswith(fence) else fence
            above = None
        elif mark:
            fence, above = mark[1], None
        else:
            above = _read_line(line, start, above, found)
        start += len(line)
    return tuple(found)


def _read_line(
    line: str, start: int, above: tuple[int, str] | None, found: list[Heading]
) -> tuple[int, str] | None:
    """Add the heading this line makes, if it does; return it if an underline may follow."""
    bare = line.strip()
    atx = _ATX.match(line.rstrip()) if len(line) <= _MAX_HEADING else None
    if atx:
        if plain(atx[2]):
            end = start + len(line.rstrip())
            found.append(Heading(start, end, len(atx[1]), plain(atx[2])))
        return None
    under = _SETEXT.match(line)
    if under and above:
        at, title = above
        level = 1 if under[1][0] == "=" else 2
        found.append(Heading(at, start + len(line.rstrip()), level, plain(title)))
        return None
    startable = bare and not _BLOCK_START.match(line) and not line.startswith(("    ", "\t"))
    return (start, bare) if startable and above is None else None


def plain(text: str) -> str:
    """A heading's words without links and emphasis."""
    return " ".join(_MARKUP.sub("", _LINK.sub(r"\1", text)).split())
