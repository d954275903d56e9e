"""A sentence is supported only when its words, numbers, names and sense are the evidence's."""

import pytest

from agents.question import Question
from agents.verifier import Limits, Verifier, same_words
from retrievers.token_vectors import TokenEncoder
from tests.fakes import HashEmbeddings, ScoringChat, ScriptedChat, WordEmbeddings

ASK = Question("What happened at the hotel?")
EVIDENCE = (
    "In December 1887 the maid told Inspector Bradstreet that James Ryder had taken 22 gold coins"
    " and 1,500 pounds from the locked room of the hotel in London."
)
TRUE = "James Ryder had taken 22 gold coins from the locked room of the hotel, the maid told."


def check(
    sentence: str, *evidence: str, question: Question = ASK, limits: Limits | None = None
) -> dict[str, float]:
    """The checks of a verdict, with whether it stands as `supported`."""
    verifier = Verifier(ScriptedChat(), TokenEncoder(HashEmbeddings()), limits)
    verdict = verifier.check(sentence, evidence or [EVIDENCE], question)
    assert (verdict.score > 0) is verdict.supported
    return {**verdict.checks, "supported": float(verdict.supported)}


def test_a_faithful_sentence_stands() -> None:
    found = check(TRUE)
    assert found["words"] == found["numbers"] == found["names"] == found["negation"] == 1.0
    assert found["meaning"] >= Limits().meaning
    assert found["supported"] == 1.0


@pytest.mark.parametrize(
    ("changed", "to", "failed"),
    [
        ("22", "23", "numbers"),
        ("22", "220", "numbers"),
        ("22", "2", "numbers"),
        ("22", "2.2", "numbers"),
        ("James Ryder had", "The maid said John Ryder had", "names"),
        ("from the locked room", "from Baker of the locked room", "names"),
        ("of the hotel", "of the hotel in Paris", "names"),
        ("had taken", "had not taken", "negation"),
        ("had taken", "hadn't taken", "negation"),
        ("had taken", "hadn’t taken", "negation"),
        ("had taken", "had never taken", "negation"),
        ("had taken", "had hardly taken", "negation"),
        ("22 gold", "without 22 gold", "negation"),
    ],
)
def test_one_thing_changed_and_it_falls(changed: str, to: str, failed: str) -> None:
    assert changed in TRUE
    found = check(TRUE.replace(changed, to))
    assert found[failed] == 0.0 and found["supported"] == 0.0


def test_a_year_changed_falls_though_every_word_is_there() -> None:
    found = check("The maid told Bradstreet in December 1888 of the gold coins in the hotel.")
    assert found["numbers"] == 0.0 and found["supported"] == 0.0


def test_leaving_out_the_evidence_s_negation_falls() -> None:
    evidence = "In the end the jury did not find Horner guilty of the theft."
    found = check("The jury did find Horner guilty of the theft.", evidence)
    assert found["words"] == 1.0
    assert found["negation"] == 0.0 and found["supported"] == 0.0


@pytest.mark.parametrize(
    "sentence",
    [
        "The jury didn't find Horner guilty of the theft.",
        "The jury of the theft never did find Horner guilty.",
        "In the end the jury did find Horner guilty of the theft.",
    ],
)
def test_what_is_denied_is_quoted_never_reworded(sentence: str) -> None:
    evidence = "In the end the jury did not find Horner guilty of the theft."
    found = check(sentence, evidence, limits=Limits(words=0.8))
    assert found["negation"] == 0.0
    assert found["supported"] == 0.0


def test_names_in_another_order_are_not_the_same() -> None:
    evidence = "One morning Ryder gave the stone to Horner."
    assert check("Horner gave the stone to Ryder.", evidence)["supported"] == 0.0
    assert check("Ryder gave to Horner the stone.", evidence)["order"] == 1.0


