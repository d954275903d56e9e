import time
from itertools import pairwise

import pytest

from retrievers.sentences import MAX_SENTENCE, split


def pieces(text: str, language: str | None = None) -> list[str]:
    return [" ".join(text[start:end].split()) for start, end in split(text, language)]


@pytest.mark.parametrize(
    "expected",
    [
        ["One sentence.", "And another!", "A third?"],
        ["Mr. Holmes met Dr. Watson at St. Clair's.", "They left at once."],
        ["It cost 3.5 million, i.e. a lot, in the U.S. Army's view.", "He agreed."],
        ["He arrived at 5 p.m.", "The train had left."],
        ["J. R. R. Tolkien and George W. Bush wrote letters.", "Both liked tea."],
        ["See Fig. 3 and No. 5 for details.", "The rest is clear."],
        ['"Wedlock suits you," he remarked.', '"I think, Watson, you have gained weight."'],
        ['"Seven!" I answered.', '"Indeed, a trifle more."'],
        ['"Seven!" cried Holmes, laughing.', "He sat down."],
        ["“What is it?” the doctor asked.", "“Nothing at all.”"],
        ["He played Op. 25 and Op. 28, No. 4 (d. 1849).", "He liked art.", "Critics did too."],
        ["In Roe v. Wade it was said.", "The plants face the Sun.", "Active ones turn."],
        ["Oh God! ...", "You are there."],
        ["I know.", "You know (as I said.)", "We know."],
        ["Wait... what is that?", "It moved."],
        ["He was taller than I.", "The others laughed."],
        ["Das war am 3. Oktober in Berlin, z.B. im Haus.", "Der Tag war kalt."],
        ["¿Dónde está la casa?", "¡Está aquí!", "Los niños lo saben."],
        ["これは文です。", "次の文です！"],
        ["यह एक वाक्य है।", "यह दूसरा है।"],
    ],
)
def test_sentences_end_where_a_reader_ends_them(expected: list[str]) -> None:
    assert pieces(" ".join(expected)) == expected


def test_line_ends_of_wrapped_text_do_not_end_sentences() -> None:
    text = (
        "To Sherlock Holmes she is always THE woman. I have seldom heard\n"
        "Watson mention her under any other name. In his eyes she eclipses\n"
        "and predominates the whole of her sex.\n\nA second paragraph without a stop\n"
    )
    assert pieces(text) == [
        "To Sherlock Holmes she is always THE woman.",
        "I have seldom heard Watson mention her under any other name.",
        "In his eyes she eclipses and predominates the whole of her sex.",
        "A second paragraph without a stop",
    ]


def test_a_short_line_before_a_new_start_ends_a_block() -> None:
    text = (
        "3.2 Results\nThe method was run on three sets of documents, and the table below\n"
        "gives the numbers for each of them in the order of their size.\n"
    )
    assert pieces(text)[0] == "3.2 Results"
    assert len(pieces(text)) == 2


def test_list_items_and_table_rows_stand_alone() -> None:
    text = "Needed:\n- Flour\n- Two eggs\n1. Mix them.\n2. Bake\n\nA | B\n1 | 2\n"
    assert pieces(text) == [
        "Needed:", "- Flour", "- Two eggs", "1. Mix them.", "2. Bake", "A | B", "1 | 2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\n\t ",
        "." * 5000,
        "word " * 3000,
        "x" * 5000,
        "ก" * 5000,
        "ภาษาไทยเขียนติดกัน" * 400,
        "a.b.c. " * 500 + '"' * 300,
        "1. " * 900,
        ("| " * 40 + "\n") * 200,
    ],
)
def test_spans_cover_all_text_in_order_and_stay_bounded(text: str) -> None:
    spans = split(text)
    assert "".join("".join(text[s:e].split()) for s, e in spans) == "".join(text.split())
    assert all(s < e <= s + MAX_SENTENCE for s, e in spans)
    assert all(text[s:e] == text[s:e].strip() for s, e in spans)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))


@pytest.mark.parametrize(
    "piece", ["!", "1. ", "Mr. ", ". ", "x", '"', "\n- ", "กา", "กา. . . ", "。"]
)
def test_one_thing_over_and_over_takes_no_long_time(piece: str) -> None:
    text = piece * (150_000 // len(piece))
    began = time.perf_counter()
    spans = split(text)
    assert time.perf_counter() - began < 15
    assert "".join("".join(text[s:e].split()) for s, e in spans) == "".join(text.split())


def test_time_grows_with_length_not_with_its_square() -> None:
    text = 'He said "No. 5 is Mr. X\'s!" and left (see e.g. p. 3).\nThen it rained. ' * 4000
    began = time.perf_counter()
    assert len(split(text)) > 4000
    assert time.perf_counter() - began < 10


def test_thai_units_have_the_length_of_sentences_and_ignore_line_ends() -> None:
    text = (
        "ระบบเรียงพิมพ์นี้เหมาะสมที่สุดสำหรับเอกสารทางวิทยาศาสตร์ และคณิตศาสตร์ที่มีคุณภาพ\n"
        "การเรียงพิมพ์ที่ออกมาสูง ระบบนี้ยังเหมาะสมสำหรับเอกสารประเภทอื่น ตั้งแต่จดหมาย "
        "จนถึงหนังสือทั้งเล่ม ผู้ใช้สามารถจัดรูปแบบเอกสารได้ตามต้องการโดยไม่ต้องมีความรู้มาก่อนเลย "
    ) * 3
    lengths = [end - start for start, end in split(text)]
    assert 4 <= len(lengths) <= 12
    assert all(50 <= length <= 300 for length in lengths)


def test_thai_dates_and_names_are_not_torn() -> None:
    text = (
        "บริษัทแห่งนี้ก่อตั้งขึ้นโดยนายสมชายและครอบครัวของเขาที่จังหวัดเชียงใหม่เมื่อวันที่ 6 พฤศจิกายน "
        "พ.ศ. 2544 ต่อมาได้ขยายกิจการไปทั่วประเทศ"
    )
    assert any("พฤศจิกายน พ.ศ. 2544" in piece for piece in pieces(text))
