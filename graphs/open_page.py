"""Show where a citation stands: a PDF page as a picture, any other text in the pager.

python -m graphs.research "question" --docs ~/papers --open 1
"""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graphs.errors import UserError

if TYPE_CHECKING:
    from agents.result import Citation, Quote, ResearchResult
    from graphs.console import Console
    from retrievers.documents import Page

AROUND: Final = 40  # lines shown above and below a passage of a text without pages
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # they would steer the terminal
_REVERSE, _NORMAL = "\x1b[7m", "\x1b[0m"


def open_citation(
    result: "ResearchResult", number: int, docs: Sequence[Path], folder: Path, console: "Console"
) -> None:
    """Show citation `number` of an answer; pictures are kept in `folder`.

    Raises UserError where there is no such citation, or its file is gone or has changed.
    """
    citation = _citation(result, number)
    file = find_file(citation, docs)
    data = _unchanged(citation, file)
    if file.suffix.lower() == ".pdf" and citation.page is not None:
        _show_picture(citation, file, data, folder, console)
    else:
        _show_text(citation, file, docs, console)


def find_file(quote: "Quote", docs: Sequence[Path]) -> Path:
    """The file a quotation is from; never one outside the documents.

    Raises UserError where it is not among them.
    """
    from retrievers.discover import common_root

    roots = [Path(os.path.normpath(path.expanduser().absolute())) for path in docs]
    file = Path(os.path.normpath(common_root(roots) / quote.file))
    for root in roots:
        inside = file.is_relative_to(root) and file.resolve().is_relative_to(root.resolve())
        if (file == root or inside) and file.is_file():
            return file
    raise UserError(f"{quote.file} is not among the documents: give the --docs of the answer")


def _citation(result: "ResearchResult", number: int) -> "Citation":
    for citation in result.citations:
        if citation.id == number:
            return citation
    have = len(result.citations)
    numbers = f"1 to {have}" if have > 1 else "1" if have else "none"
    raise UserError(f"there is no citation [{number}] to open: this answer has {numbers}")


def _unchanged(quote: "Quote", file: Path) -> bytes:
    from retrievers.loaders import read_file

    data = read_file(file)
    if hashlib.sha256(data).hexdigest()[:16] != quote.passage_id.split(":", 1)[0]:
        raise UserError(f"{quote.file} changed since it was cited: ask again to cite it as it is")
    return data


def _show_picture(
    quote: "Citation", file: Path, data: bytes, folder: Path, console: "Console"
) -> None:
    from retrievers.page_image import page_png

    png, words = page_png(data, quote.page or 1, quote.quote)
    name = re.sub(r"[^\w.-]+", "_", file.stem)[:60]
    picture = folder / f"{name}-{quote.passage_id.replace(':', '-')}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(png)
    except OSError as err:
        raise UserError(f"cannot write {picture} ({err.strerror}): make room for it") from err
    marked = f"{words} words marked" if words else "the passage could not be marked on it"
    print(f"[{quote.id}] {quote.file}, page {quote.page}: {picture} ({marked})", file=console.out)
    if console.out.isatty():
        import typer

        typer.launch(str(picture))


def _show_text(quote: "Citation", file: Path, docs: Sequence[Path], console: "Console") -> None:
    from graphs.console import address
    from retrievers.loaders import load_document

    pages = load_document(file, docs[0]).pages
    page = next((page for page in pages if page.number == quote.page), None)
    if page is None or not _same(page.text[quote.start : quote.end], quote.quote):
        raise UserError(f"{quote.file} is now read in another way: ask again to cite it as it is")
    live = console.out.isatty()
    shown = f"[{quote.id}] {address(quote)}\n\n{marked_text(page, quote.start, quote.end, live)}\n"
    if live:
        import click

        click.echo_via_pager(shown)
    else:
        print(shown, file=console.out, end="", flush=True)


def _same(text: str, quoted: str) -> bool:
    return text.split() == quoted.split()


def marked_text(page: "Page", start: int, end: int, live: bool) -> str:
    """A page with characters [start, end) marked, or the lines around them where it has no number.

    The marks are reverse video on a terminal and >>> <<< elsewhere.
    """
    before, passage, after = page.text[:start], page.text[start:end], page.text[end:]
    if page.number is None:
        before = "\n".join(before.split("\n")[-AROUND - 1 :])
        after = "\n".join(after.split("\n")[: AROUND + 1])
    open_, close = (_REVERSE, _NORMAL) if live else (">>>", "<<<")
    before, passage, after = (_CONTROL.sub(" ", text) for text in (before, passage, after))
    return f"{before}{open_}{passage}{close}{after}".strip("\n")
