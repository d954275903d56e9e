"""Filters that a question spells out: "in report.pdf", "in the 2023 report", "on page 12".

A phrase becomes a filter only where the documents bear it out: the file, the year or the type
must be that of at least one of them, so that a filter never empties a search by a guess.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import Field
from typing_extensions import override

from retrievers.documents import PAGE, SOURCE
from retrievers.filters import Where
from retrievers.query.plan import Edited, QuestionEdit

_FILE: Final = re.compile(
    r"(?:\b(?:in|from|according to|per|see|of)\s+)?(?:the\s+)?(?:file\s+|document\s+)?"
    r"[\"'`]?(?P<name>[\w()+-][\w()+./-]*\.[A-Za-z][A-Za-z0-9]{1,4})\b[\"'`]?",
    re.IGNORECASE,
)
_PAGE: Final = re.compile(
    r"\b(?P<phrase>(?:on|at|from|in)\s+(?P<unit>pages?|slides?|sheets?|p\.|pp\.)\s*(?P<first>\d{1,5})"
    r"(?:\s*(?:-|to|and|through)\s*(?P<last>\d{1,5}))?)\b|(?P<thai>(?:ใน)?หน้า(?:ที่)?\s*(?P<thai_first>\d{1,5}))",
    re.IGNORECASE,
)
_KIND: Final = (
    r"reports?|papers?|documents?|files?|articles?|books?|memos?|minutes|letters?|guides?|manuals?"
    r"|surveys?|stud(?:y|ies)|slides?|presentations?|contracts?|notes?|editions?|statements?|budgets?"
)
_NOUN: Final = rf"(?:[\w-]+\s+){{0,2}}?(?:{_KIND})"  # "annual report"
_DATE: Final = r"(?:19|20)\d\d"
_YEAR: Final = re.compile(
    rf"\b(?:in|from|of|according to)\s+(?:the\s+)?(?P<year>{_DATE})\s+(?P<words>{_NOUN})\b"
    rf"|\b(?:in|from|according to)\s+the\s+(?P<words_2>{_NOUN})\s+(?:of|from|for)\s+"
    rf"(?P<year_2>{_DATE})\b",
    re.IGNORECASE,
)
_TYPES: Final = {
    "pdf": (".pdf",), "spreadsheet": (".xlsx", ".xls", ".csv"), "presentation": (".pptx",),
    "slide deck": (".pptx",), "e-mail": (".eml",), "email": (".eml",), "mail": (".eml",),
    "web page": (".html", ".htm"), "markdown": (".md",), "text file": (".txt",),
    "word document": (".docx",), "csv": (".csv",), "ebook": (".epub",), "e-book": (".epub",),
    "source code": (".py", ".js", ".ts", ".java", ".c", ".cpp", ".go", ".rs"),
}  # fmt: skip
_TYPE: Final = re.compile(
    r"\b(?:in|from|within)\s+(?:all\s+|any\s+|my\s+|our\s+)?(?:the\s+|an?\s+)?(?P<type>"
    + "|".join(re.escape(name) for name in sorted(_TYPES, key=len, reverse=True))
    + r")s?(?:\s+files?)?\b",
    re.IGNORECASE,
)
Span = tuple[int, int]
Reading = tuple[Span, Where, str]  # what is taken out, the filter, and the note on it


class FilterEdit(QuestionEdit):
    """Reads filters on file, year, type and page out of a question, and takes their words out."""

    sources: Sequence[str] = Field(repr=False, description="the `source` of every document")

    @override
    def edit(self, question: str) -> Edited:
        found = list(_apart(self._readings(question)))
        if not found:
            return Edited(question)
        left = question
        for (start, end), _, _ in sorted(found, reverse=True):
            left = left[:start] + left[end:]
        left = re.sub(r"\s+([?.!,;])", r"\1", " ".join(left.split())).strip(" ,;")
        wheres = [where for _, where, _ in found]
        where = wheres[0] if len(wheres) == 1 else {"$and": wheres}
        bare = not any(letter.isalnum() for letter in left)
        return Edited(question if bare else left, where, tuple(note for _, _, note in found))

    def _readings(self, question: str) -> Iterator[Reading]:
        for match in _FILE.finditer(question):
            held = files_named(match["name"], self.sources)
            if held:
                yield _reading(match, {SOURCE: {"$in": held}}, f"files named {match['name']}")
        for match in _YEAR.finditer(question):
            year, words = match["year"] or match["year_2"], match["words"] or match["words_2"]
            held = files_of_year(year, words.split(), self.sources)
            if held:
                yield _reading(match, {SOURCE: {"$in": held}}, f"files of {year}: {words}")
        for match in _TYPE.finditer(question):
            endings = _TYPES[match["type"].lower()]
            held = [source for source in self.sources if source.lower().endswith(endings)]
            if held:
                yield _reading(match, {SOURCE: {"$in": held}}, f"files of type {match['type']}")
        for match in _PAGE.finditer(question):
            first = int(match["first"] or match["thai_first"])
            last = int(match["last"] or first)
            span: Where = {PAGE: first} if first == last else {PAGE: {"$gte": first, "$lte": last}}
            yield _reading(match, span, f"pages {first} to {last}")


def files_named(name: str, sources: Sequence[str]) -> list[str]:
    """The sources whose file name, or whose path's end, is `name`, in any case."""
    wanted = f"/{name.lower().strip('/')}"
    return [source for source in sources if f"/{source.lower()}".endswith(wanted)]


def files_of_year(year: str, words: Sequence[str], sources: Sequence[str]) -> list[str]:
    """The sources whose path holds `year`; those that hold the `words` too where there are any."""
    dated = [s for s in sources if re.search(rf"(?<!\d){year}(?!\d)", s)]
    stems = [word.lower().rstrip("s") for word in words]
    scores = [sum(stem in source.lower() for stem in stems) for source in dated]
    most = max(scores, default=0)
    return [source for source, score in zip(dated, scores, strict=True) if score == most]


def _reading(match: re.Match[str], where: Where, note: str) -> Reading:
    return match.span(), where, f"only {note}"


def _apart(readings: Iterator[Reading]) -> Iterator[Reading]:
    """Readings that share no words with one before them."""
    taken: list[Span] = []
    for (start, end), where, note in readings:
        if all(end <= low or high <= start for low, high in taken):
            taken.append((start, end))
            yield (start, end), where, note