@pytest.mark.parametrize(
    ("sentence", "evidence"),
    [
        (
            "Ryder hid the blue stone inside a goose.",
            "Yesterday Holmes hid the blue stone inside a goose.",
        ),
        (
            "Last night Mr. Wilson hid the blue stone in a goose.",
            "Late last night Mr. Holmes hid the blue stone in a goose.",
        ),
    ],
)
def test_a_name_is_a_name_at_the_start_and_after_a_title(sentence: str, evidence: str) -> None:
    found = check(sentence, evidence)
    assert found["names"] == 0.0 and found["supported"] == 0.0


@pytest.mark.parametrize(
    ("sentence", "evidence"),
    [
        (
            "Late that night Hess hid the blue stone inside a goose.",
            "Late that night he hid the blue stone inside a goose at home.",
        ),
        (
            "The stone was found by Williams inside the white goose.",
            "The stone was found by William inside the white goose of his.",
        ),
    ],
)
def test_a_name_that_ends_in_s_is_not_the_shorter_name(sentence: str, evidence: str) -> None:
    found = check(sentence, evidence)
    assert found["names"] == 0.0 and found["supported"] == 0.0


def test_a_name_with_a_curly_apostrophe_is_the_straight_one() -> None:
    evidence = "It was yesterday that O’Brien hid the blue stone."
    found = check("Yesterday O'Brien hid the blue stone.", evidence)
    assert found["names"] == 1.0 and found["supported"] == 1.0


@pytest.mark.parametrize(
    ("sentence", "evidence"),
    [
        (
            "The ship left the old harbour with nine men in winter.",
            "The ship left the old harbour with seven men in winter and sank.",
        ),
        (
            "The long army column lost 500 brave men in Spain.",
            "The long army column lost 1,500 brave men in Spain that day.",
        ),
        (
            "The old stone tower is 14 metres tall and white.",
            "The old stone tower is 3.14 metres tall and white, they say.",
        ),
    ],
)
def test_numbers_are_compared_whole_and_in_words(sentence: str, evidence: str) -> None:
    found = check(sentence, evidence)
    assert found["numbers"] == 0.0 and found["supported"] == 0.0


@pytest.mark.parametrize(
    ("asked", "sentence", "evidence", "failed"),
    [
        (
            "Was the bridge opened in 1999?",
            "The bridge was opened in 1999.",
            "The bridge was opened in 1995 by the king.",
            "numbers",
        ),
        (
            "Did Holmes steal the stone?",
            "At dawn Holmes stole the stone.",
            "At dawn Ryder stole the stone from the hotel.",
            "names",
        ),
    ],
)
def test_the_question_does_not_vouch_for_its_own_numbers_and_names(
    asked: str, sentence: str, evidence: str, failed: str
) -> None:
    found = check(sentence, evidence, question=Question(asked))
    assert found["words"] >= Limits().words
    assert found[failed] == 0.0 and found["supported"] == 0.0


def test_words_the_evidence_lacks_bring_it_down() -> None:
    found = check("The maid stole gold coins, jewels, diamonds and silver spoons.")
    # maid, gold, coin are there; stole, jewel, diamond, silver, spoon are not
    assert found["words"] == 0.375 and found["supported"] == 0.0


@pytest.mark.parametrize(("least", "stands"), [(0.8, 1.0), (0.81, 0.0)])
def test_the_share_of_known_words_has_a_limit(least: float, stands: float) -> None:
    # beta, gamma, delta and stood are known, alone is not
    evidence = "Alpha beta gamma delta stood there."
    limits = Limits(words=least, meaning=0.3)
    found = check("There stood beta gamma delta alone.", evidence, limits=limits)
    assert found["words"] == 0.8 and found["supported"] == stands


def test_the_question_s_words_count_as_known() -> None:
    question = Question("Which treasure vanished?")
    evidence = "It was the gold of the king."
    said = "The treasure that vanished was the gold of the king."
    assert check(said, evidence)["words"] == 0.5
    assert check(said, evidence, question=question)["words"] == 1.0


