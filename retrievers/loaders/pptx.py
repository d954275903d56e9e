"""Slides (.pptx): a page for each slide with its title, text, tables, charts and notes."""

from collections.abc import Iterator
from typing import Any, Final

from retrievers.loaders import Loaded
from retrievers.loaders.archive import office_file, parsing
from retrievers.loaders.blocks import PageWriter

_C: Final = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_MAX_NESTING: Final = 20  # groups in groups


def load(data: bytes) -> Loaded:
    """A page for each slide, numbered as they are shown; its title is its heading."""
    import pptx
    from pptx.exc import PythonPptxError

    file = office_file(data, ".pptx")
    with parsing(".pptx", PythonPptxError):
        presentation = pptx.Presentation(file)
        writers = [_slide(slide) for slide in presentation.slides]
        stated = str(presentation.core_properties.title or "")
    pages = [writer.page(number) for number, writer in enumerate(writers, 1)]
    first = next((heading.text for page in pages[:1] for heading in page.headings), "")
    generic = stated.strip().lower() in ("", "powerpoint presentation", "presentation")
    return Loaded(pages, first if generic else stated)


def _slide(slide: Any) -> PageWriter:
    writer = PageWriter()
    title = slide.shapes.title
    if title is not None and title.has_text_frame:
        writer.add(" ".join(title.text_frame.text.split()), level=1)
    for shape in _shapes(slide.shapes, 0):
        if title is None or shape.shape_id != title.shape_id:
            _shape(shape, writer)
    if slide.has_notes_slide:
        notes = slide.notes_slide.notes_text_frame
        if notes is not None and notes.text.strip():
            writer.add("Notes: " + notes.text)
    return writer


def _shapes(shapes: Any, depth: int) -> Iterator[Any]:
    """Shapes in the order they are drawn in, those in groups too."""
    for shape in shapes:
        inner = getattr(shape, "shapes", None)
        if inner is None:
            yield shape
        elif depth < _MAX_NESTING:
            yield from _shapes(inner, depth + 1)


def _shape(shape: Any, writer: PageWriter) -> None:
    if getattr(shape, "has_table", False):
        rows = ([cell.text for cell in row.cells] for row in shape.table.rows)
        writer.add_rows(rows, level=2)
    elif getattr(shape, "has_chart", False):
        _chart(shape.chart, writer)
    elif shape.has_text_frame:
        lines = [p for p in shape.text_frame.paragraphs if p.text.strip()]
        for number, paragraph in enumerate(lines):
            bullet = len(lines) > 1
            text = " ".join(paragraph.text.split())
            writer.add("- " + text if bullet else text, close=number > 0)


def _chart(chart: Any, writer: PageWriter) -> None:
    """Its title, and a row for each category with the value of every series, of any chart type."""
    if chart.has_title and chart.chart_title.has_text_frame:
        writer.add(chart.chart_title.text_frame.text)
    categories: dict[str, str] = {}  # by position, as the file writes it
    series: list[tuple[str, dict[str, str]]] = []
    for one in chart.element.iter(f"{_C}ser"):
        names = " ".join(str(v.text) for v in one.findall(f"{_C}tx//{_C}v") if v.text)
        categories = categories or _points(one, "cat") or _points(one, "xVal")
        series.append((names, _points(one, "val") or _points(one, "yVal")))
    places = dict.fromkeys([*categories, *(at for _, values in series for at in values)])
    rows = [
        [categories.get(at, ""), *(values.get(at, "") for _, values in series)] for at in places
    ]
    writer.add_rows([["", *(name for name, _ in series)], *rows])


def _points(series: Any, kind: str) -> dict[str, str]:
    """The cached values of a series, by position."""
    points = series.findall(f"{_C}{kind}//{_C}pt")
    return {str(point.get("idx")): str(point.findtext(f"{_C}v") or "") for point in points}
