import pytest

from llm_core.copy_sources import dates_in, number_lists, numbers_in
from llm_core.copying import STRENGTHS, CopyBias
from llm_core.nearness import Nearness
from llm_core.words import is_wished, named_values
from tests.llm_core.tiny import gained

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "n": {"type": "integer"},
        "rate": {"type": "number"},
        "nights": {"type": "integer"},
        "points": {"type": "array", "items": {"type": "number"}},
        "day": {"type": "string", "description": "The day, as YYYY-MM-DD."},
        "sort": {"type": "string", "enum": ["men", "women"]},
        "pets": {"type": "boolean", "description": "Whether pets come."},
    },
}


def gains(tiny, written, source):
    """Logits gained by token text, after `written`."""
    bias = CopyBias([source], tiny.tokenizer, SCHEMA)
    for token in tiny.tokenizer.encode(written):
        bias.accept(token)
    return {tiny.tokenizer.decode([token]): gain for token, gain in gained(bias).items()}


def test_the_first_digit_comes_from_a_number_of_the_source(tiny):
    found = gains(tiny, '{"n": ', "pay 40 or 7.5")
    assert {text for text, gain in found.items() if gain > 0} == {"4"}
    found = gains(tiny, '{"rate": ', "pay 40 or 7.5")
    assert {text for text, gain in found.items() if gain > 0} == {"4", "7"}


def test_a_number_is_not_cut_short(tiny):
    found = gains(tiny, '{"n": 10', "pay 10,000 now")
    assert found["0"] > 0 > found[","]
    found = gains(tiny, '{"n": 10', "pay 10 now, 10,000 later")
    assert found["0"] > 0 and found[","] > 0


def test_a_number_that_another_argument_has_counts_less(tiny):
    found = gains(tiny, '{"n": 4, "rate": ', "between 4 and 7")
    assert 0 < found["4"] < found["7"]


def test_a_number_beside_the_name_of_its_argument_counts_more(tiny):
    found = gains(tiny, '{"nights": ', "3 people for 5 nights")
    assert 0 < found["3"] < found["5"]


def test_a_list_of_numbers_is_copied_to_its_end(tiny):
    found = gains(tiny, '{"points": [3, 4', "the points 3, 4 and 5")
    assert found[","] > 0 > found["]"]
    found = gains(tiny, '{"points": [3, 4, 5', "the points 3, 4 and 5")
    assert found["]"] > 0 > found[","]


def test_a_string_that_was_used_counts_less_and_none_begins_with_a_closing_mark(tiny):
    found = gains(tiny, '{"city": "', "Oslo to Rome")
    assert found["O"] == found["R"] > 0
    assert found[")"] < 0 and found["]"] < 0
    found = gains(tiny, '{"day": "Oslo", "city": "', "Oslo to Rome")
    assert 0 < found["O"] < found["R"]


def test_letters_may_change_their_case_while_a_span_is_copied(tiny):
    assert gains(tiny, '{"city": "OS', "to oslo")["l"] > 0


def test_past_the_end_of_a_clause_a_string_is_rather_closed(tiny):
    found = gains(tiny, '{"city": "Oslo', "to Oslo, please")
    assert found['"'] > found[","] > 0


def test_a_date_is_offered_in_the_format_that_the_description_shows(tiny):
    assert "2" in gains(tiny, '{"day": "', "on April 5th, 2022")
    assert gains(tiny, '{"day": "2022-04-0', "on April 5th, 2022")["5"] > 0


def test_a_closed_value_is_preferred_where_it_is_named(tiny):
    assert "w" in gains(tiny, '{"sort": "', "shoes for a woman")
    assert "m" not in gains(tiny, '{"sort": "', "shoes for a woman")


def test_true_is_preferred_for_what_is_wished(tiny):
    assert gains(tiny, '{"pets": ', "with pets")["t"] > 0
    assert gains(tiny, '{"pets": ', "without any pets") == {}


