from itertools import pairwise

import pytest
from langchain_core.documents import Document

from retrievers.chunking import chunk
from retrievers.documents import Heading, LoadedDocument, Page, passage_id
from retrievers.loaders.text import find_headings

SENTENCES = [
    f"Sentence number {n} of the story says that the {w} was found near the river at noon."
    for n in range(60)
    for w in ("lantern", "goose", "stone")
]


def document(*pages: Page, title: str = "The title") -> LoadedDocument:
    return LoadedDocument("a/b.txt", "ab" * 32, list(pages), title)


def wrapped(sentences: list[str], width: int = 70) -> str:
    lines, line = [], ""
    for word in " ".join(sentences).split():
        if len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def check_addresses(found: LoadedDocument, passages: list[Document]) -> None:
    pages = {page.number: page.text for page in found.pages}
    for passage in passages:
        at = passage.metadata
        text = pages[at["page"]]
        assert passage.page_content == text[at["start"] : at["end"]]
        assert passage.id == passage_id(found.sha256, at["page"], at["start"], at["end"])
        if at["page"] is None:
            assert at["line"] == text.count("\n", 0, at["start"]) + 1
    assert len({passage.id for passage in passages}) == len(passages)


@pytest.mark.parametrize("text", [" ".join(SENTENCES), wrapped(SENTENCES)])
def test_passages_are_exact_even_slices_that_end_on_sentence_ends(text: str) -> None:
    found = document(Page(None, text))
    passages = chunk(found)
    check_addresses(found, passages)
    sizes = [len(passage.page_content) for passage in passages]
    assert all(650 <= size <= 1050 for size in sizes), sizes
    assert all(passage.page_content.endswith("noon.") for passage in passages)
    assert all(passage.page_content.startswith("Sentence") for passage in passages)


def test_neighbours_share_one_sentence() -> None:
    passages = chunk(document(Page(None, " ".join(SENTENCES))))
    for one, two in pairwise(passages):
        shared = one.metadata["end"] - two.metadata["start"]
        assert 60 <= shared <= 100


def test_without_overlap_passages_part_the_text() -> None:
    passages = chunk(document(Page(None, " ".join(SENTENCES))), overlap=0)
    assert " ".join(passage.page_content for passage in passages) == " ".join(SENTENCES)


def test_metadata_names_source_hash_title_and_language() -> None:
    (passage,) = chunk(document(Page(3, "  The stone was blue.\n")))
    assert passage.metadata == {
        "source": "a/b.txt", "doc_hash": "ab" * 32, "page": 3, "start": 2, "end": 21,
        "line": None, "title": "The title", "section": "The title", "language": "en",
    }  # fmt: skip


def test_passages_never_cross_pages() -> None:
    pages = [Page(n, " ".join(SENTENCES[n * 9 : n * 9 + 9])) for n in range(1, 4)]
    found = document(*pages, Page(4, "   \n"))
    passages = chunk(found)
    check_addresses(found, passages)
    assert {passage.metadata["page"] for passage in passages} == {1, 2, 3}


def test_sections_name_their_passages_and_do_not_mix() -> None:
    story = wrapped(SENTENCES[:30])
    text = (
        "THE BOOK\n\n\n  I. One Story\n II. Another Story\n\n\n"
        f"ADVENTURE I. ONE STORY\n\nI.\n\n{story}\n\n\nII.\n\n{story}\n\n\n"
        f"ADVENTURE II. ANOTHER STORY\n\n{story}\n"
    )
    passages = chunk(document(Page(None, text, find_headings(text)), title="THE BOOK"))
    titles = [passage.metadata["title"] for passage in passages]
    assert titles[0] == "THE BOOK"
    assert "Sentence" not in passages[0].page_content
    assert list(dict.fromkeys(titles)) == [
        "THE BOOK", "ADVENTURE I. ONE STORY", "ADVENTURE II. ANOTHER STORY",
    ]  # fmt: skip
    first_of_second = titles.index("ADVENTURE II. ANOTHER STORY")
    assert passages[first_of_second].page_content.startswith("ADVENTURE II.")


def test_a_heading_on_an_earlier_page_still_names_its_section() -> None:
    text = " ".join(SENTENCES[:9])
    pages = [Page(1, f"Methods\n\n{text}", (Heading(0, 7, 1, "Methods"),)), Page(2, text)]
    passages = chunk(document(*pages))
    assert {passage.metadata["title"] for passage in passages} == {"Methods"}
    assert {passage.metadata["section"] for passage in passages} == {"The title > Methods"}


def test_small_sections_are_joined() -> None:
    text = "".join(f"# Part {n}\n\nShort text.\n\n" for n in range(6))
    starts = [text.index(f"# Part {n}") for n in range(6)]
    headings = tuple(Heading(s, s + 8, 2, f"Part {n}") for n, s in enumerate(starts))
    passages = chunk(document(Page(None, text, headings)))
    assert len(passages) == 1
    assert passages[0].page_content.count("Short text.") == 6


def test_an_empty_document_has_no_passages() -> None:
    assert chunk(document(Page(None, " \n "))) == []


def test_thai_passages_are_bounded() -> None:
    text = "ระบบเรียงพิมพ์นี้เหมาะสมที่สุดสำหรับเอกสารทางวิทยาศาสตร์ การจัดรูปแบบทำได้ง่าย " * 60
    found = document(Page(1, text))
    passages = chunk(found)
    check_addresses(found, passages)
    assert {passage.metadata["language"] for passage in passages} == {"th"}
    assert all(500 <= len(passage.page_content) <= 1200 for passage in passages)
