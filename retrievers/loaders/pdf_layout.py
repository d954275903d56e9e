"""The reading order of a page: columns, tables, and the running heads of a document.

A file mostly draws its text in reading order, so runs of lines stay as they are drawn; only the
runs are put in order, by cutting the page between columns and between what stands above and below
(after Nagy and Seth's XY-cut, 1984).
"""

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from retrievers.loaders.pdf_words import HYPHEN, Line, Word

CELL_GAP: Final = " | "
_EDGE: Final = 0.12  # share of the page's height at its top and bottom where running heads stand
_NUMBER_EDGE: Final = 0.2  # the same for a word that stands alone above or below all else
_EDGE_LINES: Final = 3  # lines at either end of a page that may be running heads
_MIN_PAGES: Final = 3  # that repeat a running head
_MAX_LINES: Final = 3000  # of a page: one with more is no page of text, and stays as it is drawn
_MAX_BLOCKS: Final = 300  # the same for runs of lines
_MAX_GAPS: Final = 100  # between the cells of one row
_MIN_GUTTER: Final = 6.0  # points between columns
_MIN_ROWS: Final = 8  # lines beside each other that make columns of text
_COLUMN_WORDS: Final = 4  # words of a column's line, on average: a table's cells have fewer
_MIN_TABLE_ROWS: Final = 4  # drawn in pieces
_CELL_WORDS: Final = 4.0  # of a table, on average, at most
_PROSE_WORDS: Final = 6  # of a line without cells: more are running text
_MAX_PROSE: Final = 0.2  # of the lines of a table
_WIDE: Final = 1.2  # line heights between two cells of a table
_NUMBER: Final = re.compile(r"\d+|[๐-๙]+|[ð-ù]+|\b[ivxlc]{1,6}\b", re.IGNORECASE)
_RTL: Final = re.compile("[\u0590-\u08ff]")


@dataclass(frozen=True, slots=True)
class PageLines:
    """Lines of a page in the order they are drawn in, and the page's box in points."""

    lines: list[Line]
    bottom: float
    top: float
    upright: bool = True  # False where the page is shown turned: its lines stay as they are


_Key = tuple[str, bool, int]  # text without numbers, whether at the top, height on the page


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a page's text with what ends it; `head` if it may be a running head."""

    text: str
    end: str
    head: _Key | None
    rank: int = 0  # how many lines stand between it and its edge of the page


def page_texts(pages: Iterable[PageLines]) -> list[str]:
    """The text of each page in reading order, without running heads and page numbers.

    Of each page only the text is kept until all are read, as there may be very many.
    """
    read = [_rows(page) for page in pages]
    heads = _running_heads(read)
    texts = []
    for rows in read:
        left_out = _at_the_edge(rows, heads)
        kept = [row for row in rows if (row.head, row.rank) not in left_out]
        if not kept and any(map(str.isalpha, "".join(row.text for row in rows))):
            kept = rows  # what repeats is all there is
        texts.append("".join(row.text + row.end for row in kept).rstrip("\n"))
    return texts


def _at_the_edge(rows: Sequence[_Row], heads: set[_Key]) -> set[tuple[_Key | None, int]]:
    """The running heads of a page, with their ranks: nothing else stands between them and it."""
    found: set[tuple[_Key | None, int]] = set()
    for top in (True, False):
        ranked = {row.rank: row.head for row in rows if row.head and row.head[1] is top}
        for rank in range(_EDGE_LINES):
            if ranked.get(rank) not in heads:
                break
            found.add((ranked[rank], rank))
    return found


def _rows(page: PageLines) -> list[_Row]:
    lines = ordered_lines(page)
    cells = _gaps_of_tables(lines) if page.upright and len(lines) <= _MAX_LINES else frozenset()
    rtl = bool(cells) and _is_rtl(lines)
    heads = _candidates(page)
    return [
        _Row(
            _line_text(line, cells, rtl),
            HYPHEN if line.glued else "\n",
            *heads.get((id(line.words[0]), len(line.words)), (None, 0)),
        )
        for line in lines
    ]


def ordered_lines(page: PageLines) -> list[Line]:
    """The lines of a page in reading order; as they are drawn on a turned or a crowded page."""
    if not page.upright or not 0 < len(page.lines) <= _MAX_LINES:
        return page.lines
    level, turned = _turned(page.lines)
    blocks = _blocks(_split_columns(level))
    ordered = _order(blocks) if len(blocks) <= _MAX_BLOCKS else blocks
    return [*(line for block in ordered for line in block.lines), *turned]


def _turned(lines: list[Line]) -> tuple[list[Line], list[Line]]:
    """Lines that run level, and those that run upwards, such as a stamp in the margin."""
    usual = statistics.median(line.height for line in lines)

    def runs_up(line: Line) -> bool:
        return line.top - line.bottom > max(3 * usual, 2 * (line.right - line.left))

    return [x for x in lines if not runs_up(x)], [x for x in lines if runs_up(x)]


