"""Split text into sentences, as character spans of the text itself.

Line ends inside a paragraph are not sentence ends (plain text and PDF lines are hard-wrapped),
unless the line stops well before the margin or the next one is a list item or a table row.
Thai writes no sentence ends: its units are built of the phrases between spaces (`thai`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from retrievers.language import detect

Span = tuple[int, int]

MAX_SENTENCE: Final = 1000  # characters; anything longer is cut at its last pause
_MARGIN_SHARE = 0.75  # a line shorter than this share of the margin was ended on purpose
_LONG_WORD = 15  # characters
_QUOTES_CLOSE = "\"'”’»)\\]}*_"
_BLANK = re.compile(r"\n[ \t\f\u00a0]*(?:\n[ \t\f\u00a0]*)+")
_STOP = re.compile(
    # Possessive, and never begun inside a run: a long row of marks takes no longer than others.
    rf"(?<![.!?…؟।])[.!?…؟।]++[{_QUOTES_CLOSE}]*+(?=\s)"  # needs a space behind it
    rf"|[。！？｡]++[」』）”’{_QUOTES_CLOSE}]*+"
)
_NEXT = re.compile(r"[\s]+([\"'“‘«(\[{¿¡*_—–-]*\s?)(\w+|\S)")
_WORD_BEFORE = re.compile(r"[\w.&'’-]*$")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*•‣▪◦·+]|\(?\d{1,3}[.)]|\(?[a-zA-Z][)]|#{1,6})[ \t]")
_NUMERAL = re.compile(r"\(?(?:\d{1,3}|[ivxlcIVXLC]{1,6}|[a-zA-Z])\.$")

# These never end a sentence: a name or an example follows.
_TITLE_WORDS: Final = (
    "mr mrs ms messrs mme mlle dr prof rev hon st sr sra srta gen col maj capt lt sgt cmdr adm "
    "gov sen rep pres fr bros vs v viz cf e.g i.e eg ie al approx ca fig figs eq eqs ref refs sect "
    "ch chap vol vols ed eds trans dept esp incl resp mt ft z.b d.h u.a bzw ggf vgl nr bd hrsg hr "
    "fam dipl"
)
# These do not end one when a number follows.
_COUNTED_WORDS: Final = (
    "no nos art sec pp pg p op opp b c d r fl est jan feb mar apr jun jul aug sep sept oct nov dec "
    "mon tue tues wed thu thurs fri sat sun min max"
)
# These may end one: they do when a word that commonly opens a sentence follows.
_ENDING_WORDS: Final = (
    "inc ltd co corp llc plc jr etc usw ph.d m.d b.a m.a d.c u.s u.k u.n u.s.a e.u a.m p.m b.c "
    "a.d oz lb ave blvd rd hrs"
)
_OPENING_WORDS: Final = (
    "the a an this that these those he she it they we you i there here his her its their our my "
    "in on at by for from with as after before when while if but and so however although because "
    "since during under over some many most all no not what who where why how one two first then "
    "der die das ein eine er sie es wir im le la les un une il elle el los las en"
)
_TITLES: Final = frozenset(_TITLE_WORDS.split())
_COUNTED: Final = frozenset(_COUNTED_WORDS.split())
_ENDINGS: Final = frozenset(_ENDING_WORDS.split())
_OPENERS: Final = frozenset(_OPENING_WORDS.split())
_SPEAKING = re.compile(
    r"(?:I|[A-Z][\w’']+\.?(?: [A-Z][\w’']+)?|[Tt]he \w+)\s+"
    r"(?:said|says|asked|answered|cried|replied|remarked|exclaimed|whispered|shouted|murmured|"
    r"ejaculated|gasped|observed|repeated|called|interrupted|inquired|returned|roared|screamed|"
    r"suggested|continued|began|thought|muttered)\b"
)
_PAUSES = (re.compile(r"\n"), re.compile(r"[;:][\s]"), re.compile(r",\s"), re.compile(r"\s"))


def split(text: str, language: str | None = None, whole: Sequence[Span] = ()) -> list[Span]:
    """Spans (start, end) of the sentences of `text`, in order and trimmed of white space.

    Every character that is not white space lies in exactly one span. `language` is an ISO 639-1
    code; None looks at the text. The spans in `whole`, ordered and apart (headings), are units of
    their own.
    """
    code = language or detect(text)
    margin = _margin(text)
    spans: list[Span] = []
    position = 0
    for start, end in (*whole, (len(text), len(text))):
        for block in _blocks(text, position, start, margin):
            spans.extend(_units(text, *block, code))
        spans.extend(_bounded(text, *trim(text, start, end)))
        position = end
    return spans


def _units(text: str, start: int, end: int, language: str) -> Iterator[Span]:
    if language == "th":
        from retrievers.thai import clauses

        found = clauses(text, start, end)
    else:
        found = _sentences(text, start, end, language)
    for span in found:
        yield from _bounded(text, *span)


def paragraphs(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Spans of the runs of lines between blank lines in text[start:end], trimmed."""
    stop = len(text) if end is None else end
    edges = [start]
    for gap in _BLANK.finditer(text, start, stop):
        edges += [gap.start(), gap.end()]
    edges.append(stop)
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [span for pair in pairs if (span := trim(text, *pair))[0] < span[1]]


