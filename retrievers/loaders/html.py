"""HTML: the text a reader sees, block by block; scripts, styles and navigation are left out."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from retrievers.documents import Heading, Page
from retrievers.encodings import decode
from retrievers.errors import DocumentError
from retrievers.loaders import Loaded

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

MAX_HTML_BYTES: Final = 20 * 2**20  # a parsed tree takes about thirty times the room
_DROPPED: Final = frozenset(
    {"script", "style", "noscript", "template", "head", "nav", "svg", "iframe", "object"}
    | {"button", "select", "input", "textarea", "canvas", "audio", "video", "dialog"}
)
_DROPPED_ROLES: Final = frozenset({"navigation", "search", "menu", "menubar", "toolbar"})
_DROPPED_CLASSES: Final = frozenset({"mw-editsection"})
_HIDING: Final = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_PARAGRAPHS: Final = frozenset(
    {"p", "div", "section", "article", "main", "aside", "header", "footer", "figure", "blockquote"}
    | {"ul", "ol", "dl", "table", "pre", "address", "details", "summary", "fieldset", "body"}
    | {"figcaption", "caption", "center", "form", "hr", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_LINES: Final = frozenset({"li", "dt", "dd", "tr", "br", "legend"})
_CELLS: Final = frozenset({"td", "th"})
_NOT_IN_CELLS: Final = ["table", "h1", "h2", "h3", "p", "ul", "ol", "div"]
_HEADING: Final = re.compile(r"h([1-6])$")
_CHARSET: Final = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_SPACE: Final = re.compile(r"[ \t\r\n\f\u00a0]+")
_CELL_GAP: Final = " | "
_MENU_LINKS, _MENU_WORDS = 12, 25  # a list of at least so many links, on average so long, is a menu
_MAIN_SHARE = 0.3  # of the body's text: below it <main> is not where the reading is


def load(data: bytes) -> Loaded:
    """One page of the readable text; its lines are lines of that text, not of the source."""
    import bs4

    if len(data) > MAX_HTML_BYTES:
        raise DocumentError(f"too large: {len(data):,} bytes of HTML, limit {MAX_HTML_BYTES:,}")
    declared = _CHARSET.search(data[:4096])
    text = decode(data, declared[1].decode("ascii") if declared else None)
    try:
        soup = bs4.BeautifulSoup(text, "lxml")
    except (bs4.ParserRejectedMarkup, RecursionError) as err:
        raise DocumentError("broken HTML: it cannot be parsed") from err
    writer = _Writer()
    for event, node in _events(_reading_root(soup)):
        writer.take(event, node)
    page = Page(None, *writer.finish())
    top = next((heading.text for heading in page.headings if heading.level == 1), "")
    return Loaded([page], top or (soup.title.get_text(" ", strip=True) if soup.title else ""))


def _reading_root(soup: "BeautifulSoup") -> "Tag":
    """<main> where it holds a good part of the text, else the body."""
    body = soup.body or soup
    mains = soup.find_all("main", limit=2)
    if len(mains) == 1 and len(mains[0].get_text()) >= _MAIN_SHARE * len(body.get_text()):
        return mains[0]
    return body


def _events(root: "Tag") -> Iterator[tuple[str, "Tag | str"]]:
    """("open" | "close", tag) and ("text", string) in document order, without recursion."""
    from bs4.element import NavigableString, Tag

    stack = [(root, iter(root.children))]
    yield "open", root
    while stack:
        tag, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            yield "close", tag
        elif isinstance(child, Tag):
            if not _is_dropped(child):
                stack.append((child, iter(child.children)))
                yield "open", child
        elif type(child) is NavigableString:  # its subclasses are comments and declarations
            yield "text", str(child)


def _is_dropped(tag: "Tag") -> bool:
    classes = tag.get("class") or ()
    return (
        tag.name in _DROPPED
        or tag.get("role") in _DROPPED_ROLES
        or tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or not _DROPPED_CLASSES.isdisjoint(classes)
        or _HIDING.search(str(tag.get("style") or "")) is not None
        or (tag.name in ("ul", "ol") and _is_menu(tag))
    )


def _is_menu(items: "Tag") -> bool:
    """A long list of nothing but short links: to other pages, languages or sections."""
    links = [len(link.get_text(strip=True)) for link in items.find_all("a", limit=500)]
    if len(links) < _MENU_LINKS or sum(links) > _MENU_WORDS * len(links):
        return False
    return sum(links) >= 0.95 * len("".join(items.get_text(strip=True)))


class _Writer:
    """Text: a blank line between blocks, a line for each item and row, " | " between cells."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._gap = 0  # line ends due before the next text
        self._space = False  # a space is due before the next text on the same line
        self._pre = 0
        self._prefix = ""
        self._cells: list[bool] = []  # for each open cell: whether it is part of a table's row
        self._headings: list[Heading] = []
        self._heading_at: int | None = None

    def take(self, event: str, node: "Tag | str") -> None:
        """One event of `_events`."""
        if isinstance(node, str):
            self._text(node)
        elif event == "open":
            self._open(node)
        else:
            self._close(node)

    def finish(self) -> tuple[str, tuple[Heading, ...]]:
        """The text and its headings."""
        return "".join(self._parts), tuple(self._headings)

    def _open(self, tag: "Tag") -> None:
        self._break(tag.name)
        if tag.name in _CELLS:
            in_row = len(tag.find_all(_NOT_IN_CELLS, limit=2)) < 2 and not tag.find("table")
            self._cells.append(in_row)
            if in_row and self._gap == 0 and self._parts:
                self._prefix = _CELL_GAP
            elif not in_row:
                self._gap = 2
        elif tag.name == "li" and not any(self._cells):
            self._prefix = "- "
        elif tag.name == "pre":
            self._pre += 1
        elif _HEADING.match(tag.name):
            self._heading_at = self._length

    def _close(self, tag: "Tag") -> None:
        level = _HEADING.match(tag.name)
        if level and self._heading_at is not None:
            self._add_heading(self._heading_at, int(level[1]))
            self._heading_at = None
        if tag.name in _CELLS:
            self._cells.pop()
        elif tag.name == "pre":
            self._pre -= 1
        self._break(tag.name)

    def _break(self, name: str) -> None:
        if name in _PARAGRAPHS or name in _LINES:
            if any(self._cells) and name != "tr":
                self._space = True
            else:
                self._gap = max(self._gap, 2 if name in _PARAGRAPHS else 1)

    def _text(self, text: str) -> None:
        if self._pre:
            self._emit(text.replace("\u00a0", " ").strip("\n"))
            self._gap = max(self._gap, 1 if text.endswith("\n") else 0)
            return
        words = _SPACE.sub(" ", text)
        if not words.strip():
            self._space = self._space or bool(words)
            return
        self._space = self._space or words[0] == " "
        self._emit(words.strip())
        self._space = words[-1] == " "

    def _emit(self, text: str) -> None:
        if not text:
            return
        if self._gap and self._prefix == _CELL_GAP:
            self._prefix = ""
        if self._parts:
            before = "\n" * self._gap or (" " if self._space and not self._prefix else "")
            self._append(before)
        self._append(self._prefix + text)
        self._gap, self._space, self._prefix = 0, False, ""

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _add_heading(self, since: int, level: int) -> None:
        written = "".join(self._parts[-64:])
        piece = written[max(0, len(written) - (self._length - since)) :]
        title = piece.strip()
        if title:
            start = self._length - len(piece.lstrip())
            end = start + len(title)
            self._headings.append(Heading(start, end, level, " ".join(title.split())))
