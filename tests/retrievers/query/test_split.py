"""Questions about several things are split by their words, and stripped to those searched."""

import pytest

from retrievers.query.split import MAX_PARTS, bare_words, split_question

ONE = "What did Holmes and Watson find in the goose?"


@pytest.mark.parametrize(
    "question",
    [
        ONE,
        "Who were Holmes and Watson?",
        "Who was Irene Adler and why?",
        "How did salt and pepper get into the soup?",
        "Which rivers and canals cross the town and the county?",
        "Tell me about the blue stone.",
        "แม่น้ำเจ้าพระยาอยู่ที่ไหนและยาวเท่าไร",
        "What is the difference between how geese fly and how ducks fly?",
    ],
)
def test_a_question_about_one_thing_stays_as_it_is(question: str) -> None:
    assert split_question(question) == [question]


def test_and_before_a_question_word_splits() -> None:
    assert split_question("When was the mill built and who owns the mill today?") == [
        "When was the mill built?",
        "who owns the mill today?",
    ]


def test_a_list_inside_a_part_is_kept_whole() -> None:
    assert split_question("What did Holmes and Watson find, and where is the goose now?") == [
        "What did Holmes and Watson find?",
        "where is the goose now?",
    ]


def test_several_question_marks_make_several_parts() -> None:
    assert split_question("Who hid the stone? Where is the goose?  Why did Horner run?") == [
        "Who hid the stone?",
        "Where is the goose?",
        "Why did Horner run?",
    ]


def test_wide_question_marks_split_too() -> None:
    assert split_question("who hid the stone？ where is the goose？") == [
        "who hid the stone?",
        "where is the goose?",
    ]


@pytest.mark.parametrize(
    ("question", "first"),
    [
        (
            "Who wrote it, and when, and where was it printed?",
            "Who wrote it and when?",
        ),
        (
            "Who is James Ryder? When? Where was the stone hidden?",
            "Who is James Ryder and When?",
        ),
    ],
)
def test_a_part_too_short_to_search_stays_with_the_part_before(question: str, first: str) -> None:
    parts = split_question(question)
    assert parts[0] == first and len(parts) == 2


@pytest.mark.parametrize(
    ("question", "second"),
    [
        (
            "Where did Sherlock Holmes live, and who was his doctor?",
            "who was his doctor (Sherlock Holmes)?",
        ),
        (
            "What did Ryder steal? Where did he hide the stone?",
            "Where did he hide the stone (Ryder)?",
        ),
        (
            "Who governs the City of London and when was its wall built?",
            "when was its wall built (City of London)?",
        ),
        (
            "Holmes lived in which street and who was his doctor?",
            "who was his doctor (Holmes)?",
        ),
    ],
)
def test_a_pronoun_gets_the_one_name_before_it(question: str, second: str) -> None:
    assert split_question(question)[1] == second


def test_a_pronoun_after_two_names_stays_open() -> None:
    parts = split_question("What did Ryder sell to Baker and where did he go?")
    assert parts == ["What did Ryder sell to Baker?", "where did he go?"]


def test_a_part_with_a_name_of_its_own_gets_no_other() -> None:
    parts = split_question("What did Ryder steal and where did Horner see him?")
    assert parts[1] == "where did Horner see him?"


def test_it_is_no_person() -> None:
    parts = split_question("When did Holmes find the stone and where was it hidden?")
    assert parts[1] == "where was it hidden?"


def test_the_word_for_oneself_is_no_name() -> None:
    parts = split_question("Where did I put the key and why did she hide it?")
    assert parts[1] == "why did she hide it?"


def test_a_part_without_a_pronoun_gets_no_name() -> None:
    parts = split_question("What did Ryder steal and where is the goose?")
    assert parts[1] == "where is the goose?"


@pytest.mark.parametrize(
    "question",
    [
        "Where did Sherlock Holmes live, and who was his doctor?",
        "Who is Irene Adler? When did Watson marry Mary Morstan?",
        "Why did Queen Victoria visit Wales but when did she see Cardiff?",
        "When was the Bank of England founded and who built the Tower of London?",
    ],
)
def test_splitting_loses_no_name(question: str) -> None:
    parts = " ".join(split_question(question))
    names = [w.strip("?,") for w in question.split()[1:] if w[0].isupper()]
    assert len(split_question(question)) == 2
    assert all(name in parts for name in names)


def test_more_parts_than_can_be_searched_stay_one_question() -> None:
    asked = [f"Who owns goose {n}?" for n in range(MAX_PARTS + 1)]
    assert split_question(" ".join(asked[:MAX_PARTS])) == asked[:MAX_PARTS]
    assert split_question(" ".join(asked)) == [" ".join(asked)]


def test_bare_words_keep_order_case_and_apostrophes() -> None:
    assert bare_words("Where was the Baker's blue stone hidden?") == "Baker's blue stone hidden"


def test_bare_words_keep_the_signs_of_thai() -> None:
    assert bare_words("แม่น้ำเจ้าพระยา ที่ไหน?") == "แม่น้ำเจ้าพระยา"


def test_bare_words_of_function_words_alone_are_the_question() -> None:
    assert bare_words("Who was it?") == "Who was it?"