def trim(text: str, start: int, end: int) -> Span:
    """The span without white space at either end; empty where it holds nothing else."""
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return start + left, max(start + left, start + len(piece.rstrip()))


def skip_space(text: str, start: int, end: int) -> int:
    """Where the first character after white space is, `end` at most."""
    while start < end and text[start].isspace():
        start += 1
    return start


def _margin(text: str) -> int:
    """Length that the text's lines are wrapped at (the 90th percentile of full lines)."""
    lengths = sorted(len(line.rstrip()) for line in text.split("\n") if len(line) > 20)
    return lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0


def _blocks(text: str, low: int, high: int, margin: int) -> Iterator[Span]:
    """Paragraphs, cut further where a line end was meant: lists, tables, titles, verse."""
    for start, end in paragraphs(text, low, high):
        begin = start
        position = text.find("\n", start, end)
        while position != -1:
            if _meant(text, begin, position, end, margin):
                yield trim(text, begin, position)
                begin = position + 1
            position = text.find("\n", position + 1, end)
        yield trim(text, begin, end)


def _meant(text: str, begin: int, position: int, end: int, margin: int) -> bool:
    """Whether the line end at `position` ends a block, not just a line of a wrapped paragraph."""
    line = text[max(begin, text.rfind("\n", 0, position) + 1) : position].rstrip()
    stop = text.find("\n", position + 1, end)
    following = text[position + 1 : stop if stop != -1 else end]
    if _LIST_ITEM.match(following) or _is_row(following) or _is_row(line):
        return True
    head = following.split(maxsplit=1)[0] if following.strip() else ""
    # A word of a script without spaces is not as long as it looks.
    if len(line) + 1 + min(len(head), _LONG_WORD) >= _MARGIN_SHARE * margin:
        return False
    first = head.lstrip("\"'“‘«(").strip()[:1]
    return not (first.islower() or line.endswith((",", "-")))


def _is_row(line: str) -> bool:
    return " | " in line or line.lstrip().startswith("|")


def _sentences(text: str, start: int, end: int, language: str) -> Iterator[Span]:
    begin = start
    for stop in _STOP.finditer(text, start, end):
        if stop.end() < end and _ends(text, begin, stop, end, language):
            yield trim(text, begin, stop.end())
            begin = stop.end()
    last = trim(text, begin, end)
    if last[0] < last[1]:
        yield last


def _ends(text: str, begin: int, stop: re.Match[str], end: int, language: str) -> bool:
    mark = stop[0]
    if mark[0] in "。！？｡":
        return True
    following = _NEXT.match(text, stop.end(), end)
    if following is None:
        return False
    opening, word = following[1], following[2]
    first = word[0]
    if first in ".…":
        return False  # "Oh God! ..."
    if first.islower() and not opening.strip("*_—–- "):
        return False
    if mark[0] in "!?…" or mark.startswith(".."):
        return not _is_speech_tag(text, stop, following.start(2), first)
    if not (first.isupper() or first.isdigit() or opening.strip() or not first.isascii()):
        return False
    return mark != "." or _full_stop_ends(text, begin, stop.start(), word, language)


def _is_speech_tag(text: str, stop: re.Match[str], at: int, first: str) -> bool:
    """Whether '"Seven!" I answered' goes on: a quoted cry, then who uttered it."""
    if first.islower():
        return True
    quoted = stop[0][-1] in "\"'”’»"
    return quoted and _SPEAKING.match(text, at) is not None


def _full_stop_ends(text: str, begin: int, dot: int, word: str, language: str) -> bool:
    match = _WORD_BEFORE.search(text, max(begin, dot - 30), dot)
    before = match[0].lstrip("'’-&") if match else ""
    lowered = before.lower()
    opening = text[begin : min(dot - len(before), begin + _LONG_WORD)]
    if _NUMERAL.fullmatch(before + ".") and not opening.strip() and dot - begin <= _LONG_WORD:
        return False  # the number of a list item or a heading
    if lowered in _TITLES or (lowered in _COUNTED and word[0].isdigit()):
        return False
    opens = word.lower() in _OPENERS
    if lowered in _ENDINGS or (len(before) > 1 and "." in before):
        return opens
    if len(before) == 1 and before.isalpha() and before.isupper():
        previous = text[begin : dot - 1].rstrip()[-1:]
        return before == "I" and opens and previous.islower()
    return not (language == "de" and before.isdigit() and int(before) <= 31)


def _bounded(text: str, start: int, end: int) -> Iterator[Span]:
    """The span, or several where it is longer than MAX_SENTENCE."""
    while end - start > MAX_SENTENCE:
        cut = _last_pause(text, start + MAX_SENTENCE // 2, start + MAX_SENTENCE)
        yield trim(text, start, cut)
        start = skip_space(text, cut, end)
    if start < end:
        yield start, end


def _last_pause(text: str, low: int, high: int) -> int:
    for pause in _PAUSES:
        last = max((match.end() for match in pause.finditer(text, low, high)), default=0)
        if last:
            return last
    return high