# ---------------------------------------------------------------------- columns and rows


def _join_rows(lines: list[Line]) -> list[Line] | None:
    """Whole rows of a table that is drawn cell by cell or by columns; None if it is no table."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: -one.bottom):
        above = rows[-1][0] if rows else None
        same = above is not None and abs(above.bottom - line.bottom) < 0.25 * above.height
        if same and not any(_overlap(line, other) for other in rows[-1]):
            rows[-1].append(line)
        else:
            rows.append([line])
    parted = [line for row in rows if len(row) > 1 for line in row]
    cells = sum(1 + len(_wide_gaps(line)) for line in parted)
    words = sum(len(line.words) for line in parted)
    prose = sum(len(line.words) >= _PROSE_WORDS and not _wide_gaps(line) for line in lines)
    many = sum(len(row) > 1 for row in rows) >= _MIN_TABLE_ROWS
    if not many or words > _CELL_WORDS * cells or prose > _MAX_PROSE * len(lines):
        return None
    rtl = _is_rtl(lines)
    whole = (sorted(row, key=lambda one: one.left, reverse=rtl) for row in rows)
    return [Line(tuple(word for line in row for word in line.words)) for row in whole]


def _overlap(one: Line, other: Line) -> bool:
    return one.left < other.right and other.left < one.right


def _split_columns(lines: list[Line]) -> list[Line]:
    """Lines cut at the gutter, where the file draws two columns of text line by line across."""
    gaps = [(line, at) for line in lines if (at := _only_gap(line)) is not None]
    if len(gaps) < _MIN_ROWS:
        return lines
    low = statistics.median(line.words[at - 1].right for line, at in gaps)
    high = statistics.median(line.words[at].left for line, at in gaps)
    middle = (low + high) / 2
    cut = {
        id(line): at
        for line, at in gaps
        if line.words[at - 1].right <= middle <= line.words[at].left
    }
    sides = [(at, len(line.words) - at) for line, at in gaps if id(line) in cut]
    if len(sides) < _MIN_ROWS or any(
        statistics.mean(side) < _COLUMN_WORDS for side in zip(*sides, strict=True)
    ):
        return lines
    left: list[Line] = []
    right: list[Line] = []
    done: list[Line] = []
    for line in lines:
        at = cut.get(id(line))
        if at is not None:
            left.append(Line(line.words[:at]))
            right.append(Line(line.words[at:], line.glued))
        elif line.right <= middle and (left or right):
            left.append(line)
        elif line.left >= middle and (left or right):
            right.append(line)
        else:  # across both columns: what stands above it is read first
            done += [*left, *right, line]
            left, right = [], []
    return [*done, *left, *right]


def _only_gap(line: Line) -> int | None:
    """Index of the word behind the one wide gap of a line; None for none or several."""
    wide = [
        at
        for at in range(1, len(line.words))
        if line.words[at].left - line.words[at - 1].right > max(_MIN_GUTTER, line.height * 0.9)
    ]
    return wide[0] if len(wide) == 1 else None


# ---------------------------------------------------------------------- order


@dataclass(frozen=True, slots=True)
class _Block:
    """A run of lines drawn one below the other, with its box and when it is drawn."""

    lines: tuple[Line, ...]
    left: float
    bottom: float
    right: float
    top: float
    at: int


def _blocks(lines: Iterable[Line]) -> list[_Block]:
    runs: list[list[Line]] = []
    for line in lines:
        if runs and _goes_on(runs[-1][-1], line):
            runs[-1].append(line)
        else:
            runs.append([line])
    return [
        _Block(
            tuple(run),
            min(line.left for line in run), min(line.bottom for line in run),
            max(line.right for line in run), max(line.top for line in run),
            at,
        )
        for at, run in enumerate(runs)
    ]  # fmt: skip


def _goes_on(above: Line, below: Line) -> bool:
    """Whether a line follows closely under another, or beside it in the same row."""
    size = max(above.height, below.height)
    beside = abs(above.bottom - below.bottom) < 0.5 * size
    down = above.bottom - below.bottom
    overlap = min(above.right, below.right) - max(above.left, below.left)
    return beside or above.glued or (0 < down < 2.5 * size and overlap > 0)


def _order(blocks: list[_Block]) -> list[_Block]:
    """Columns from left to right (right to left for such scripts), rows from top to bottom."""
    if len(blocks) < 2:
        return blocks
    columns = _cut(blocks, upright=True)
    if len(columns) > 1:
        lines = [line for block in blocks for line in block.lines]
        table = _join_rows(lines)
        if table is not None:
            return [replace(blocks[0], lines=tuple(table))]
        if _is_rtl(lines):
            columns.reverse()
        return [block for column in columns for block in _order(column)]
    rows = _cut(blocks, upright=False)
    if len(rows) == 1:
        return sorted(blocks, key=lambda block: block.at)
    found: list[_Block] = []
    first = 0
    while first < len(rows):
        last = _last_with_columns(rows, first)
        group = [block for row in rows[first:last] for block in row]
        found += _order(group) if len(group) < len(blocks) else group
        first = last
    return found


def _last_with_columns(rows: list[list[_Block]], first: int) -> int:
    """End of the longest run of rows that one gutter parts; else the first row alone."""
    for last in range(len(rows), first + 1, -1):
        group = [block for row in rows[first:last] for block in row]
        if len(_cut(group, upright=True)) > 1:
            return last
    return first + 1


def _cut(blocks: list[_Block], upright: bool) -> list[list[_Block]]:
    """Groups of blocks with empty room between them: columns, or rows from the top."""

    def span(block: _Block) -> tuple[float, float]:
        return (block.left, block.right) if upright else (-block.top, -block.bottom)

    room = _MIN_GUTTER if upright else 0.0
    groups: list[list[_Block]] = []
    edge = 0.0
    for block in sorted(blocks, key=lambda one: (span(one)[0], one.at)):
        low, high = span(block)
        if groups and low < edge + room:
            groups[-1].append(block)
            edge = max(edge, high)
        else:
            groups.append([block])
            edge = high
    return groups


def _is_rtl(lines: list[Line]) -> bool:
    text = "".join(line.text for line in lines)
    return 2 * len(_RTL.findall(text)) > sum(map(str.isalpha, text))


# ---------------------------------------------------------------------- tables


def _gaps_of_tables(lines: list[Line]) -> frozenset[int]:
    """Words (by identity) that begin a cell: behind a wide gap that a neighbour row has too."""
    gaps = [_wide_gaps(line)[:_MAX_GAPS] for line in lines]
    found: set[int] = set()
    for number, own in enumerate(gaps):
        near = [*gaps[max(0, number - 1) : number], *gaps[number + 1 : number + 2]]
        for low, high, word in own:
            if any(a < high and low < b for other in near for a, b, _ in other):
                found.add(id(word))
    return frozenset(found)


def _wide_gaps(line: Line) -> list[tuple[float, float, Word]]:
    """(left, right, word behind it) of each gap wide enough to part two cells."""
    found = []
    for before, word in zip(line.words, line.words[1:], strict=False):
        low, high = sorted((before, word), key=lambda one: one.left)
        if high.left - low.right > _WIDE * line.height:
            found.append((low.right, high.left, word))
    return found


def _line_text(line: Line, cells: frozenset[int], rtl: bool) -> str:
    """Words with cells apart; cells of a right-to-left page from the right."""
    groups: list[list[Word]] = [[]]
    for word in line.words:
        if id(word) in cells:
            groups.append([])
        groups[-1].append(word)
    groups = [group for group in groups if group]
    if rtl and groups[0][0].left < groups[-1][0].left:
        groups.reverse()
    return CELL_GAP.join(" ".join(word.text for word in group) for group in groups)


# ---------------------------------------------------------------------- running heads


def _running_heads(pages: Sequence[Sequence[_Row]]) -> set[_Key]:
    """Heads and feet that repeat over pages, numbers apart; a head may stand a little lower."""
    if len(pages) < _MIN_PAGES:
        return set()
    pages_of = Counter(key for rows in pages for key in {row.head for row in rows if row.head})
    found: set[_Key] = set()
    for text, top, height in pages_of:
        near = (pages_of[text, top, height + step] for step in (-1, 0, 1))
        bare = not any(map(str.isalpha, text.replace("#", "")))
        least = max(_MIN_PAGES, len(pages) // 3) if bare else _MIN_PAGES
        if sum(near) >= least:
            found.add((text, top, height))
    return found


def _candidates(page: PageLines) -> dict[tuple[int, int], tuple[_Key, int]]:
    """What may be a running head, and its rank, by its first word's identity and its words."""
    if not page.lines or not page.upright:
        return {}
    usual = statistics.median(line.height for line in page.lines)
    tall = page.top - page.bottom
    order = sorted(page.lines, key=lambda line: -line.top)
    found: dict[tuple[int, int], tuple[_Key, int]] = {}
    for top, lines in ((True, order[:_EDGE_LINES]), (False, order[: -_EDGE_LINES - 1 : -1])):
        for rank, line in enumerate(lines):
            inside = page.top - line.bottom if top else line.top - page.bottom
            lone = len(line.words) == 1 and line in (order[0], order[-1])
            edge = _NUMBER_EDGE if lone else _EDGE
            if inside <= edge * tall and line.height <= 1.3 * usual and len(line.text) <= 150:
                text = " ".join(_NUMBER.sub("#", line.text).split())
                key = (text, top, round((page.top - line.bottom) / 4))
                found[id(line.words[0]), len(line.words)] = key, rank
    return found
