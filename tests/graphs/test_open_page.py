"""Opening a citation: the right file, unchanged, with the cited words marked."""

from io import StringIO
from pathlib import Path

import pytest

from agents.result import Citation, ResearchResult
from graphs.console import Console
from graphs.errors import UserError
from graphs.open_page import AROUND, find_file, marked_text, open_citation
from retrievers.chunking import chunk
from retrievers.documents import Page
from retrievers.loaders import load_document
from tests.retrievers.pdf_files import make_pdf


def cite(file: Path, root: Path, number: int = 1) -> Citation:
    """The last passage of a document, as an answer cites it."""
    passage = chunk(load_document(file, root))[-1]
    facts = passage.metadata
    return Citation(
        id=number,
        passage_id=passage.id or "",
        file=facts["source"],
        page=facts["page"],
        line=facts["line"],
        start=facts["start"],
        end=facts["end"],
        quote=passage.page_content,
    )


def opened(citation: Citation, root: Path, docs: Path | None = None, number: int = 1) -> str:
    out = StringIO()
    result = ResearchResult(question="q", answer="a", citations=[citation])
    open_citation(result, number, [docs or root], root / "pictures", Console(out, StringIO()))
    return out.getvalue()


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "sub").mkdir(parents=True)
    return tmp_path / "docs"


def test_a_page_of_a_pdf_becomes_a_picture_that_is_named(docs: Path) -> None:
    file = docs / "sub" / "the deer.pdf"
    file.write_bytes(make_pdf([[b"The deer eats grass."], [b"The wolf runs."]]))
    citation = cite(file, docs)
    line = opened(citation, docs)
    (picture,) = (docs / "pictures").iterdir()
    assert line == f"[1] sub/the deer.pdf, page 2: {picture} (3 words marked)\n"
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.name.startswith("the_deer-")


def test_a_text_is_shown_around_the_marked_passage(docs: Path) -> None:
    lines = [
        f"Line {n} of a long text about deer, and then some more words of it." for n in range(400)
    ]
    lines[200] = "\x1b[2JHere is the wolf."
    (docs / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    text = "\n".join(lines)
    start = text.index("Here is the wolf.")
    citation = cite(docs / "a.txt", docs).model_copy(
        update={"start": start, "end": start + 17, "quote": "Here is the wolf.", "line": 201}
    )
    shown = opened(citation, docs)
    assert shown.startswith("[1] a.txt, line 201, characters ") and "\x1b" not in shown
    assert " [2J>>>Here is the wolf.<<<\nLine 201" in shown
    assert shown.count("\n") == 2 * AROUND + 3 and "Line 160 " in shown and "Line 240 " in shown


def test_a_numbered_part_is_shown_whole_and_marked_for_a_terminal() -> None:
    page = Page(2, "\n".join(map(str, range(300))))
    shown = marked_text(page, 0, 1, live=True)
    assert shown.startswith("\x1b[7m0\x1b[0m\n1\n") and shown.endswith("\n299")


def test_a_citation_that_is_not_there_is_named(docs: Path) -> None:
    (docs / "a.txt").write_text("The wolf runs.")
    with pytest.raises(UserError, match=r"no citation \[2\] to open: this answer has 1"):
        opened(cite(docs / "a.txt", docs), docs, number=2)


def test_a_file_that_changed_since_is_named(docs: Path) -> None:
    (docs / "a.txt").write_text("The wolf runs.")
    citation = cite(docs / "a.txt", docs)
    (docs / "a.txt").write_text("The wolf walks.")
    with pytest.raises(UserError, match=r"a\.txt changed since it was cited"):
        opened(citation, docs)


def test_only_files_of_the_documents_are_opened(docs: Path) -> None:
    outside = docs.parent / "secret.txt"
    outside.write_text("The wolf runs.")
    (docs / "link.txt").symlink_to(outside)
    (docs / "a.txt").write_text("The wolf runs.")
    citation = cite(docs / "a.txt", docs)
    assert find_file(citation, [docs]) == docs / "a.txt"
    assert find_file(citation, [docs / "a.txt"]) == docs / "a.txt"
    for name in ("../secret.txt", str(outside), "link.txt", "gone.txt", "sub"):
        with pytest.raises(UserError, match="is not among the documents"):
            find_file(citation.model_copy(update={"file": name}), [docs])
