"""The writer: how much is quoted, when a composed sentence may stand, which span is short."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from agents.gatherer import PART
from agents.notes import DraftSentence, EvidenceRef
from agents.profile import LARGE, SMALL
from agents.question import Question
from agents.writer import MAX_IDS, Choice, Writer, keeps_answer
from tests.fakes import ScoringChat, ScriptedChat

QUESTION = Question("What did the oil crisis do?")
QUOTE = "Price controls made the oil crisis in the United States considerably worse."
SHORTER = "Price controls made the oil crisis considerably worse in the United States."


def refs(*beliefs: float, parts: tuple[int, ...] | None = None) -> list[EvidenceRef]:
    return [
        EvidenceRef(
            passage_id="doc:0:0-900",
            start=at * 100,
            end=at * 100 + 90,
            score=belief,
            features={PART: float(parts[at] if parts else 0)},
        )
        for at, belief in enumerate(beliefs)
    ]


def reply(**args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "Answer", "args": args, "id": "1"}])


def writer(*replies: AIMessage, profile: Any = SMALL) -> Writer:
    choice = Choice(words=10, belief=0.7, most=3, beside=0.05, elsewhere=0.4)
    return Writer(ScriptedChat(replies=list(replies)), profile, choice)


def texts(count: int, words: int) -> dict[int, str]:
    return dict.fromkeys(range(1, count + 1), "word " * words)


@pytest.mark.parametrize(
    ("beliefs", "words", "count"),
    [
        ((0.9, 0.05, 0.05), 8, 1),  # sure, and no room
        ((0.9, 0.05, 0.05), 5, 2),  # sure, with room for one more
        ((0.6, 0.2, 0.1), 8, 2),  # the first alone is believed too little
        ((0.2, 0.2, 0.2, 0.2), 8, 3),  # never more than three
    ],
)
def test_more_is_quoted_where_there_is_room_or_belief_is_low(
    beliefs: tuple[float, ...], words: int, count: int
) -> None:
    chosen = writer().choose(refs(*beliefs), texts(len(beliefs), words))
    assert chosen == list(range(1, count + 1))


def test_another_passage_is_quoted_only_where_it_is_believed_nearly_as_much() -> None:
    evidence = refs(0.5, 0.1, 0.3)
    evidence[1].passage_id = evidence[2].passage_id = "other:0:0-900"
    assert writer().choose(evidence, texts(3, 8)) == [1, 3]


def test_a_sentence_that_is_hardly_believed_is_not_quoted() -> None:
    assert writer().choose(refs(0.6, 0.02, 0.2), texts(3, 3)) == [1, 3]


def test_each_part_of_a_question_gets_its_sentence() -> None:
    evidence = refs(0.4, 0.3, 0.35, 0.3, parts=(0, 1, 0, 1))
    assert writer().choose(evidence, texts(4, 8)) == [1, 2]


def test_no_evidence_gives_an_empty_draft() -> None:
    assert writer().write(QUESTION, [], {}).sentences == []


def test_a_composed_sentence_takes_the_place_of_its_quotation() -> None:
    draft = writer(reply(full_sentence="Price controls made the oil crisis worse.", texts=[1]))
    evidence = "Price controls, as it happened, made the oil crisis worse."
    found = draft.write(QUESTION, refs(0.9), {1: evidence})
    assert [(s.text, s.composed, s.evidence) for s in found.sentences] == [
        ("Price controls made the oil crisis worse.", True, [1])
    ]


def test_a_composed_sentence_that_drops_the_answer_gives_way_to_the_quotation() -> None:
    bad = writer(reply(full_sentence="The oil crisis was a long one.", texts=[1]))
    found = bad.write(QUESTION, refs(0.9), {1: QUOTE})
    assert [(s.text, s.composed) for s in found.sentences] == [(QUOTE, False)]


@pytest.mark.parametrize(
    "args",
    [
        {"full_sentence": "Price controls made the oil crisis worse.", "texts": []},
        {"full_sentence": "Price controls made the oil crisis worse.", "texts": [7]},
        {"full_sentence": "1973.", "texts": [1]},
        {},
    ],
)
def test_a_reply_without_a_sentence_or_a_known_text_is_not_used(args: dict[str, Any]) -> None:
    assert writer(reply(**args)).compose(QUESTION, [1], {1: QUOTE}) is None


def test_a_reply_cites_at_most_two_texts_once_each() -> None:
    many = writer(reply(full_sentence="Price controls made it worse.", texts=[2, 2, 1, 3]))
    found = many.compose(QUESTION, [1, 2, 3], dict.fromkeys((1, 2, 3), QUOTE))
    assert found is None or len(found.evidence) <= MAX_IDS
    large = writer(
        reply(full_sentence="Price controls made it worse.", texts=[2, 2, 1, 3]), profile=LARGE
    ).compose(QUESTION, [1, 2, 3], dict.fromkeys((1, 2, 3), QUOTE))
    assert large is not None
    assert large.evidence == [2, 1]


def test_a_long_text_or_another_language_is_quoted_without_asking_the_model() -> None:
    model = ScriptedChat()
    long_text = "word " * 60
    Writer(model, SMALL).write(QUESTION, refs(0.9), {1: long_text})
    Writer(model, SMALL).write(Question("แมวกินอะไร"), refs(0.9), {1: "แมวกินปลา"})
    assert model.asked == []


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("Holmes found 12 orange pips in London.", True),
        ("Holmes found orange pips in London.", False),  # the number is gone
        ("Holmes found 120 orange pips in London.", False),  # another number holds its digits
        ("He found 12 orange pips in London.", False),  # shorter, but a name is gone
        ("On Monday Holmes found 12 orange pips, dried, in London, they say.", False),  # longer
    ],
)
def test_names_and_numbers_of_the_quotation_must_be_kept(sentence: str, kept: bool) -> None:
    given = {1: "Later Holmes found 12 dried orange pips in London."}
    found = DraftSentence(text=sentence, evidence=[1], composed=True)
    assert keeps_answer(found, given, Question("What happened later?")) is kept


def test_a_copy_is_a_quotation_not_a_composition() -> None:
    copied = DraftSentence(text=QUOTE, evidence=[1], composed=True)
    assert not keeps_answer(copied, {1: QUOTE}, QUESTION)


def test_the_likeliest_span_is_the_short_answer() -> None:
    model = ScoringChat(
        log_probability=lambda _, text: -float(len(text)) if "Saxe" in text else -99.0
    )
    short = Writer(model, SMALL).short_answer(
        Question("What is the lady called?"), ["The King saw Clotilde Saxe in Bohemia."]
    )
    assert short == "Clotilde Saxe"


def test_without_likelihoods_the_type_asked_for_decides() -> None:
    short = writer().short_answer(
        Question("How many geese were sold?"), ["Breckinridge sold 24 geese at the market."]
    )
    assert short == "24"
