"""E-books (.epub): the chapters in reading order, each read as HTML."""

import posixpath
import urllib.parse
import zipfile
from typing import Any, Final

from retrievers.documents import Page
from retrievers.errors import DocumentError
from retrievers.loaders import MAX_CHARACTERS, Loaded, html
from retrievers.loaders.archive import open_archive, parsing

_CONTAINER: Final = "META-INF/container.xml"
_RIGHTS: Final = "META-INF/rights.xml"
_PAGES: Final = frozenset({"application/xhtml+xml", "text/html", "application/xml", "text/xml"})
_TITLE: Final = "{http://purl.org/dc/elements/1.1/}title"


def load(data: bytes) -> Loaded:
    """A page for each file of the reading order that holds text, numbered from 1."""
    with open_archive(data, ".epub") as archive:
        if _RIGHTS in archive.namelist():
            raise DocumentError("encrypted .epub: it is bound to a reader (DRM)")
        with parsing(".epub"):
            title, names = _reading_order(archive)
            return Loaded(_pages(archive, names), title)


def _pages(archive: zipfile.ZipFile, names: list[str]) -> list[Page]:
    pages: list[Page] = []
    total = 0
    for name in names:
        content = archive.read(name)
        page = html.load(content).pages[0] if content.strip() else Page(None, "")
        total += len(page.text)
        if total > MAX_CHARACTERS:
            raise DocumentError(f"too large: over {MAX_CHARACTERS:,} characters")
        if page.text.strip():
            pages.append(Page(len(pages) + 1, page.text, page.headings))
    return pages


def _reading_order(archive: zipfile.ZipFile) -> tuple[str, list[str]]:
    """The book's title, and the members that hold its text, first to last."""
    container = _parse(archive.read(_CONTAINER))
    package = next(
        (str(e.get("full-path")) for e in container.iter("{*}rootfile") if e.get("full-path")), ""
    )
    root = _parse(archive.read(package))
    folder = posixpath.dirname(package)
    items = {
        str(item.get("id")): posixpath.normpath(
            posixpath.join(folder, urllib.parse.unquote(str(item.get("href") or "")))
        )
        for item in root.iter("{*}item")
        if item.get("media-type") in _PAGES
    }
    inside = set(archive.namelist())
    order = [items.get(str(ref.get("idref")), "") for ref in root.iter("{*}itemref")]
    names = [name for name in dict.fromkeys(order) if name in inside]
    title = next((str(e.text) for e in root.iter(_TITLE) if e.text), "")
    return title, names


def _parse(content: bytes) -> Any:
    """XML without the entities and the network that a hostile file may ask for."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    return etree.fromstring(content, parser)