def test_words_in_another_form_are_the_same_words() -> None:
    evidence = "The goose was hidden, and the thief's coins were counted in the hotels."
    assert check("Thieves hid", evidence)["words"] < 1
    assert check("The thief counted the coin in a hotel.", evidence)["words"] == 1.0


def test_a_possessive_names_the_same_person() -> None:
    evidence = "Everyone in the hotel knew the coins of Ryder and the room."
    assert check("Everyone knew Ryder's coins in the hotel room.", evidence)["names"] == 1.0
    assert check("Everyone knew Ryder’s coins in the hotel room.", evidence)["names"] == 1.0


def test_far_meaning_falls_even_with_every_word() -> None:
    evidence = "goose " + " ".join(f"word{n}" for n in range(40))
    verifier = Verifier(ScriptedChat(), TokenEncoder(WordEmbeddings()))
    verdict = verifier.check("The goose.", [evidence], ASK)
    assert verdict.checks["words"] == 1.0
    # shares 1 of its 2 words with 41: 1 / sqrt(2 * 41)
    assert verdict.checks["meaning"] == pytest.approx(0.110432, abs=1e-5)
    assert not verdict.supported


def test_limits_can_be_set() -> None:
    evidence = "goose " + " ".join(f"word{n}" for n in range(40))
    lax = Verifier(ScriptedChat(), TokenEncoder(WordEmbeddings()), Limits(meaning=0.11))
    verdict = lax.check("The goose.", [evidence], ASK)
    assert verdict.supported
    assert verdict.score == verdict.checks["meaning"]


def test_a_quotation_stands_by_being_there() -> None:
    quoted = "James Ryder had taken 22 gold coins"
    assert check(quoted) == {"quoted": 1.0, "supported": 1.0}


@pytest.mark.parametrize(
    ("sentence", "evidence"),
    [
        ("5 men came.", "In all 15 men came."),
        ("The fat goose was white", "The fat goose was whitewashed."),
        ("John Smith stole the goose.", "It is not true that John Smith stole the goose."),
    ],
)
def test_part_of_a_word_or_of_a_denial_is_not_a_quotation(sentence: str, evidence: str) -> None:
    found = check(sentence, evidence)
    assert "quoted" not in found and found["supported"] == 0.0


@pytest.mark.parametrize(
    "sentence", ["The bird\nwas a  grey\tgoose.", "The bird was a grey goose."]
)
@pytest.mark.parametrize(
    "text", ["Look!  The bird was a\r\ngrey goose. So.", "The bird was a grey goose."]
)
def test_line_breaks_do_not_undo_a_quotation(sentence: str, text: str) -> None:
    assert same_words(sentence, text)
    assert check(sentence, text) == {"quoted": 1.0, "supported": 1.0}


def test_curly_quotes_in_both_are_a_quotation() -> None:
    text = "“It’s a goose,” said Ryder, “and it’s mine.”"
    assert check("“It’s a goose,” said Ryder,", text) == {"quoted": 1.0, "supported": 1.0}


def test_curly_and_straight_quotes_say_the_same() -> None:
    found = check(
        "\"It's a goose,\" said Ryder, and it's his.",
        "“It’s a goose,” said Ryder, “and it’s his.”",
    )
    assert found["words"] == found["names"] == 1.0
    assert found["supported"] == 1.0


def test_a_quotation_may_stand_in_any_text_but_not_across_two() -> None:
    one, two = "The maid told Bradstreet.", "Ryder took the coins."
    assert check(two, one, two) == {"quoted": 1.0, "supported": 1.0}
    assert "quoted" not in check(f"{one} {two}", one, two)


