"""Sentences are ranked by a linear score, belief is its softmax, answerability is logistic."""

from math import exp

import numpy as np
import pytest
from langchain_core.documents import Document

from agents.evidence import FEATURES, EvidenceFeatures, Scored
from agents.notes import EvidenceRef
from agents.question import Question
from agents.ranking import (
    ANSWERABLE,
    EvidenceRanker,
    Ranked,
    Weights,
    answerability_facts,
    fitted_weights,
    overlap,
    place,
    weights_for,
)
from retrievers.token_vectors import TokenEncoder
from tests.agents.library_helpers import STONE, library_of, loaded, passages_of
from tests.fakes import WordEmbeddings


def rows(**columns: list[float]) -> np.ndarray:
    length = len(next(iter(columns.values())))
    found = np.zeros((length, len(FEATURES)))
    for name, values in columns.items():
        found[:, FEATURES.index(name)] = values
    return found


def ranked(
    monkeypatch: pytest.MonkeyPatch,
    weights: Weights,
    passages: list[Document],
    question: str = "Who hid the stone?",
    keep: int = 12,
) -> Ranked:
    monkeypatch.setattr("agents.ranking.weights_for", lambda _language: weights)
    library = library_of(passages or passages_of(loaded("a.txt", STONE)))
    features = EvidenceFeatures(library, TokenEncoder(WordEmbeddings()))
    return EvidenceRanker(features, keep).rank(Question(question), passages)


def test_scores_are_the_weighted_sum_and_unknown_names_count_nothing() -> None:
    weights = Weights({"first": 2.0, "short": -1.0, "no such feature": 9.0}, {}, 0.0)
    found = weights.scores(rows(first=[1, 0], short=[0.5, 0.25]))
    assert found.tolist() == [1.5, -0.25]


def test_probability_is_logistic_in_the_facts() -> None:
    weights = Weights({}, {"top_score": 2.0}, -1.0)
    assert weights.probability({"top_score": 0.5, "unweighted": 5.0}) == pytest.approx(0.5)
    assert weights.probability({"top_score": 1.0}) == pytest.approx(1 / (1 + exp(-1)))


@pytest.mark.parametrize(("fact", "limit"), [(1e9, 1.0), (-1e9, 0.0)])
def test_probability_of_extreme_facts_stays_a_number(fact: float, limit: float) -> None:
    found = Weights({}, {"top_score": 1.0}, 0.0).probability({"top_score": fact})
    assert found == pytest.approx(limit) and 0 <= found <= 1


def test_facts_are_the_top_sentence_s_and_the_best_of_any() -> None:
    scored = Scored(
        [(0, 0, 1), (0, 1, 2)], rows(sentence_match=[0.2, 0.9], passage_cosine=[0.7, 0.1])
    )
    facts = answerability_facts(scored, np.asarray([3.0, 1.0]))
    assert facts["top_score"] == 3.0
    assert facts["top_sentence_match"] == 0.2 and facts["best_sentence_match"] == 0.9
    assert facts["top_passage_cosine"] == 0.7 and facts["best_passage_cosine"] == 0.7
    assert tuple(facts) == ANSWERABLE


def test_there_are_no_facts_about_nothing() -> None:
    assert answerability_facts(Scored([], np.zeros((0, len(FEATURES)))), np.zeros(0)) == {}


def test_belief_is_the_softmax_of_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Weights({"type_held": 1.0, "first": 0.5}, {}, 0.0)
    passages = passages_of(loaded("a.txt", "The maid hid. Then Ryder hid the stone. It was blue."))
    found = ranked(monkeypatch, weights, passages).evidence
    # "The maid hid." is first: 0.5; the one with a name: 1; the last: 0
    total = exp(1) + exp(0.5) + 1
    assert [ref.score for ref in found] == pytest.approx(
        [exp(1) / total, exp(0.5) / total, 1 / total]
    )
    assert [passages[0].page_content[r.start : r.end] for r in found] == [
        "Then Ryder hid the stone.",
        "The maid hid.",
        "It was blue.",
    ]


def test_great_scores_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    passages = passages_of(loaded("a.txt", STONE))
    found = ranked(monkeypatch, Weights({"first": 1e4}, {}, 0.0), passages).evidence
    assert [ref.score for ref in found] == [1.0, 0.0, 0.0]


def test_equals_keep_the_order_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    passages = passages_of(loaded("b.txt", "One stone."), loaded("a.txt", "Two stones. Three."))
    found = ranked(monkeypatch, Weights({}, {}, 0.0), passages).evidence
    ids = [passages[0].id, passages[1].id, passages[1].id]
    assert [ref.passage_id for ref in found] == ids
    assert found[1].start < found[2].start
    assert [ref.score for ref in found] == pytest.approx([1 / 3] * 3)


