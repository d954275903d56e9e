"""Searches are joined: enough or what is missing, evidence in turn, no sentence twice."""

import pytest

from agents.gatherer import NEAREST, PART, Gatherer
from agents.notes import EvidenceRef, PassageRef, SearchNote
from agents.ranking import place

FULL, BARE = "Where is the blue stone?", "blue stone"
OTHER = "Who hid the grey goose?"


def ref(passage: str, start: int, end: int, score: float = 0.5) -> EvidenceRef:
    return EvidenceRef(passage_id=passage, start=start, end=end, score=score, features={"first": 1})


def note(asked: str, answerable: float, *evidence: EvidenceRef, **scores: float) -> SearchNote:
    passages = [PassageRef(id=id_, score=score) for id_, score in scores.items()]
    return SearchNote(
        sub_question=asked, passages=passages, evidence=list(evidence), answerable=answerable
    )


def test_one_part_that_reaches_the_threshold_is_enough() -> None:
    gathered = Gatherer(0.5).gather([note(FULL, 0.5, ref("d:0:0-50", 0, 9))])
    assert gathered.enough and gathered.missing == [] and gathered.answerable == 0.5
    assert [place(e) for e in gathered.evidence] == [("d:0", 0, 9)]


def test_a_part_just_under_the_threshold_is_missing_and_brings_no_evidence() -> None:
    gathered = Gatherer(0.5).gather([note(FULL, 0.499, ref("d:0:0-50", 0, 9), p=0.4)])
    assert not gathered.enough and gathered.missing == [FULL]
    assert gathered.evidence == []
    assert [found.id for found in gathered.nearest] == ["p"]


def test_one_part_of_two_is_not_enough_yet() -> None:
    gathered = Gatherer(0.5).gather([note(FULL, 0.9, ref("d:0:0-50", 0, 9)), note(OTHER, 0.1)])
    assert not gathered.enough and gathered.missing == [OTHER]
    assert len(gathered.evidence) == 1 and gathered.answerable == 0.9


@pytest.mark.parametrize("swapped", [False, True])
def test_a_second_wording_that_finds_it_answers_for_the_first(swapped: bool) -> None:
    notes = [note(FULL, 0.1, ref("d:0:0-50", 0, 9)), note(BARE, 0.8, ref("d:0:0-50", 10, 19))]
    gathered = Gatherer(0.5).gather(notes[::-1] if swapped else notes)
    assert gathered.enough and gathered.missing == []
    assert [place(e) for e in gathered.evidence] == [("d:0", 10, 19)]


def test_a_second_wording_that_fails_too_is_not_asked_a_third_time() -> None:
    gathered = Gatherer(0.5).gather([note(FULL, 0.1), note(BARE, 0.2)])
    assert not gathered.enough and gathered.missing == []
    assert gathered.answerable == 0.2


def test_a_part_already_bare_is_not_asked_again() -> None:
    gathered = Gatherer(0.5).gather([note(BARE, 0.1)])
    assert not gathered.enough and gathered.missing == []


def test_the_better_wording_s_evidence_is_used() -> None:
    notes = [note(FULL, 0.9, ref("d:0:0-50", 0, 9)), note(BARE, 0.6, ref("d:0:0-50", 10, 19))]
    assert [place(e) for e in Gatherer(0.5).gather(notes).evidence] == [("d:0", 0, 9)]


def test_parts_take_turns_and_evidence_keeps_its_part() -> None:
    one = [ref("d:0:0-50", 0, 9), ref("d:0:0-50", 10, 19), ref("d:0:0-50", 20, 29)]
    two = [ref("e:0:0-50", 0, 9)]
    gathered = Gatherer(0.5).gather([note(FULL, 0.9, *one), note(OTHER, 0.7, *two)])
    found = [(place(e), e.features[PART]) for e in gathered.evidence]
    assert found == [
        (("d:0", 0, 9), 0.0),
        (("e:0", 0, 9), 1.0),
        (("d:0", 10, 19), 0.0),
        (("d:0", 20, 29), 0.0),
    ]
    assert all(e.features["first"] == 1 for e in gathered.evidence)


def test_a_sentence_in_two_overlapping_passages_is_evidence_once() -> None:
    notes = [note(FULL, 0.9, ref("d:2:0-50", 40, 49), ref("d:2:40-90", 40, 49))]
    gathered = Gatherer(0.5).gather(notes)
    assert [e.passage_id for e in gathered.evidence] == ["d:2:0-50"]


def test_a_sentence_found_by_two_parts_is_evidence_once() -> None:
    same = ref("d:0:0-50", 0, 9)
    gathered = Gatherer(0.5).gather([note(FULL, 0.9, same), note(OTHER, 0.9, same)])
    assert [e.features[PART] for e in gathered.evidence] == [0.0]


def test_like_offsets_on_other_pages_or_documents_stay_apart() -> None:
    found = [ref("d:1:0-50", 0, 9), ref("d:2:0-50", 0, 9), ref("e:1:0-50", 0, 9)]
    assert len(Gatherer(0.5).gather([note(FULL, 0.9, *found)]).evidence) == 3


def test_notes_are_not_changed() -> None:
    given = note(FULL, 0.9, ref("d:0:0-50", 0, 9))
    before = given.model_copy(deep=True)
    Gatherer(0.5).gather([given])
    assert given == before


def test_the_nearest_are_the_best_few_of_all_searches() -> None:
    notes = [note(FULL, 0.1, a=0.3, b=0.9, c=0.1), note(OTHER, 0.1, d=0.5, e=0.2)]
    nearest = Gatherer(0.5).gather(notes).nearest
    assert [(p.id, p.score) for p in nearest] == [("b", 0.9), ("d", 0.5), ("a", 0.3)]
    assert len(nearest) == NEAREST


def test_a_passage_found_twice_is_near_once() -> None:
    notes = [note(FULL, 0.1, a=0.3), note(OTHER, 0.1, a=0.3, b=0.2)]
    assert [p.id for p in Gatherer(0.5).gather(notes).nearest] == ["a", "b"]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_passage_found_twice_keeps_its_better_score(swapped: bool) -> None:
    notes = [note(FULL, 0.1, a=0.9), note(OTHER, 0.1, a=0.1, b=0.5)]
    nearest = Gatherer(0.5).gather(notes[::-1] if swapped else notes).nearest
    assert [(p.id, p.score) for p in nearest] == [("a", 0.9), ("b", 0.5)]


def test_equally_near_passages_have_a_fixed_order() -> None:
    one, two = note(FULL, 0.1, b=0.3), note(OTHER, 0.1, a=0.3)
    orders = [[p.id for p in Gatherer(0.5).gather(n).nearest] for n in ([one, two], [two, one])]
    assert orders == [["a", "b"], ["a", "b"]]


def test_no_searches_find_nothing() -> None:
    gathered = Gatherer(0.5).gather([])
    assert not gathered.enough and gathered.missing == []
    assert gathered.evidence == [] and gathered.nearest == []
    assert gathered.answerable == 0.0