def test_a_sentence_may_draw_on_two_texts() -> None:
    one, two = "The maid told Bradstreet of the coins.", "Later Ryder took the coins to London."
    said = "The maid told Bradstreet of the coins and Ryder took the coins to London."
    assert check(said, one, two)["supported"] == 1.0
    assert check(said, one)["supported"] == 0.0


@pytest.mark.parametrize("sentence", [TRUE, "", "  "])
@pytest.mark.parametrize("evidence", [[], [""], [" \n", "\t"]])
def test_nothing_stands_on_empty_evidence(sentence: str, evidence: list[str]) -> None:
    verifier = Verifier(ScriptedChat(), TokenEncoder(HashEmbeddings()))
    verdict = verifier.check(sentence, evidence, ASK)
    assert not verdict.supported and verdict.score == 0.0


@pytest.mark.parametrize("evidence", [[], [""], [" ", "\n"]])
def test_a_sentence_without_evidence_is_said_to_have_none(evidence: list[str]) -> None:
    verifier = Verifier(ScriptedChat(), TokenEncoder(HashEmbeddings()))
    assert verifier.check(TRUE, evidence, ASK).checks == {"evidence": 0.0}


@pytest.mark.parametrize("sentence", ["", " \n ", "...", "It was so."])
def test_a_sentence_that_says_nothing_is_not_supported(sentence: str) -> None:
    assert check(sentence)["supported"] == 0.0


def test_thai_quotations_stand_and_a_changed_word_falls() -> None:
    evidence = "สะพานพุทธเปิดใช้ในปี 2475 และยาว 230 เมตร"
    assert check("เปิดใช้ในปี 2475", evidence)["supported"] == 1.0
    assert check("สะพานพุทธยาว 320 เมตร", evidence)["numbers"] == 0.0
    assert check("สะพานพุทธยาว 320 เมตร", evidence)["supported"] == 0.0


@pytest.mark.parametrize("denial", ["ไม่", "มิได้"])
def test_a_thai_denial_of_the_evidence_falls(denial: str) -> None:
    found = check(f"แมว{denial}กินปลาในบ้าน", "แมวกินปลาในบ้าน", question=Question("แมวกินอะไร"))
    assert found["negation"] == 0.0 and found["supported"] == 0.0


def test_likelihood_is_the_gain_a_token_that_the_evidence_brings() -> None:
    asked: list[str] = []

    def log_probability(prompt: str, reply: str) -> float:
        asked.append(prompt)
        assert reply == TRUE
        return -20.0 if EVIDENCE in prompt else -28.5

    model = ScoringChat(log_probability=log_probability)
    verdict = Verifier(model, TokenEncoder(HashEmbeddings())).check(TRUE, [EVIDENCE], ASK)
    assert verdict.checks["likelihood"] == 0.5  # 8.5 over 17 words
    assert verdict.supported
    assert len(asked) == 2 and EVIDENCE not in asked[1]


@pytest.mark.parametrize(
    ("gain", "stands"), [(1.7, True), (1.6, False), (0.0, False), (-5.0, False)]
)
def test_what_the_evidence_does_not_make_likelier_falls(gain: float, stands: bool) -> None:
    model = ScoringChat(log_probability=lambda prompt, _: gain - 9 if EVIDENCE in prompt else -9.0)
    limits = Limits(likelihood=0.1)  # of 17 words: 1.7
    verdict = Verifier(model, TokenEncoder(HashEmbeddings()), limits).check(TRUE, [EVIDENCE], ASK)
    assert verdict.supported is stands
    assert (verdict.score > 0) is stands


def test_the_model_is_not_asked_about_what_has_fallen_or_is_quoted() -> None:
    def never(prompt: str, reply: str) -> float:
        raise AssertionError("asked")

    verifier = Verifier(ScoringChat(log_probability=never), TokenEncoder(HashEmbeddings()))
    assert not verifier.check(TRUE.replace("22", "23"), [EVIDENCE], ASK).supported
    assert verifier.check(EVIDENCE, [EVIDENCE], ASK).supported
