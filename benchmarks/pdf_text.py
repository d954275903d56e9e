"""How close the text of PDFs comes to a reference: ours, pypdfium2's and pypdf's plain text.

    python -m benchmarks.pdf_text FOLDER

FOLDER holds NAME.pdf files and their references in Markdown, as NAME.md beside them or in a folder
`groundtruth`. Similarity is that of characters in order: twice the longest common subsequence over
the sum of both lengths, after white space and the signs of Markdown are evened out on all sides.
The last line of stdout is JSON. pypdf belongs to the `dev` extra.
"""

import argparse
import html
import json
import logging
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_SIGNS: Final = re.compile(r"[#*|`•▪●☐☑\ufffe\u00ad\u200e\u200f]|-{3,}|\\(?=[_*#|])|(?m:^\s*-\s)")


_EVEN: Final = {
    ord(sign): even
    for signs, even in (("‘’´`′", "'"), ("“”„″", '"'), ("–—‐‑−", "-"))
    for sign in signs
}
_RUNS: Final = re.compile(r"(?:\s?[._…]){4,}")  # leaders of a list of contents, lines to write on


def similarity(one: str, other: str) -> float:
    """Twice the length of the longest common subsequence over the sum of both lengths.

    Bit-parallel after Hyyrö, "Bit-parallel LCS-length computation revisited" (2004).
    """
    if not one and not other:
        return 1.0
    places: dict[str, int] = {}
    for at, char in enumerate(one):
        places[char] = places.get(char, 0) | 1 << at
    whole = (1 << len(one)) - 1
    row = whole
    for char in other:
        match = row & places.get(char, 0)
        row = ((row + match) | (row - match)) & whole
    return 2 * (len(one) - row.bit_count()) / (len(one) + len(other))


def plain(text: str) -> str:
    """Text without the signs of Markdown, with single spaces, even quotes, in one Unicode form."""
    bare = _SIGNS.sub(" ", html.unescape(_COMMENT.sub(" ", text))).translate(_EVEN)
    return " ".join(_RUNS.sub(" ", unicodedata.normalize("NFKC", bare)).split())


def by_ours(file: Path) -> str:
    """The text of our loader."""
    from retrievers.loaders import load_document

    return "\n".join(page.text for page in load_document(file, file.parent).pages)


def by_pypdfium2(file: Path) -> str:
    """PDFium's text, in the order it finds it."""
    import pypdfium2

    with pypdfium2.PdfDocument(file) as document:
        return "\n".join(page.get_textpage().get_text_range() for page in document)


def by_pypdf(file: Path) -> str:
    """pypdf's text."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(file).pages)


READERS: Final[dict[str, Callable[[Path], str]]] = {
    "ours": by_ours, "pypdfium2": by_pypdfium2, "pypdf": by_pypdf,
}  # fmt: skip


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """PDFs with their references."""
    return [
        (file, reference)
        for file in sorted(folder.glob("*.pdf"))
        for reference in (folder / "groundtruth" / f"{file.stem}.md", file.with_suffix(".md"))
        if reference.is_file()
    ]


def compare(folder: Path) -> dict[str, dict[str, float]]:
    """Similarity by file and reader, and CPU seconds as `READER_s`."""
    table: dict[str, dict[str, float]] = {}
    for file, reference in pairs(folder):
        wanted = plain(reference.read_text(encoding="utf-8"))
        row = table.setdefault(file.stem, {})
        for name, read in READERS.items():
            began = time.process_time()
            text = read(file)
            row[f"{name}_s"] = round(time.process_time() - began, 3)
            row[name] = round(similarity(wanted, plain(text)), 4)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.pdf_text", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of PDFs with reference Markdown")
    folder: Path = parser.parse_args(argv).folder
    if not pairs(folder):
        print(f"error: no PDF with a reference (.md) in {folder}", file=sys.stderr)
        return 2
    table = compare(folder)
    print(f"{'file':32}" + "".join(f"{name:>11}" for name in READERS))
    for stem, row in table.items():
        print(f"{stem:32}" + "".join(f"{row[name]:11.3f}" for name in READERS))
    mean = {n: sum(row[n] for row in table.values()) / len(table) for n in table[next(iter(table))]}
    print(f"{'mean':32}" + "".join(f"{mean[name]:11.3f}" for name in READERS))
    print(json.dumps({"files": table, "mean": {n: round(v, 4) for n, v in mean.items()}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
