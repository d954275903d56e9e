"""What a question asks for, read from its words."""

import pytest

from agents.question import AnswerType, Question


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How many geese were sold?", "number"),
        ("how old is the mill", "number"),
        ("What percentage of the voters came?", "number"),
        ("When was the mill built?", "time"),
        ("In which year did it open?", "time"),
        ("Who hid the stone?", "person"),
        ("Whose goose was it?", "person"),
        ("Where was the stone hidden?", "place"),
        ("Which city is the capital?", "place"),
        ("Why did he run?", "reason"),
        ("What caused the fire?", "reason"),
        ("What is a carbuncle?", "other"),
        ("What did Holmes do when Ryder fled?", "other"),
        ("What happened where the roads cross?", "other"),
        ("What was the name of the man who came when it snowed?", "person"),
        ("Who came when it snowed?", "person"),
        ("ห้องนี้มีคนกี่คน", "number"),
        ("สะพานเปิดเมื่อไร", "time"),
        ("ใครเขียนหนังสือเล่มนี้", "person"),
        ("หินอยู่ที่ไหน", "place"),
        ("ทำไมเขาจึงหนี", "reason"),
        ("หินสีอะไร", "other"),
    ],
)
def test_the_kind_of_answer_is_read_from_the_words(text: str, kind: AnswerType) -> None:
    assert Question(text).answer_type == kind


def test_a_word_that_only_holds_a_question_word_asks_nothing() -> None:
    assert Question("Describe the whole whenever theory.").answer_type == "other"


def test_terms_are_stemmed_in_order_without_stop_words_or_repeats() -> None:
    assert Question("Where was the stone, that blue STONE, hidden?").terms == (
        "stone",
        "blue",
        "hidden",
    )


def test_thai_terms_are_dictionary_words() -> None:
    assert Question("แม่น้ำเจ้าพระยาอยู่ที่ไหน").terms == ("แม่น้ำ", "เจ้าพระยา")


def test_thai_words_keep_their_vowel_signs() -> None:
    assert Question("มีกี่คน ในเมือง").words == {"มีกี่คน", "ในเมือง"}


@pytest.mark.parametrize(
    ("text", "code"),
    [("Where is the stone?", "en"), ("หินอยู่ที่ไหน", "th"), ("石はどこにありますか", "ja")],
)
def test_the_language_is_told(text: str, code: str) -> None:
    assert Question(text).language == code


@pytest.mark.parametrize(
    ("asked", "sentence", "held"),
    [
        ("How many geese were sold?", "He sold 24 geese.", True),
        ("How many geese were sold?", "He sold twelve geese.", True),
        ("How many geese were sold?", "He sold geese.", False),
        ("How many geese did the 7 men sell?", "The 7 men sold geese.", False),
        ("How many geese did the 7 men sell?", "The 7 men sold 24 geese.", True),
        ("When did it open?", "It opened in 1894.", True),
        ("When did it open?", "It opened in May.", True),
        ("When did it open?", "It opened with a feast.", False),
        ("When in 1894 did it open?", "In 1894 it opened.", False),
        ("When in 1894 did it open?", "In March 1894 it opened.", True),
        ("Who hid the stone?", "It was hidden by Ryder.", True),
        ("Who hid the stone?", "The thief hid it.", False),
        ("Who helped Ryder?", "The maid helped Ryder.", False),
        ("Who helped Ryder?", "His sister Maggie helped Ryder.", True),
        ("Where was the stone?", "The stone lay in Brixton.", True),
        ("Where was the stone?", "The stone lay in a goose.", False),
        ("Why did he run?", "He ran because he was afraid.", True),
        ("Why did he run?", "He ran home.", False),
        ("ทำไมเขาจึงหนี", "เขาหนีเพราะกลัว", True),
        ("ทำไมเขาจึงหนี", "เขาหนีกลับบ้าน", False),
        ("ห้องนี้มีคนกี่คน", "ห้องนี้มีคน 12 คน", True),
        ("ห้องนี้มีคนกี่คน", "ห้องนี้มีคนสามคน", True),
        ("ห้องนี้มีคนกี่คน", "ห้องนี้มีคนมาก", False),
        ("สะพานเปิดเมื่อไร", "สะพานเปิดในเดือนมกราคม", True),
        ("สะพานเปิดเมื่อไร", "สะพานเปิดแล้ว", False),
    ],
)
def test_a_sentence_holds_the_kind_only_if_it_brings_something_new_of_it(
    asked: str, sentence: str, held: bool
) -> None:
    assert Question(asked).holds_type(sentence) is held


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [("What is a carbuncle?", "A carbuncle is a red stone."), ("ใครซ่อนหิน", "นายดำซ่อนหิน")],
)
def test_where_the_kind_cannot_be_told_nothing_is_claimed(asked: str, sentence: str) -> None:
    assert Question(asked).holds_type(sentence) is None
