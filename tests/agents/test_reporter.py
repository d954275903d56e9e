"""Citations: exact words with their address, none twice, none overlapping, each one resolved."""

import re
from collections.abc import Sequence
from itertools import pairwise, permutations

import pytest
from langchain_core.documents import Document

from agents.notes import Draft, DraftSentence, EvidenceRef, PassageRef, Verdict, Verified
from agents.prompts import SMALL_TALK
from agents.reporter import Reporter
from agents.result import NOT_IN_DOCUMENTS, Quote, ResearchResult
from tests.agents.library_helpers import STONE, evidence_at, library_of, loaded, passages_of

ALPHA, BETA, GAMMA = "Alpha bird one flew north.", "Beta bird two flew south.", "Gamma bird flew."
DELTA, EPSILON = "Delta bird four flew west.", "Epsilon bird five sat still."
PAGE = "\n".join([ALPHA, BETA, GAMMA, DELTA, EPSILON])
TEXTS = {"birds.txt": PAGE, "stone.txt": STONE}
ASK = "Which bird flew?"


def overlapping() -> tuple[Document, Document]:
    """Two passages of one page; the second begins with the last sentence of the first."""
    first, second = passages_of(loaded("birds.txt", PAGE), target=75)
    assert first.page_content == "\n".join([ALPHA, BETA, GAMMA])
    assert second.page_content == "\n".join([GAMMA, DELTA, EPSILON])
    return first, second


def report(
    passages: Sequence[Document], evidence: list[EvidenceRef], *cited: list[int]
) -> ResearchResult:
    """The result of one sentence for each list of evidence numbers."""
    sentences = [
        DraftSentence(text=f"Sentence {n}.", evidence=numbers) for n, numbers in enumerate(cited)
    ]
    verdicts = [Verdict(supported=True, score=0.75, checks={"words": 1.0}) for _ in sentences]
    verified = Verified(draft=Draft(sentences=sentences, short_answer="one"), verdicts=verdicts)
    return Reporter(library_of(passages)).answer(ASK, verified, evidence)


def check_addresses(quotes: Sequence[Quote], passages: Sequence[Document]) -> None:
    held = {passage.id: passage for passage in passages}
    for quote in quotes:
        text, facts = TEXTS[quote.file], held[quote.passage_id].metadata
        assert quote.quote == text[quote.start : quote.end] != ""
        assert quote.line == text[: quote.start].count("\n") + 1
        assert facts["start"] <= quote.start < quote.end <= facts["end"]


def check_ids(result: ResearchResult) -> None:
    """Ids count from 1 in the order of the answer, each is cited, and each citation is there."""
    shown = [int(found) for found in re.findall(r"\[(\d+)\]", result.answer)]
    assert shown == [id_ for sentence in result.support for id_ in sentence.citation_ids]
    assert list(dict.fromkeys(shown)) == [citation.id for citation in result.citations]
    assert [c.id for c in result.citations] == list(range(1, len(result.citations) + 1))
    assert all(1 <= len(s.citation_ids) <= 2 for s in result.support)
    assert all(len(set(s.citation_ids)) == len(s.citation_ids) for s in result.support)


def check_apart(result: ResearchResult) -> None:
    """No two citations quote the same characters of a page."""
    spans = sorted((c.file, c.page or 0, c.start, c.end) for c in result.citations)
    for (file, page, _, end), (other, number, start, _) in pairwise(spans):
        assert (file, page) != (other, number) or end <= start


def test_a_citation_quotes_the_page_with_file_line_and_characters() -> None:
    first, second = overlapping()
    result = report([first, second], [evidence_at(second, DELTA)], [1])
    (citation,) = result.citations
    assert citation.model_dump() == {
        "id": 1,
        "passage_id": second.id,
        "file": "birds.txt",
        "page": None,
        "line": 4,
        "start": 70,  # 27 + 26 + 17 characters with their line ends
        "end": 96,
        "quote": DELTA,
    }


def test_a_paged_document_is_cited_by_page_and_not_by_line() -> None:
    passages = passages_of(
        loaded("a.pdf", "A first page.", "Talk.\nThe stone was blue.", numbered=True)
    )
    result = report(passages, [evidence_at(passages[1], "The stone was blue.")], [1])
    (citation,) = result.citations
    assert (citation.page, citation.line, citation.start, citation.end) == (2, None, 6, 25)


def test_the_answer_shows_ids_behind_sentences_and_keeps_what_was_checked() -> None:
    passages = [*overlapping(), *passages_of(loaded("stone.txt", STONE))]
    evidence = [
        evidence_at(passages[2], "Holmes laughed for an hour."),
        evidence_at(passages[0], BETA),
    ]
    result = report(passages, evidence, [2], [1, 2])
    assert result.answer == "Sentence 0. [1] Sentence 1. [2][1]"
    assert [c.quote for c in result.citations] == [BETA, "Holmes laughed for an hour."]
    assert result.question == ASK and result.short_answer == "one" and not result.abstained
    assert [s.model_dump() for s in result.support] == [
        {
            "sentence": "Sentence 0.",
            "citation_ids": [1],
            "score": 0.75,
            "composed": False,
            "checks": {"words": 1.0},
        },
        {
            "sentence": "Sentence 1.",
            "citation_ids": [2, 1],
            "score": 0.75,
            "composed": False,
            "checks": {"words": 1.0},
        },
    ]


