"""The roles together: search, gather, verify, repair and finish over small libraries."""

import json

import pytest

from agents.errors import QuestionError
from agents.notes import Draft, DraftSentence, EvidenceRef, Gathered, Intake, Verified
from agents.profile import SMALL
from agents.prompts import SMALL_TALK
from agents.result import NOT_IN_DOCUMENTS
from agents.team import ResearchTeam
from llm_core import LocalEmbeddings
from tests.agents.library_helpers import (
    BY_WORDS,
    RIVER,
    STONE,
    THAI,
    library_of,
    loaded,
    passages_of,
)
from tests.fakes import HashEmbeddings, ScriptedChat

TEXTS = {"stone.txt": STONE, "river.txt": RIVER, "thai.txt": THAI}
HID = "Ryder hid the blue stone in a grey goose."
ASK = "Who hid the blue stone in the goose?"


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> ResearchTeam:
    monkeypatch.setattr("agents.ranking.weights_for", lambda _language: BY_WORDS)
    library = library_of(passages_of(*(loaded(name, text) for name, text in TEXTS.items())))
    return ResearchTeam(ScriptedChat(), library, HashEmbeddings(), profile=SMALL, threshold=0.5)


def found(team: ResearchTeam, *asked: str) -> Gathered:
    return team.gather(asked[0], [team.search(text) for text in asked])


def quoting(*numbers: int, text: str = HID, composed: bool = False) -> DraftSentence:
    return DraftSentence(text=text, evidence=list(numbers), composed=composed)


def verified(team: ResearchTeam, evidence: list[EvidenceRef], *said: DraftSentence) -> Verified:
    return team.verify(ASK, Draft(sentences=list(said)), evidence)


def words_of(evidence: EvidenceRef) -> str:
    """What evidence quotes, read from the file it is in."""
    held = {loaded(name, text).sha256[:16]: text for name, text in TEXTS.items()}
    return held[evidence.passage_id.split(":")[0]][evidence.start : evidence.end]


def test_a_question_is_taken_in_and_planned(team: ResearchTeam) -> None:
    intake = team.intake("  Who hid the stone?  Where was the mill built? ")
    assert intake == Intake(question="Who hid the stone? Where was the mill built?")
    assert team.plan(intake, []) == ["Who hid the stone?", "Where was the mill built?"]
    assert team.plan(intake, ["Who hid the stone?"]) == ["hid stone"]


def test_a_question_without_words_is_refused(team: ResearchTeam) -> None:
    with pytest.raises(QuestionError):
        team.intake("??")


def test_a_search_notes_ids_offsets_and_scores_alone(team: ResearchTeam) -> None:
    note = team.search(ASK)
    assert words_of(note.evidence[0]) == HID
    assert note.answerable > 0.99  # every word of the question is in the sentence
    assert {ref.passage_id for ref in note.evidence} < {ref.id for ref in note.passages}
    assert note.passages[0].scores.keys() == {"bm25", "coverage", "dense", "fused"}
    assert note.passages[0].score == note.passages[0].scores["dense"]
    assert HID not in json.dumps(note.model_dump())


def test_a_search_is_explained_by_ids_and_places_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agents.ranking.weights_for", lambda _language: BY_WORDS)
    library = library_of(passages_of(loaded("stone.txt", STONE), loaded("river.txt", RIVER)))
    team = ResearchTeam(ScriptedChat(), library, HashEmbeddings(), profile=SMALL, explain=True)
    note = team.search(ASK)
    assert note.trace is not None
    stages = {stage["stage"]: stage["items"] for stage in note.trace["stages"]}
    assert [item["id"] for item in stages["diversity"]] == [ref.id for ref in note.passages]
    assert note.trace["places"][note.passages[0].id] == "stone.txt, line 1"
    assert HID not in json.dumps(note.trace)
    plain = ResearchTeam(ScriptedChat(), library, HashEmbeddings(), profile=SMALL).search(ASK)
    assert plain.trace is None and plain.passages == note.passages


def test_passages_under_the_cutoff_are_near_but_no_evidence(team: ResearchTeam) -> None:
    note = team.search(ASK)
    relevant = {
        ref.id
        for ref in note.passages
        if ref.scores["dense"] >= 0.35 or ref.scores["coverage"] >= 0.2
    }
    assert {ref.passage_id for ref in note.evidence} == relevant
    assert relevant < {ref.id for ref in note.passages}


def test_the_answering_sentence_comes_first_and_is_enough(team: ResearchTeam) -> None:
    gathered = found(team, ASK)
    assert gathered.enough and words_of(gathered.evidence[0]) == HID


