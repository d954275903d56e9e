"""Short texts for patterns: what a search for an end tries first."""

import re

import pytest

from llm_core.patterns import short_match


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