def test_two_sentences_of_one_passage_are_one_citation_over_both() -> None:
    passages = overlapping()
    evidence = [evidence_at(passages[0], GAMMA), evidence_at(passages[0], ALPHA)]
    result = report(passages, evidence, [1], [2])
    (citation,) = result.citations
    assert citation.quote == "\n".join([ALPHA, BETA, GAMMA])
    assert (citation.start, citation.end, citation.line) == (0, 69, 1)
    assert [s.citation_ids for s in result.support] == [[1], [1]]


def test_a_sentence_drawing_on_one_passage_twice_cites_it_once() -> None:
    passages = overlapping()
    evidence = [evidence_at(passages[0], ALPHA), evidence_at(passages[0], BETA)]
    result = report(passages, evidence, [1, 2])
    assert result.answer == "Sentence 0. [1]"
    assert result.citations[0].quote == f"{ALPHA}\n{BETA}"


def test_a_sentence_shows_two_ids_at_most_and_no_third_citation_is_listed() -> None:
    passages = passages_of(*(loaded(f"{n}.txt", f"Goose {n} flew away.") for n in range(3)))
    evidence = [evidence_at(passage, passage.page_content) for passage in passages]
    result = report(passages, evidence, [3, 1, 2])
    assert result.answer == "Sentence 0. [1][2]"
    assert [c.quote for c in result.citations] == ["Goose 2 flew away.", "Goose 0 flew away."]
    check_ids(result)


def test_the_sentence_two_passages_share_joins_the_citation_that_is_there() -> None:
    first, second = overlapping()
    evidence = [evidence_at(second, DELTA), evidence_at(first, GAMMA)]
    result = report([first, second], evidence, [1], [2])
    (citation,) = result.citations
    assert citation.quote == f"{GAMMA}\n{DELTA}" and citation.passage_id == second.id


def test_overlapping_passages_never_give_overlapping_citations() -> None:
    first, second = overlapping()
    evidence = [
        *(evidence_at(first, words) for words in (ALPHA, BETA, GAMMA)),
        *(evidence_at(second, words) for words in (GAMMA, DELTA, EPSILON)),
    ]
    for order in permutations(range(1, 7), 4):
        result = report([first, second], evidence, *([n] for n in order))
        check_addresses(result.citations, [first, second])
        check_ids(result)
        check_apart(result)
        quotes = {c.id: c.quote for c in result.citations}
        for number, support in zip(order, result.support, strict=True):
            ref = evidence[number - 1]
            assert PAGE[ref.start : ref.end] in quotes[support.citation_ids[0]]


def test_pairs_of_evidence_in_any_order_keep_every_rule() -> None:
    first, second = overlapping()
    (stone,) = passages_of(loaded("stone.txt", STONE))
    evidence = [
        evidence_at(first, ALPHA),
        evidence_at(first, GAMMA),
        evidence_at(second, GAMMA),
        evidence_at(second, EPSILON),
        evidence_at(stone, "Holmes laughed for an hour."),
    ]
    for one, two, three, four in permutations(range(1, 6), 4):
        result = report([first, second, stone], evidence, [one, two], [three], [four, one])
        check_addresses(result.citations, [first, second, stone])
        check_ids(result)
        check_apart(result)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_sentences_cut_differently_in_two_passages_are_cited_apart(order: tuple[int, int]) -> None:
    page = f"{'a' * 70} {'b' * 9} {'c' * 19} {'d' * 50}"

    def passage(start: int, end: int) -> Document:
        facts = {"source": "p.pdf", "doc_hash": "ab", "page": 1, "start": start, "end": end}
        facts |= {"line": None, "language": "en"}
        return Document(id=f"ab:1:{start}-{end}", page_content=page[start:end], metadata=facts)

    # the second passage begins inside what is one sentence in the first
    passages = [passage(0, 100), passage(81, 151)]
    evidence = [
        evidence_at(passages[0], page[71:100]),
        evidence_at(passages[1], page[81:151]),
    ]
    result = report(passages, evidence, *([n] for n in order))
    check_apart(result)
    check_ids(result)
    assert all(c.quote == page[c.start : c.end] != "" for c in result.citations)
    covered = {at for c in result.citations for at in range(c.start, c.end)}
    assert covered == set(range(71, 151))