def test_a_thai_question_finds_its_clause(team: ResearchTeam) -> None:
    gathered = found(team, "แม่น้ำเจ้าพระยาไหลผ่านเมืองไหน")
    assert gathered.enough
    assert words_of(gathered.evidence[0]) == "แม่น้ำเจ้าพระยาไหลผ่านเมือง"


def test_a_question_about_something_else_is_not_answerable(team: ResearchTeam) -> None:
    gathered = found(team, "Which planets orbit Jupiter?")
    assert not gathered.enough and gathered.evidence == []
    assert gathered.missing == ["Which planets orbit Jupiter?"]
    assert len(gathered.nearest) == 3


def test_two_parts_bring_evidence_of_both(team: ResearchTeam) -> None:
    gathered = found(team, ASK, "Was the wheel built in 1821 by Thomas Carr?")
    assert gathered.enough
    assert [words_of(ref) for ref in gathered.evidence[:2]] == [
        HID,
        "Its wheel was built in 1821 by Thomas Carr.",
    ]


def test_quotations_verify_and_are_cited_where_they_stand(team: ResearchTeam) -> None:
    gathered = found(team, ASK)
    checked = verified(team, gathered.evidence, quoting(1))
    assert checked.sound
    result = team.finish(ASK, checked, gathered.evidence, gathered.nearest)
    assert result.answer == f"{HID} [1]" and not result.abstained
    (citation,) = result.citations
    assert citation.file == "stone.txt" and citation.line == 1
    assert citation.quote == STONE[citation.start : citation.end] == HID
    assert result.nearest == []


def test_evidence_in_a_later_passage_is_read_and_cited_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agents.ranking.weights_for", lambda _language: BY_WORDS)
    text = "\n".join([*(f"Goose number {n} swam in the long lake." for n in range(20)), HID])
    passages = passages_of(loaded("long.txt", text), target=200)
    assert passages[-1].metadata["start"] > 200
    team = ResearchTeam(ScriptedChat(), library_of(passages), HashEmbeddings(), threshold=0.5)
    gathered = found(team, ASK)
    checked = verified(team, gathered.evidence, quoting(1))
    assert checked.sound
    (citation,) = team.finish(ASK, checked, gathered.evidence, []).citations
    assert citation.quote == HID and citation.line == 21
    assert (citation.start, citation.end) == (len(text) - len(HID), len(text))


def test_what_the_evidence_does_not_say_fails(team: ResearchTeam) -> None:
    evidence = found(team, ASK).evidence
    said = quoting(1, text="It was Horner who hid the blue stone in a goose.", composed=True)
    assert not verified(team, evidence, quoting(1), said).sound


def test_a_quotation_with_another_sentence_s_number_fails(team: ResearchTeam) -> None:
    evidence = found(team, ASK).evidence
    assert words_of(evidence[1]) != HID
    assert not verified(team, evidence, quoting(2)).sound


@pytest.mark.parametrize("numbers", [[], [999], [0]])
def test_a_sentence_whose_evidence_is_not_there_fails(
    team: ResearchTeam, numbers: list[int]
) -> None:
    evidence = found(team, ASK).evidence
    assert not verified(team, evidence, quoting(*numbers)).sound


def test_repair_quotes_what_a_failing_sentence_cites(team: ResearchTeam) -> None:
    evidence = found(team, ASK).evidence
    said = quoting(1, 2, text="Horner hid nothing at all.", composed=True)
    mended = team.repair(ASK, verified(team, evidence, said), evidence)
    assert [(s.text, s.evidence, s.composed) for s in mended.sentences] == [
        (words_of(evidence[0]), [1], False),
        (words_of(evidence[1]), [2], False),
    ]
    assert team.verify(ASK, mended, evidence).sound


def test_repair_keeps_what_stands_and_quotes_nothing_twice(team: ResearchTeam) -> None:
    evidence = found(team, ASK).evidence
    wrong = [
        quoting(1, text="Horner hid nothing at all.", composed=True),
        quoting(2, text="Horner sold nothing at all.", composed=True),
        quoting(2, text="Horner lost nothing at all.", composed=True),
    ]
    mended = team.repair(ASK, verified(team, evidence, wrong[0], quoting(1), *wrong[1:]), evidence)
    assert [s.evidence for s in mended.sentences] == [[1], [2]]
    assert mended.sentences[0] == quoting(1)


def test_two_failing_quotations_of_one_sentence_are_mended_once(team: ResearchTeam) -> None:
    evidence = found(team, ASK).evidence
    wrong = [quoting(1, text="Horner hid nothing."), quoting(1, text="Horner lost nothing.")]
    mended = team.repair(ASK, verified(team, evidence, *wrong), evidence)
    assert [(s.text, s.evidence) for s in mended.sentences] == [(HID, [1])]


