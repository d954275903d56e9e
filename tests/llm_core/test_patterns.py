"""Short texts for patterns: what a search for an end tries first."""

import re
import warnings

import pytest

from llm_core.patterns import short_ends, short_match


@pytest.mark.parametrize(
    "pattern",
    [
        "wifi",
        "^a|bc$",
        r"[\w-]+:[0-9a-f-]+",
        r"^\d{3}-\d{4,}$",
        r"^(?:up|down)+(?P<x>y)?$",
        r"\.(png|jpe?g)$",
        r"^[^a-z\]]{2,3}?é\x41\u0042$",
        r"^$",
        r"^pbj:([a-z0-9-]+):([a-z0-9\.-]+)?$",
    ],
)
def test_a_text_is_found_that_the_pattern_finds_itself_in(pattern):
    assert re.search(pattern, short_match(pattern))


def test_the_shortest_alternative_is_taken():
    assert short_match("^(long|x|yy)$") == "x"


@pytest.mark.parametrize("pattern", ["(", "a)", "[a", "(?P=x)", "a{9999}", "\\"])
def test_what_cannot_be_read_gives_no_text(pattern):
    assert short_match(pattern) is None


@pytest.mark.parametrize(
    "pattern", ["(" * 5000 + "a" + ")" * 5000, "(" * 8 + "a" + "{200})" * 8, "a" * 10**6]
)
def test_patterns_that_would_take_all_memory_or_stack_give_no_text(pattern):
    assert short_match(pattern) is None


def test_what_is_left_behind_a_fixed_beginning_is_tried_too():
    assert short_ends(r"^pbj:([a-z]+):([0-9]+)$")[1:] == ["bj:a:0", "j:a:0", ":a:0", "a:0"]
    assert short_ends(r"^ab\.c[0-9]$")[-1] == "0"
    assert short_ends("^abc*d$")[-1] == "d"
    assert short_ends("wifi") == ["wifi"] and short_ends("(") == []


@pytest.mark.parametrize("pattern", ["^[a&&b[]$", "^[+--]$", "^[x~~|]$"])
def test_classes_that_python_may_read_otherwise_some_day_are_read_in_silence(pattern):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = short_match(pattern)
    assert re.fullmatch(r"[a&b\[]|[+-]|[x~|]", text)
