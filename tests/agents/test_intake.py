"""Questions are made ready, told from chat, or refused with the reason."""

import unicodedata

import pytest

from agents.errors import QuestionError
from agents.intake import MAX_CHARACTERS, MAX_WORDS, take_in


def test_white_space_is_made_single_and_letters_are_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "Où est le café bleu?")
    intake = take_in(f"  {decomposed.replace(' ', chr(10) + '  ')}\t")
    assert intake.question == "Où est le café bleu?"


@pytest.mark.parametrize(
    ("text", "code"),
    [("Where was the stone hidden?", "en"), ("แม่น้ำเจ้าพระยายาวเท่าไร", "th")],
)
def test_a_question_keeps_its_words_and_names_its_language(text: str, code: str) -> None:
    intake = take_in(text)
    assert (intake.question, intake.language, intake.intent) == (text, code, "fact")


@pytest.mark.parametrize(
    "text",
    [
        "hi",
        "Hello there!",
        "Hello, how are you?",
        "thank you very much",
        "thanks a lot",
        "Good morning",
        "How are you?",
        "HELP",
        "สวัสดี",
        "สวัสดีครับ",
        "สวัสดีค่ะ",
        "ขอบคุณครับ",
    ],
)
def test_greetings_and_thanks_are_small_talk(text: str) -> None:
    assert take_in(text).intent == "smalltalk"


@pytest.mark.parametrize(
    "text",
    [
        "Hello, where was the stone hidden?",
        "Who are you in the story of the blue stone?",
        "hi-fi",
        "help with the index file",
        "What can you do about rust?",
        "Okayama",
        "history",
    ],
)
def test_a_question_that_begins_like_a_greeting_is_a_question(text: str) -> None:
    assert take_in(text).intent == "fact"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("?!...", "holds no word"),
        ("🤔", "holds no word"),
        ("\u200b", "is empty"),
        ("who is it?", "only function words"),
        ("อะไร", "only function words"),
    ],
)
def test_what_asks_nothing_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(QuestionError, match=reason) as refused:
        take_in(text)
    assert "\n" not in str(refused.value)


def test_the_longest_question_is_taken_and_one_word_more_is_not() -> None:
    assert take_in("goose " * MAX_WORDS).intent == "fact"
    with pytest.raises(QuestionError, match=r"301 words.*at most 300 words"):
        take_in("goose " * (MAX_WORDS + 1))


def test_a_question_without_spaces_is_held_to_characters() -> None:
    assert take_in("ห" * MAX_CHARACTERS).language == "th"
    with pytest.raises(QuestionError, match="4,001 characters"):
        take_in("ห" * (MAX_CHARACTERS + 1))


def test_taking_in_twice_changes_nothing() -> None:
    once = take_in("  Where   was\nthe stone? ")
    assert take_in(once.question) == once