def test_repair_drops_what_cites_nothing_and_the_run_refuses(team: ResearchTeam) -> None:
    gathered = found(team, ASK)
    evidence = gathered.evidence
    said = quoting(999, text="Horner hid nothing at all.", composed=True)
    mended = team.repair(ASK, verified(team, evidence, said), evidence)
    assert mended.sentences == []
    again = team.verify(ASK, mended, evidence)
    result = team.finish(ASK, again, evidence, gathered.nearest)
    assert result.abstained and result.answer == NOT_IN_DOCUMENTS and result.citations == []


def test_repair_keeps_the_short_answer(team: ResearchTeam) -> None:
    evidence = found(team, ASK).evidence
    draft = Draft(sentences=[quoting(1)], short_answer="Ryder")
    assert team.repair(ASK, team.verify(ASK, draft, evidence), evidence) == draft


def test_an_unsound_draft_is_never_shown(team: ResearchTeam) -> None:
    gathered = found(team, ASK)
    lie = quoting(1, text="Horner hid nothing at all.", composed=True)
    checked = verified(team, gathered.evidence, quoting(1), lie)
    result = team.finish(ASK, checked, gathered.evidence, gathered.nearest)
    assert result.abstained and "Horner" not in result.model_dump_json()
    assert result.nearest[0].file == "stone.txt"


def test_small_talk_needs_no_documents(team: ResearchTeam) -> None:
    result = team.finish("Hello!", None, [], [])
    assert (result.answer, result.abstained, result.nearest) == (SMALL_TALK, False, [])


def test_evidence_of_a_passage_that_is_gone_supports_nothing(team: ResearchTeam) -> None:
    gone = EvidenceRef(passage_id="gone:0:0-9", start=0, end=9, score=1.0)
    checked = verified(team, [gone], quoting(1))
    assert not checked.sound
    assert team.repair(ASK, checked, [gone]).sentences == []


def test_an_empty_library_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.ranking.weights_for", lambda _language: BY_WORDS)
    team = ResearchTeam(ScriptedChat(), library_of([]), HashEmbeddings())
    gathered = found(team, ASK)
    assert not gathered.enough and gathered.nearest == []
    assert team.finish(ASK, None, gathered.evidence, gathered.nearest).abstained


REAL = {
    "goose.txt": (
        "Mr. Henry Baker lost his hat and a fat white goose near Goodge Street. Peterson cooked the"
        " bird on Christmas morning. Inside its crop his wife found a brilliant blue stone."
    ),
    "mill.txt": (
        "The water mill stands beside the river Teme. Its wheel was built in 1821 by the engineer"
        " Thomas Carr. It ground corn for the whole valley until the railway came."
    ),
    "bees.txt": (
        "Honey bees tell each other where flowers are by dancing. A worker that returns runs in a"
        " figure of eight on the comb. The angle of the run gives the direction from the sun."
    ),
}


@pytest.fixture(scope="module")
def real_team(embeddings: LocalEmbeddings) -> ResearchTeam:
    passages = passages_of(*(loaded(name, text) for name, text in REAL.items()))
    return ResearchTeam(ScriptedChat(), library_of(passages, embeddings), embeddings)


@pytest.mark.model
@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("Who built the wheel of the water mill?", "Its wheel was built in 1821"),
        ("When was the mill's wheel built?", "Its wheel was built in 1821"),
        ("What was found inside the crop of the goose?", "Inside its crop his wife found"),
        ("How do honey bees tell each other where flowers are?", "Honey bees tell each other"),
    ],
)
def test_the_answering_sentence_ranks_first(
    real_team: ResearchTeam, asked: str, answer: str
) -> None:
    gathered = real_team.gather(asked, [real_team.search(asked)])
    assert gathered.enough
    best = gathered.evidence[0]
    texts = {loaded(name, text).sha256[:16]: text for name, text in REAL.items()}
    text = texts[best.passage_id.split(":")[0]]
    assert text[best.start : best.end].startswith(answer)


@pytest.mark.model
@pytest.mark.parametrize(
    "asked",
    [
        "Which planet has the largest moon?",
        "What is the interest rate of the central bank?",
        "How do I install the printer driver?",
    ],
)
def test_a_question_about_something_else_is_refused(real_team: ResearchTeam, asked: str) -> None:
    gathered = real_team.gather(asked, [real_team.search(asked)])
    assert not gathered.enough and gathered.evidence == []
    result = real_team.finish(asked, None, gathered.evidence, gathered.nearest)
    assert result.abstained and len(result.nearest) == 3
