"""How a text falls into words before the vocabulary sees it, as `tokenizer.json` declares it.

Each step takes the pieces of the one before and cuts them further. Patterns run over a
stand-in of the text (`characters.py`), so that the places they find never depend on the
Unicode release of the Python that runs.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import cast

import regex

from llm_core.errors import ModelFileError
from llm_core.tokenization.characters import CharacterMap, characters, is_space
from llm_core.tokenization.patterns import GPT2
from llm_core.tokenization.sections import Section, compile_pattern, unknown_kind

Step = Callable[[str], list[str]]
Spans = list[tuple[int, int, bool]]  # start, end, whether the pattern matched there
_ASCII_MARKS = regex.compile(r"[!-/:-@\[-`{-~]")


def build_steps(section: Section | None) -> tuple[list[Step], bool]:
    """The steps of a section, and whether words are then spelled in byte letters.

    Raises `ModelFileError` for a kind that is not known.
    """
    sections = _flatten(section)
    spelled = [part.get("type") == "ByteLevel" for part in sections]
    if any(spelled[:-1]):
        raise ModelFileError("a ByteLevel step that is not the tokenizer's last is not read")
    return [step for part in sections for step in _build(part)], any(spelled)


def apply(steps: Iterable[Step], text: str) -> list[str]:
    """The words of `text`, none of them empty."""
    pieces = [text] if text else []
    for step in steps:
        pieces = [part for piece in pieces for part in step(piece)]
    return pieces


def _flatten(section: Section | None) -> list[Section]:
    if section is None:
        return []
    if section.get("type") == "Sequence":
        return [part for inner in section["pretokenizers"] for part in _flatten(inner)]
    return [section]


def _build(section: Section) -> list[Step]:
    match section.get("type"):
        case "ByteLevel":
            prefix = [_leading_space] if section.get("add_prefix_space", True) else []
            words = [_words(regex.compile(GPT2))] if section.get("use_regex", True) else []
            return [*prefix, *words]
        case "Split":
            return [_split(section)]
        case "Digits":
            behaviour = "Isolated" if section["individual_digits"] else "Contiguous"
            return [_by_class(_digit_class, behaviour)]
        case "Punctuation":
            return [_by_class(_mark_class, section.get("behavior", "Isolated"))]
        case "BertPreTokenizer":
            return [_by_class(_space_class, "Removed"), _by_class(_mark_class, "Isolated")]
        case "WhitespaceSplit":
            return [_by_class(_space_class, "Removed")]
        case "Metaspace":
            return [_metaspace(section)]
    raise unknown_kind("pre-tokenizer", section)


def _leading_space(piece: str) -> list[str]:
    return [piece if piece.startswith(" ") else " " + piece]


def _words(pattern: "regex.Pattern[str]") -> Step:
    """A step for a pattern of which every character is part of some match."""

    def step(piece: str) -> list[str]:
        shape = characters().stand_in(piece)
        if shape == piece:
            return cast(list[str], pattern.findall(piece))
        return [piece[match.start() : match.end()] for match in pattern.finditer(shape)]

    return step


def _split(section: Section) -> Step:
    pattern = compile_pattern(section["pattern"])
    join = _BEHAVIOURS[section["behavior"]]
    invert = bool(section["invert"])

    def step(piece: str) -> list[str]:
        spans = _spans(pattern, characters().stand_in(piece))
        if invert:
            spans = [(start, end, not matched) for start, end, matched in spans]
        return [piece[start:end] for start, end in join(spans) if start < end]

    return step


def _by_class(find: Callable[[int], str], behaviour: str) -> Step:
    """A step that cuts at characters for which `find` says `!`."""
    table = CharacterMap(find)
    pattern = regex.compile("!")
    join = _BEHAVIOURS[behaviour]

    def step(piece: str) -> list[str]:
        shape = piece.translate(table)
        if "!" not in shape:
            return [piece]
        return [piece[start:end] for start, end in join(_spans(pattern, shape))]

    return step


def _metaspace(section: Section) -> Step:
    letter = str(section["replacement"])
    scheme = section.get("prepend_scheme", "always")
    if scheme not in ("always", "never"):
        raise ModelFileError(f"the Metaspace scheme {scheme!r} is not read: always and never are")
    pattern = regex.compile(regex.escape(letter))
    whole = section.get("split") is False

    def step(piece: str) -> list[str]:
        piece = piece.replace(" ", letter)
        if scheme == "always" and not piece.startswith(letter):
            piece = letter + piece
        spans = [(0, len(piece))] if whole else _with_next(_spans(pattern, piece))
        return [piece[start:end] for start, end in spans]

    return step


def _digit_class(code: int) -> str:
    return "!" if code in characters().numeric else "a"


def _space_class(code: int) -> str:
    return "!" if is_space(code) else "a"


def _mark_class(code: int) -> str:
    ascii_mark = code < 128 and _ASCII_MARKS.match(chr(code))
    return "!" if ascii_mark or code in characters().punctuation else "a"


def _spans(pattern: "regex.Pattern[str]", text: str) -> Spans:
    """All of `text` as spans that match and spans that do not, in order."""
    spans: Spans = []
    last = 0
    for match in pattern.finditer(text):
        start, end = match.span()
        if last < start:
            spans.append((last, start, False))
        spans.append((start, end, True))
        last = end
    if last < len(text):
        spans.append((last, len(text), False))
    return spans


def _isolated(spans: Spans) -> Iterator[tuple[int, int]]:
    return ((start, end) for start, end, _ in spans)


def _removed(spans: Spans) -> Iterator[tuple[int, int]]:
    return ((start, end) for start, end, matched in spans if not matched)


def _contiguous(spans: Spans) -> Iterator[tuple[int, int]]:
    return _merged(spans, lambda matched, before: matched == before)


def _with_previous(spans: Spans) -> Iterator[tuple[int, int]]:
    return _merged(spans, lambda matched, before: matched and not before)


def _with_next(spans: Spans) -> Iterator[tuple[int, int]]:
    mirrored = [(-end, -start, matched) for start, end, matched in reversed(spans)]
    joined = list(_merged(mirrored, lambda matched, before: matched and not before))
    return ((-end, -start) for start, end in reversed(joined))


def _merged(spans: Spans, joins: Callable[[bool, bool], bool]) -> Iterator[tuple[int, int]]:
    """Spans, each appended to the one before where `joins(matched, matched before)`."""
    out: list[tuple[int, int]] = []
    before = False
    for start, end, matched in spans:
        if out and joins(matched, before):
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
        before = matched
    return iter(out)


_BEHAVIOURS: dict[str, Callable[[Spans], Iterator[tuple[int, int]]]] = {
    "Isolated": _isolated,
    "Removed": _removed,
    "Contiguous": _contiguous,
    "MergedWithPrevious": _with_previous,
    "MergedWithNext": _with_next,
}