def test_many_equals_keep_their_order_too(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"Goose number {n} swam." for n in range(60))
    passages = passages_of(loaded("a.txt", text), target=5000)
    found = ranked(monkeypatch, Weights({}, {}, 0.0), passages, keep=60).evidence
    assert len(found) == 60
    assert [ref.start for ref in found] == sorted(ref.start for ref in found)


def test_only_the_best_are_kept_and_belief_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    passages = passages_of(loaded("a.txt", STONE))
    found = ranked(monkeypatch, Weights({}, {}, 0.0), passages, keep=2).evidence
    assert [ref.score for ref in found] == pytest.approx([1 / 3, 1 / 3])


def test_a_sentence_in_two_overlapping_passages_is_believed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "\n".join(
        [
            "Alpha bird one flew north.",
            "Beta bird two flew south.",
            "Gamma bird flew.",
            "Delta bird four flew west.",
            "Epsilon bird five sat still.",
        ]
    )
    passages = passages_of(loaded("birds.txt", text), target=75)
    assert ["Gamma" in passage.page_content for passage in passages] == [True, True]
    weights = Weights({"sentence_coverage": 3.0}, {}, 0.0)
    found = ranked(monkeypatch, weights, passages, "gamma?").evidence
    assert len({place(ref) for ref in found}) == len(found) == 5
    assert found[0].score == pytest.approx(exp(3) / (exp(3) + 4))
    assert sum(ref.score for ref in found) == pytest.approx(1)


def test_answerability_uses_the_top_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Weights({"type_held": 1.0}, {"top_type_held": 2.0, "top_score": 1.0}, -3.0)
    found = ranked(monkeypatch, weights, passages_of(loaded("a.txt", STONE)))
    assert found.answerable == pytest.approx(0.5)  # 2 * 1 + 1 * 1 - 3


def test_nothing_found_is_not_answerable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranked(monkeypatch, Weights({}, {}, 30.0), []) == Ranked([], 0.0)


def test_offsets_are_of_the_page_and_not_of_the_passage(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = ["An empty page of talk.", " ".join(f"Goose {n} swam.  It was grey." for n in range(9))]
    passages = passages_of(loaded("a.pdf", *pages, numbered=True), target=120)
    assert len(passages) > 3
    found = ranked(monkeypatch, Weights({}, {}, 0.0), passages, "Which goose swam?", keep=99)
    sentences = set()
    for ref in found.evidence:
        page = int(ref.passage_id.split(":")[1])
        sentences.add(pages[page - 1][ref.start : ref.end])
    expected = {pages[0], "It was grey.", *(f"Goose {n} swam." for n in range(9))}
    assert sentences == expected


def test_evidence_names_every_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ranked(monkeypatch, Weights({}, {}, 0.0), passages_of(loaded("a.txt", STONE)))
    assert tuple(found.evidence[0].features) == FEATURES
    assert found.evidence[0].features["first"] == 1.0


def test_shipped_weights_know_only_features_that_are_measured() -> None:
    held = fitted_weights()
    assert {"en", "th"} <= held.keys()
    for weights in held.values():
        assert weights.evidence.keys() <= set(FEATURES)
        assert weights.answerable.keys() <= set(ANSWERABLE)
        values = [*weights.evidence.values(), *weights.answerable.values(), weights.bias]
        assert np.isfinite(values).all() and any(weights.evidence.values())


@pytest.mark.parametrize(
    ("language", "used"), [("en", "en"), ("de", "en"), ("und", "en"), ("th", "th"), ("ja", "th")]
)
def test_scripts_without_spaces_share_weights(language: str, used: str) -> None:
    assert weights_for(language) is fitted_weights()[used]


def test_weights_are_read_from_json() -> None:
    entry = {"evidence": {"first": 1}, "answerable": {"top_first": 2}, "bias": "-3"}
    assert Weights.from_json(entry) == Weights({"first": 1}, {"top_first": 2}, -3.0)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("doc:3:0-900", 10, 60), ("doc:3:50-950", 40, 90), True),
        (("doc:3:0-900", 10, 60), ("doc:3:50-950", 60, 90), False),  # they touch
        (("doc:3:0-900", 10, 60), ("doc:4:0-900", 10, 60), False),  # another page
        (("doc:3:0-900", 10, 60), ("other:3:0-900", 10, 60), False),  # another document
    ],
)
def test_sentences_cut_differently_in_two_passages_are_known_as_one(
    one: tuple[str, int, int], other: tuple[str, int, int], shared: bool
) -> None:
    refs = [EvidenceRef(passage_id=p, start=a, end=b, score=1.0) for p, a, b in (one, other)]
    assert overlap(*refs) is shared
    assert overlap(*reversed(refs)) is shared
