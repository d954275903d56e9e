"""Plain text: kept as it is, so that line numbers are the file's own; headings found by layout."""

import re

from retrievers.documents import Heading, Page
from retrievers.encodings import decode
from retrievers.loaders import Loaded

_MAX_HEADING = 90  # characters
_LABEL = re.compile(
    r"(?:chapter|adventure|book|part|act|scene|letter|canto|section|volume|appendix|"
    r"kapitel|teil|chapitre|partie|cap[ií]tulo|parte|บทที่|ตอนที่|ภาคผนวก)\s+\w+\b.{0,70}$",
    re.IGNORECASE,
)
_ROMAN = re.compile(r"[IVXLC]+(?:\.?|\.(\s+\S.{0,70}))$")
_NUMBERED = re.compile(r"(\d+(?:\.\d+)*)\.?\s+[^\W\d_].{1,70}$")
_UNDERLINE = re.compile(r"([=\-~^\"'*#])\1{2,}$")


def load(data: bytes) -> Loaded:
    """One page with the file's exact text (line ends as LF)."""
    text = decode(data)
    headings = find_headings(text)
    return Loaded([Page(None, text, headings)], _title(text))


def find_headings(text: str) -> tuple[Heading, ...]:
    """Lines that stand alone between blank lines and look like headings, with their levels."""
    found: list[Heading] = []
    loose: set[Heading] = set()  # capitals alone, one blank line above: perhaps a sign or a label
    lines = text.splitlines(keepends=True)
    start, blank = 0, 2
    for number, line in enumerate(lines):
        bare = line.strip()
        after = lines[number + 1].strip() if number + 1 < len(lines) else ""
        level = _level(bare, after) if bare and blank else 0
        if level:
            offset = start + line.index(bare[0])
            found.append(Heading(offset, offset + len(bare), level, bare))
            if blank < 2 and _capitals(bare) and not _LABEL.match(bare):
                loose.add(found[-1])
        start += len(line)
        blank = 0 if bare else blank + 1
    labelled = any(heading.level == 1 for heading in found)
    return tuple(heading for heading in found if not (labelled and heading in loose))


def _level(line: str, after: str) -> int:
    """1 for a chapter or story, 2 for a part of one, 3 and more below; 0 for no heading."""
    if len(line) > _MAX_HEADING:
        return 0
    if after:
        underlined = _UNDERLINE.match(after) and abs(len(after) - len(line)) <= 2
        return (1 if after[0] == "=" else 2) if underlined else 0
    if _LABEL.match(line) and line[0].isupper() and not line.endswith((",", ";", '."')):
        return 1
    numbered = _NUMBERED.match(line)
    if numbered and line[-1] not in ".,;:?!":
        return 1 + numbered[1].count(".")
    roman = _ROMAN.match(line)
    if roman:
        return 1 if roman[1] else 3
    return 2 if _capitals(line) and line[-1] not in '.,;:"”' else 0


def _capitals(line: str) -> bool:
    return sum(char.isalpha() for char in line) > 3 and line.isupper()


def _title(text: str) -> str:
    """The first line in capitals, or a "Title:" line, among the first forty lines."""
    for line in text[:4000].splitlines()[:40]:
        bare = line.strip()
        if bare.lower().startswith("title:"):
            return bare[6:].strip()
        if len(bare) <= _MAX_HEADING and _capitals(bare):
            return bare
    return ""
