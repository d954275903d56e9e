"""PDF by way of PDFium, page by page: broken Thai repaired, words joined over line ends.

PDFium is not thread-safe: one lock serves the whole process, and everything opened is closed.
"""

import io
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from retrievers.documents import Heading, Page
from retrievers.errors import TOO_SLOW, DocumentError
from retrievers.loaders import MAX_CHARACTERS, Loaded, Watch, ocr
from retrievers.loaders.pdf_layout import PageLines, page_texts
from retrievers.loaders.pdf_words import HYPHEN, read_lines
from retrievers.loaders.scripts import logical, require_meaning
from retrievers.thai import is_mojibake, repair_mojibake

MAX_PAGES: Final = 10_000
MAX_SECONDS: Final = 600.0  # for one file; looked at after each page
MAX_SCANNED: Final = 500  # pages read by OCR
MAX_PIXELS: Final = 4000.0  # of a page's longer side in the picture for OCR
PDFIUM: Final = threading.Lock()

_SPLIT_WORD: Final = re.compile(rf"(?<![\w-])([^\W_][\w-]*){HYPHEN}(\w*)")
_WORD: Final = re.compile(r"[^\W_][\w-]*[^\W_]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
LIGATURES: Final = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"})
_NUMBERED: Final = re.compile(r"(?m)^([1-9]\d?|[\d๑-๙]+(?:\.[\d๐-๙]+){1,3})\.?[ \t]+(\S.{2,75})$")
_CHAPTER: Final = re.compile(
    r"(?m)^(?:บทที่|ภาคผนวก|Chapter|CHAPTER|Appendix|APPENDIX|Kapitel|Chapitre)"
    r"[ \t]+[\dIVXA-Z๐-๙]+\.?(?:[ \t]+\S.{2,70}|[ \t]*\n\S.{2,70})?$"
)
_LEADERS: Final = re.compile(r"(?:[ \t]?\.){5,}")  # a list of contents: title . . . . . page
_SPACE_AT_END: Final = re.compile(r"(?<![ \t])[ \t]+(?=\n)")
_NAME: Final = re.compile(r"[^\W\d_]{3}")
_FORMULA: Final = re.compile(r"[=<>+−∑∫{}\\|]")
_COMPOUND_ENDS: Final = frozenset(
    {"based", "level", "style", "specific", "aware", "driven", "oriented", "trained", "shot"}
)
_PAGE_NUMBER_BEHIND: Final = re.compile(r"\s[\d๐-๙]+$")
_NO_TITLE: Final = re.compile(
    r"untitled|microsoft (word|powerpoint)|\.(docx?|dvi|tex|indd|qxd|pdf)$|^\W*$", re.IGNORECASE
)


def load(data: bytes, watch: Watch | None = None) -> Loaded:
    """Numbered pages of text; headings from the file's outline, else from numbered lines."""
    if b"%PDF-" not in data[:1024]:
        raise DocumentError("broken PDF: it does not begin as one")
    with PDFIUM:
        texts, title, outline = _extract(data, watch or Watch(lambda _: None))
    whole = "\n".join(texts)
    if is_mojibake(whole):
        texts = [repair_mojibake(text, certain=True) for text in texts]
        title = repair_mojibake(title)
        outline = [(repair_mojibake(name), level, page) for name, level, page in outline]
    else:
        require_meaning(whole)
    texts = _tidy([logical(text) for text in texts])
    pages = [Page(number, text) for number, text in enumerate(texts, 1)]
    headings = _outlined(texts, outline) or _numbered(texts)
    pages = [Page(p.number, p.text, tuple(headings.get(p.number or 0, ()))) for p in pages]
    return Loaded(pages, "" if _NO_TITLE.search(title) else title)


def _extract(data: bytes, watch: Watch) -> tuple[list[str], str, list[tuple[str, int, int]]]:
    """Raw page texts, the stated title, and the outline as (title, level, 1-based page)."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as err:
        if "password" in str(err).lower():
            raise DocumentError("encrypted PDF: save a copy without a password") from err
        raise DocumentError("broken PDF: it cannot be opened") from err
    try:
        texts = _page_texts(document, watch)
        if not any(text.strip() for text in texts):
            texts = _scanned(document, watch)
        watch.page(0)
        return texts, _stated_title(document), _outline(document)
    except pypdfium2.PdfiumError as err:
        raise DocumentError(f"broken PDF: {err}") from err
    finally:
        document.close()


def _page_texts(document: Any, watch: Watch) -> list[str]:
    count = len(document)
    if not count:
        raise DocumentError("broken PDF: it has no pages")
    if count > MAX_PAGES:
        raise DocumentError(f"too large: {count:,} pages, limit {MAX_PAGES:,}")
    return page_texts(_pages(document, watch))


def _pages(document: Any, watch: Watch) -> Iterator[PageLines]:
    began, total, count = time.monotonic(), 0, len(document)
    for index in range(count):
        watch.page(index + 1)
        page = PageLines([], 0, 0)
        if index + 1 not in watch.skip:
            page, characters = _page_lines(document, index, MAX_CHARACTERS - total)
            total += characters
        yield page
        if time.monotonic() - began > MAX_SECONDS:
            raise DocumentError(
                f"{TOO_SLOW}: {index + 1} of {count} pages took over {MAX_SECONDS:.0f} s; touch"
                " the file to try again"
            )


def _page_lines(document: Any, index: int, allowed: int) -> tuple[PageLines, int]:
    """Lines of one page and its characters; none of one that cannot be opened, as in a viewer."""
    import pypdfium2

    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return PageLines([], 0, 0), 0
    try:
        return lines_of(page, allowed)
    finally:
        page.close()


def lines_of(page: Any, allowed: int = MAX_CHARACTERS) -> tuple[PageLines, int]:
    """Lines of an open page and the number of its characters.

    Raises DocumentError where it has more than `allowed`.
    """
    textpage = page.get_textpage()
    try:
        count = max(0, textpage.count_chars())
        if count > allowed:
            raise DocumentError(f"too large: over {MAX_CHARACTERS:,} characters")
        _, bottom, _, top = page.get_bbox()
        lines = read_lines(textpage, count)
        return PageLines(lines, bottom, top, page.get_rotation() == 0), count
    finally:
        textpage.close()


def _scanned(document: Any, watch: Watch) -> list[str]:
    """Texts of pages that have none of their own, where they are pictures and OCR is at hand."""
    if not _has_pictures(document):
        raise DocumentError("empty: no text in it")
    command = ocr.find_tesseract()
    if command is None:
        raise DocumentError(f"no text layer: its pages are images; {ocr.OFFER}")
    if len(document) > MAX_SCANNED:
        raise DocumentError(
            f"too large: {len(document):,} scanned pages, limit {MAX_SCANNED}; make it searchable"
            " with OCR first"
        )
    spoken = ocr.languages(command)
    texts = []
    for at in range(len(document)):
        watch.page(at + 1)
        skipped = at + 1 in watch.skip
        texts.append("" if skipped else ocr.read_picture(command, _png(document, at), spoken))
    if not any(texts):
        raise DocumentError("no text layer: its pages are images, and OCR found no text in them")
    return texts


def _png(document: Any, index: int) -> bytes:
    """A picture of one page."""
    page = document[index]
    try:
        stream = io.BytesIO()
        width, height = page.get_size()
        scale = min(ocr.DPI / 72, MAX_PIXELS / max(width, height, 1.0))
        page.render(scale=scale, grayscale=True).to_pil().save(stream, "PNG")
        return stream.getvalue()
    finally:
        page.close()


def _has_pictures(document: Any) -> bool:
    import pypdfium2
    from pypdfium2 import raw

    for index in range(min(len(document), 20)):
        try:
            page = document[index]
        except pypdfium2.PdfiumError:
            continue
        try:
            if any(True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3)):
                return True
        finally:
            page.close()
    return False


def _stated_title(document: Any) -> str:
    """The title in the file's properties; none where they are damaged."""
    import pypdfium2

    try:
        return str(document.get_metadata_value("Title") or "")
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        return ""


def _outline(document: Any) -> list[tuple[str, int, int]]:
    """Bookmarks as (title, level, 1-based page), those before the first damaged one."""
    import pypdfium2

    entries: list[tuple[str, int, int]] = []
    try:
        for bookmark in document.get_toc(max_depth=4):
            target = bookmark.get_dest()
            index = target.get_index() if target is not None else None
            if index is not None:
                entries.append((bookmark.get_title(), bookmark.level + 1, index + 1))
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        return entries
    return entries


def _tidy(texts: Sequence[str]) -> list[str]:
    """Line ends as LF, no control characters, words whole that were split at line ends."""
    plain = [text.replace("\r\n", "\n").replace("\r", "\n").translate(LIGATURES) for text in texts]
    words = {word.lower() for text in plain for word in _WORD.findall(text)}
    joined = [_SPLIT_WORD.sub(lambda match: _join(match, words), text) for text in plain]
    clean = [_CONTROL.sub("", text) for text in joined]
    return [_SPACE_AT_END.sub("", _LEADERS.sub(" … ", text)) for text in clean]


def _join(match: re.Match[str], words: set[str]) -> str:
    """ "Con|sider" without its hyphen, "state-of-the|art" with it: as the document writes it."""
    left, right = match[1], match[2]
    if (left + right).lower() in words:
        return left + right
    kept = f"{left}-{right}"
    compound = "-" in left or not right[:1].islower() or right in _COMPOUND_ENDS
    compound = compound or kept.lower() in words
    return kept if compound else left + right


def _outlined(
    texts: Sequence[str], outline: list[tuple[str, int, int]]
) -> dict[int, list[Heading]]:
    """Outline entries, found again as lines of their pages."""
    found: dict[int, list[Heading]] = {}
    for title, level, number in outline:
        words = re.findall(r"\w+", title)
        if not words or not 1 <= number <= len(texts):
            continue
        pattern = (
            r"(?m)^[^\w\n]*(?:[\dIVX.]+[ \t]+)?" + r"\W+".join(map(re.escape, words)) + r"\W{0,3}$"
        )
        match = re.search(pattern, texts[number - 1], re.IGNORECASE)
        if match:
            start, end = match.span()
            start += len(match[0]) - len(match[0].lstrip())
            found.setdefault(number, []).append(Heading(start, end, level, title.strip()))
    for headings in found.values():
        headings.sort(key=lambda heading: heading.start)
    return found


def _numbered(texts: Sequence[str]) -> dict[int, list[Heading]]:
    """Lines such as "Chapter 2" and "2.3 Results"; chapter numbers alone must count up."""
    found: dict[int, list[Heading]] = {}
    chapter = 0
    for number, text in enumerate(texts, 1):
        headings = [
            Heading(match.start(), match.end(), 1, " ".join(match[0].split()))
            for match in _CHAPTER.finditer(text)
            if "…" not in match[0]
        ]
        for match in _NUMBERED.finditer(text):
            label, level = match[1], match[1].count(".") + 1
            if not _is_name(match, text) or any(h.end > match.start() for h in headings[-1:]):
                continue
            if level == 1:
                if int(label) != chapter + 1:
                    continue
                chapter += 1
            headings.append(Heading(match.start(), match.end(), level, match[0].strip()))
        if headings:
            found[number] = sorted(headings, key=lambda heading: heading.start)
    return found


def _is_name(match: re.Match[str], text: str) -> bool:
    """Whether a numbered line names a section: no formula, sentence, contents or running head."""
    name = match[2].strip()
    at_edge = not text[: match.start()].strip() or not text[match.end() :].strip()
    if at_edge and _PAGE_NUMBER_BEHIND.search(name):
        return False
    if "…" in name or name[-1] in ".,;:" or name[0].islower() or _FORMULA.search(name):
        return False
    return bool(_NAME.search(name)) and sum(char.isdigit() for char in name) <= 4