def test_like_places_of_other_pages_and_files_are_cited_apart() -> None:
    pages = loaded("a.pdf", ALPHA, ALPHA, numbered=True)
    passages = passages_of(pages, loaded("birds.txt", ALPHA))
    result = report(passages, [evidence_at(p, ALPHA) for p in passages], [1], [2], [3])
    assert [(c.file, c.page) for c in result.citations] == [
        ("a.pdf", 1),
        ("a.pdf", 2),
        ("birds.txt", None),
    ]
    check_ids(result)


def test_evidence_that_no_sentence_cites_is_no_citation() -> None:
    passages = overlapping()
    evidence = [evidence_at(passages[0], ALPHA), evidence_at(passages[1], EPSILON)]
    result = report(passages, evidence, [2])
    assert [c.quote for c in result.citations] == [EPSILON]


def test_what_has_left_the_library_is_not_cited() -> None:
    passages = overlapping()
    gone = EvidenceRef(passage_id="gone:0:0-3", start=0, end=3, score=0.1)
    result = report(passages, [evidence_at(passages[0], ALPHA), gone], [1, 2], [2])
    assert result.answer == "Sentence 0. [1]"
    assert [c.quote for c in result.citations] == [ALPHA]
    check_ids(result)


def test_an_answer_whose_passages_have_all_left_is_a_refusal() -> None:
    gone = EvidenceRef(passage_id="gone:0:0-3", start=0, end=3, score=0.1)
    result = report(overlapping(), [gone], [1])
    assert result.abstained and result.answer == NOT_IN_DOCUMENTS and result.citations == []


def test_thai_is_quoted_whole() -> None:
    text = "แม่น้ำเจ้าพระยาไหลผ่านเมือง\n\nกรุงเทพเป็นเมืองหลวงของประเทศไทย"
    (passage,) = passages_of(loaded("thai.txt", text))
    wanted = "กรุงเทพเป็นเมืองหลวงของประเทศไทย"
    result = report([passage], [evidence_at(passage, wanted)], [1])
    assert result.citations[0].quote == wanted == text[result.citations[0].start :]
    assert result.citations[0].line == 3


def test_more_verdicts_than_sentences_is_a_bug_and_not_an_answer() -> None:
    passages = overlapping()
    verified = Verified(draft=Draft(), verdicts=[Verdict(supported=True, score=1.0)])
    with pytest.raises(ValueError, match="zip"):
        Reporter(library_of(passages)).answer(ASK, verified, [])


def test_a_refusal_shows_the_nearest_in_order_with_addresses() -> None:
    first, second = overlapping()
    near = [PassageRef(id=second.id or "", score=0.43219), PassageRef(id=first.id or "", score=0.4)]
    result = Reporter(library_of([first, second])).refuse(ASK, near)
    assert result.abstained and result.answer == NOT_IN_DOCUMENTS
    assert result.citations == [] and result.support == [] and result.short_answer == ""
    assert [(n.passage_id, n.score, n.line) for n in result.nearest] == [
        (second.id, 0.4322, 3),
        (first.id, 0.4, 1),
    ]
    check_addresses(result.nearest, [first, second])


def test_a_long_passage_is_shown_by_its_beginning() -> None:
    text = "The goose swam on. " * 40
    (passage,) = passages_of(loaded("long.txt", text.strip()))
    (near,) = Reporter(library_of([passage])).refuse(ASK, [PassageRef(id=passage.id or "")]).nearest
    assert (near.start, near.end) == (0, 300) and near.quote == text[:300]


def test_a_refusal_leaves_out_what_the_library_no_longer_holds() -> None:
    first, _ = overlapping()
    near = [PassageRef(id="gone:0:0-9", score=0.9), PassageRef(id=first.id or "", score=0.1)]
    result = Reporter(library_of([first])).refuse(ASK, near)
    assert [n.passage_id for n in result.nearest] == [first.id]


def test_a_refusal_with_nothing_near_says_so_alone() -> None:
    result = Reporter(library_of(overlapping())).refuse(ASK, [])
    assert result.abstained and result.nearest == []


def test_small_talk_is_answered_without_documents() -> None:
    result = Reporter.small_talk("hi")
    assert (result.answer, result.abstained, result.citations) == (SMALL_TALK, False, [])


def test_a_note_number_in_a_document_does_not_read_as_a_citation() -> None:
    library = library_of(passages_of(loaded("a.txt", "The tower [3] is old [12].")))
    (passage,) = library.search(["tower"], 1)
    ref = EvidenceRef(passage_id=passage.id or "", start=0, end=26, score=1.0)
    draft = Draft(sentences=[DraftSentence(text="The tower [3] is old [12].", evidence=[1])])
    verified = Verified(draft=draft, verdicts=[Verdict(supported=True, score=1.0)])
    result = Reporter(library).answer("How old is the tower?", verified, [ref])
    assert result.answer == "The tower (3) is old (12). [1]"
    assert result.citations[0].quote == "The tower [3] is old [12]."