def test_the_quick_start_of_a_string_is_that_of_the_plain_rule(tiny):
    text, source = '{"n": 3, "city": "', "from Oslo, 3 nights in the city (Rome) by 10 o'clock"
    tokenizer = tiny.tokenizer
    bias = CopyBias([source], tokenizer, SCHEMA)
    for token in tokenizer.encode(text):
        bias.accept(token)
    raw, plain = source.encode(), {}
    near = Nearness(raw)
    for token in tokenizer.odd_starts:
        plain[token] = -STRENGTHS.copy * STRENGTHS.odd
    for at in range(len(raw)):
        if not raw[at : at + 1].isalnum() or raw[at - 1 : at].isalnum():
            continue
        end = next(n for n in range(at, len(raw) + 1) if not raw[n : n + 1].isalnum())
        weight = STRENGTHS.copy * (1 + STRENGTHS.near * near.of(at, end, frozenset({"city"})))
        for token, piece in enumerate(tokenizer.pieces):
            if piece and len(piece) <= 24 and raw.startswith(piece, at):
                plain[token] = max(weight, plain.get(token, 0.0))
    assert plain == pytest.approx(gained(bias))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("pay $1,250.50 now", ["1250.50"]),
        ("8% of 5 million", ["8", "0.08", "5", "5000000"]),
        ("12.5 percent", ["12.5", "0.125"]),
        ("2.5k and .5", ["2.5", "2500", "0.5"]),
        ("-5 degrees in 007", ["-5", "7"]),
        ("twenty-one eggs, a dozen", ["21", "12"]),
        ("version 1x, mp3", ["1"]),
    ],
)
def test_numbers_are_read_from_digits_and_words(text, numbers):
    assert [number.text.decode() for number in numbers_in(text)] == numbers


def test_a_percentage_is_a_fraction_for_numbers_alone():
    assert [number.whole for number in numbers_in("8%")] == [True, False]


def test_lists_of_numbers_are_found():
    assert number_lists("from [1,2.5] and 3, 4 and -5") == ((b"1", b"2.5"), (b"3", b"4", b"-5"))


@pytest.mark.parametrize(
    ("text", "shown", "dates"),
    [
        ("April 5th, 2022", "YYYY-MM-DD", ("2022-04-05",)),
        ("5 April 2022 and 12/25/2023", "like %d/%m/%Y", ("05/04/2022", "25/12/2023")),
        ("2022-04-05", "MM/DD/YYYY", ("04/05/2022",)),
        ("April 5th", "YYYY-MM-DD", ()),
        ("April 5th, 2022", "the day", ()),
    ],
)
def test_dates_are_written_as_asked(text, shown, dates):
    assert dates_in(text, shown) == dates


def test_prepositions_and_signs_tell_the_part_a_value_plays():
    text = b"from Oslo to Rome for $90"
    near = Nearness(text)
    assert near.of(5, 9, frozenset({"origi"})) > 0 == near.of(13, 17, frozenset({"origi"}))
    assert near.of(13, 17, frozenset({"desti"})) > 0 == near.of(5, 9, frozenset({"desti"}))
    assert near.of(23, 25, frozenset({"price"})) > 0


def test_a_small_word_and_the_name_of_the_argument_are_no_values_of_it():
    text = b"the city in the Alps, city Graz"
    near, city = Nearness(text), frozenset({"city"})
    assert near.of(0, 3, city) == near.of(4, 8, city) == near.of(12, 15, city) == 0
    assert near.of(27, 31, city) > 0


def test_closed_values_are_named_by_word_or_stem():
    assert named_values(["men", "women"], "for a woman") == ["women"]
    assert named_values(["by car", "by-bus"], "go by bus") == ["by-bus"]
    assert named_values(["a"], "zebra") == []


def test_a_refusal_is_no_wish():
    part = {"type": "boolean", "description": "Include alerts."}
    assert is_wished("alerts", part, "with alerts")
    assert not is_wished("alerts", part, "but no weather alerts")
    assert not is_wished("alerts", part, "weather")
