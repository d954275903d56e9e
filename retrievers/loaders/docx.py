"""Word documents (.docx): paragraphs, headings, lists, and tables row by row.

Headers, footers, comments and deleted text are left out.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from retrievers.documents import Heading, Page
from retrievers.loaders import Loaded
from retrievers.loaders.archive import office_file, parsing

if TYPE_CHECKING:
    from docx.document import Document

_HEADING_STYLE: Final = re.compile(r"heading (\d)$", re.IGNORECASE)
_W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK: Final = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_MATH_TEXT: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_SKIPPED: Final = frozenset({_FALLBACK, f"{_W}del", f"{_W}moveFrom", f"{_W}instrText"})
_SIGNS: Final = {
    f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-",
}  # fmt: skip

_Block = tuple[str, int, bool]  # text, heading level or 0, whether it follows the one above closely


def load(data: bytes) -> Loaded:
    """One page of text: a blank line between paragraphs, cells of a row joined by " | "."""
    document = _open(data)
    levels = _heading_levels(document)
    parts: list[str] = []
    headings: list[Heading] = []
    length = 0
    for text, level, tight in _blocks(document.element.body, levels):
        gap = "" if not parts else "\n" if tight else "\n\n"
        if level:
            start = length + len(gap)
            headings.append(Heading(start, start + len(text), level, " ".join(text.split())))
        parts.append(gap + text)
        length += len(parts[-1])
    top = next((heading.text for heading in headings if heading.level == 1), "")
    page = Page(None, "".join(parts), tuple(headings))
    return Loaded([page], top or _stated_title(document))


def _stated_title(document: "Document") -> str:
    """The title in the file's properties; none where they are damaged."""
    try:
        return str(document.core_properties.title or "")
    except (KeyError, ValueError, AttributeError):
        return ""


def _open(data: bytes) -> "Document":
    import docx
    from docx.opc.exceptions import OpcError

    file = office_file(data, ".docx")
    with parsing(".docx", OpcError):
        return docx.Document(file)


def _heading_levels(document: "Document") -> dict[str, int]:
    """Heading level by style id, for styles that are headings or are based on one."""
    levels: dict[str, int] = {}
    for style in document.styles:
        base: Any = style
        for _ in range(10):  # a broken file may have a style based on itself
            name = str(getattr(base, "name", "") or "")
            match = _HEADING_STYLE.match(name)
            if match or name == "Title":
                levels[str(style.style_id)] = int(match[1]) if match else 1
                break
            base = getattr(base, "base_style", None)
            if base is None:
                break
    return levels


def _blocks(body: Any, levels: dict[str, int]) -> Iterator[_Block]:
    """Paragraphs and table rows in document order, those in content controls and boxes too."""
    stack: list[Iterator[Any]] = [iter(body)]
    was_item = False
    while stack:
        element = next(stack[-1], None)
        if element is None:
            stack.pop()
        elif element.tag == f"{_W}p":
            boxes = _boxes(element)
            text = _text(element).strip()
            if text:
                level, item = _style(element, levels)
                yield ("- " + text if item and not level else text), level, item and was_item
                was_item = item
            stack.extend(iter(box) for box in reversed(boxes))
        elif element.tag == f"{_W}tbl":
            rows = [row for row in map(_row, element.iter(f"{_W}tr")) if row]
            yield from ((row, 0, number > 0) for number, row in enumerate(rows))
            was_item = False
        elif element.tag not in _SKIPPED:
            stack.append(iter(element))


def _style(paragraph: Any, levels: dict[str, int]) -> tuple[int, bool]:
    """(heading level or 0, whether it is a list item)."""
    style = paragraph.find(f"{_W}pPr/{_W}pStyle")
    style_id = str(style.get(f"{_W}val")) if style is not None else ""
    outline = paragraph.find(f"{_W}pPr/{_W}outlineLvl")
    level = levels.get(style_id, 0)
    if not level and outline is not None and str(outline.get(f"{_W}val")) in "012345678":
        level = int(outline.get(f"{_W}val")) + 1
    numbered = paragraph.find(f"{_W}pPr/{_W}numPr") is not None
    return level, numbered or style_id.startswith("List")


def _text(element: Any) -> str:
    """Text of a paragraph; text boxes anchored in it come after it as blocks of their own."""
    pieces: list[str] = []
    stack = [element]
    while stack:
        node = stack.pop()
        if node.tag in (f"{_W}t", _MATH_TEXT):
            pieces.append(node.text or "")
        elif node.tag in _SIGNS:
            pieces.append(_SIGNS[node.tag])
        elif node.tag not in _SKIPPED and node.tag not in (f"{_W}txbxContent", f"{_W}pPr"):
            stack.extend(reversed(node))
    return "".join(pieces)


def _boxes(paragraph: Any) -> list[Any]:
    """Text boxes anchored in a paragraph, once each (the fallback repeats them)."""
    return [
        box
        for box in paragraph.iter(f"{_W}txbxContent")
        if not any(above.tag == _FALLBACK for above in box.iterancestors())
    ]


def _row(row: Any) -> str:
    """Cells of one table row; a row of a table inside a cell is a row of its own."""
    cells = []
    for cell in row.iter(f"{_W}tc"):
        if cell.getparent() is row or cell.getparent().tag == f"{_W}sdtContent":
            own = (p for p in cell.iter(f"{_W}p") if next(p.iterancestors(f"{_W}tc")) is cell)
            cells.append(" ".join(" ".join(_text(p) for p in own).split()))
    return " | ".join(cells) if any(cells) else ""
