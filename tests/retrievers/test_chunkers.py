"""Ways of cutting: exact slices, sizes, overlaps, headings, parents."""

import re
from itertools import pairwise

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_text_splitters import RecursiveCharacterTextSplitter

from retrievers.chunking.parents import CHILDREN, PARENT, ParentChildChunker, ParentRetriever
from retrievers.chunking.strategies import STRATEGIES, make_chunker
from retrievers.chunking.token import TokenChunker
from retrievers.documents import Heading, LoadedDocument, Page, passage_id
from retrievers.errors import RetrievalError
from retrievers.loaders.code import find_definitions

STORY = "\n\n".join(
    " ".join(
        f"In chapter {n} the {thing} of number {n} was found near the old river at noon."
        for thing in ("lantern", "goose", "stone", "letter", "hat")
    )
    for n in range(12)
)


def words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def document(text: str, *headings: Heading, number: int | None = None) -> LoadedDocument:
    return LoadedDocument("a/b.txt", "ab" * 32, [Page(number, text, headings)], "The title")


def check(found: LoadedDocument, passages: list[Document]) -> None:
    text = found.pages[0].text
    for passage in passages:
        at = passage.metadata
        assert passage.page_content == text[at["start"] : at["end"]] != ""
        assert passage.id == passage_id(found.sha256, at["page"], at["start"], at["end"])
        if at["page"] is None:
            assert at["line"] == text.count("\n", 0, at["start"]) + 1
    assert len({passage.id for passage in passages}) == len(passages)


def covered(text: str, passages: list[Document]) -> bool:
    """Whether every character that is not white space stands in a passage."""
    missing = list(text)
    for passage in passages:
        start, end = passage.metadata["start"], passage.metadata["end"]
        missing[start:end] = " " * (end - start)
    return not "".join(missing).strip()


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("overlap", [0.0, 0.3])
@pytest.mark.parametrize("number", [None, 3])
def test_every_way_of_cutting_loses_nothing_and_keeps_addresses(
    name: str, overlap: float, number: int | None
) -> None:
    text = STORY.replace("\n\n", " ")
    found = document(text, number=number)
    passages = make_chunker(name, 400, overlap, words)(found)
    check(found, passages)
    assert covered(text, passages)
    assert all(len(passage.page_content) <= 640 for passage in passages)
    repeated = sum(a.metadata["end"] > b.metadata["start"] for a, b in pairwise(passages))
    assert (repeated > len(passages) // 3) == (overlap > 0)


def test_headings_are_known_to_every_way_of_cutting() -> None:
    heading = Heading(STORY.index("In chapter 6"), STORY.index("In chapter 6") + 12, 1, "Six")
    for name in STRATEGIES:
        passages = make_chunker(name, 400, 0, words)(document(STORY, heading))
        assert passages[0].metadata["title"] == "The title"
        assert passages[-1].metadata["title"] == "Six", name
        assert passages[-1].metadata["section"] == "The title > Six"


def test_recursive_pieces_are_those_of_langchain() -> None:
    splitter = RecursiveCharacterTextSplitter(chunk_size=300, chunk_overlap=60)
    passages = make_chunker("recursive", 300, 0.2)(document(STORY))
    assert [passage.page_content for passage in passages] == splitter.split_text(STORY)


def test_a_token_passage_ends_a_sentence_or_is_full() -> None:
    passages = TokenChunker(words, target=50, overlap=8)(document(STORY))
    lengths = [len(words(passage.page_content)) for passage in passages]
    assert max(lengths) <= 50 and covered(STORY, passages)
    assert all(passage.page_content.endswith(".") for passage in passages)
    run_on = "word " * 300
    assert [len(words(p.page_content)) for p in TokenChunker(words, 50)(document(run_on))] == (
        [50] * 6
    )
    with pytest.raises(ValueError, match="overlap 50"):
        TokenChunker(words, 50, 50)


def test_code_is_cut_between_definitions() -> None:
    code = "\n\n".join(
        f"def step_{n}(value):\n" + "\n".join(f"    value += {n} * {k}" for k in range(12))
        for n in range(6)
    )
    found = document(code, *find_definitions(code))
    passages = make_chunker("structure", 350)(found)
    assert len(passages) == 6
    assert all(p.page_content.startswith(f"def step_{n}(") for n, p in enumerate(passages))


def test_children_lie_in_their_parent() -> None:
    heading = Heading(STORY.index("In chapter 6"), STORY.index("In chapter 6") + 12, 1, "Six")
    found = document(STORY, heading)
    parents, children = ParentChildChunker().pairs(found)
    check(found, parents)
    check(found, children)
    assert len(children) >= 3 * len(parents)
    by_id = {parent.id: parent.metadata for parent in parents}
    for child in children:
        parent = by_id[child.metadata[PARENT]]
        assert parent["start"] <= child.metadata["start"] < child.metadata["end"] <= parent["end"]
        assert parent["title"] == child.metadata["title"]


class Fixed(BaseRetriever):
    """Returns the documents it was given."""

    found: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.found


def test_a_parent_is_returned_once_in_the_place_of_its_best_child() -> None:
    parents, children = ParentChildChunker().pairs(document(STORY))
    held = {parent.id: parent for parent in parents}
    ranked = [children[-1], children[0], children[-2]]
    for share, child in zip((0.9, 0.8, 0.7), ranked, strict=True):
        child.metadata["dense"] = share
    retriever = ParentRetriever(
        retriever=Fixed(found=ranked), fetch=lambda ids: [held[id_] for id_ in ids if id_ in held]
    )
    found = retriever.invoke("goose")
    assert [passage.id for passage in found] == [parents[-1].id, parents[0].id]
    assert found[0].metadata["dense"] == 0.9
    assert found[0].metadata[CHILDREN] == [children[-1].id, children[-2].id]
    assert retriever.invoke("goose", k=1) == found[:1]
    assert "dense" not in parents[-1].metadata


@pytest.mark.parametrize(
    ("name", "size", "overlap", "said"),
    [
        ("pages", 400, 0, "'pages' is no way of cutting: choose from structure, sentence"),
        ("token", 400, 0, "'token' needs the tokens of an embedding model"),
        ("sentence", 20, 0, "passages of 20 characters"),
        ("sentence", 400, 0.9, "an overlap of 0.9"),
    ],
)
def test_a_wrong_setting_is_named(name: str, size: int, overlap: float, said: str) -> None:
    with pytest.raises(RetrievalError, match=said):
        make_chunker(name, size, overlap)
