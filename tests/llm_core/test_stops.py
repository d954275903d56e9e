import itertools
import random

import pytest

from llm_core.stops import StopText


def shown(stops: list[str], pieces: list[str]) -> tuple[str, str | None]:
    guard = StopText(stops)
    text = "".join(guard.feed(piece) for piece in pieces)
    return text + guard.flush(), guard.hit


@pytest.mark.parametrize(
    ("stops", "pieces", "text", "hit"),
    [
        (["END"], ["one E", "N", "D two"], "one ", "END"),
        (["END"], ["one EN", "tering"], "one ENtering", None),
        (["END"], ["one E"], "one E", None),
        (["\n\n", "5"], ["1 2 3 4 ", "5 6"], "1 2 3 4 ", "5"),
        (["aab"], ["a", "a", "a", "b", "c"], "a", "aab"),
        (["b", "ab"], ["xa", "b"], "x", "ab"),
        ([], ["all"], "all", None),
        ([""], ["all"], "all", None),
    ],
)
def test_no_part_of_a_stop_string_is_shown(stops, pieces, text, hit):
    assert shown(stops, pieces) == (text, hit)


def test_nothing_is_shown_after_a_hit():
    guard = StopText(["x"])
    assert guard.feed("abx") == "ab"
    assert guard.feed("more") == "" and guard.flush() == ""


def test_any_split_shows_what_the_whole_text_shows():
    rng = random.Random(7)
    for _ in range(500):
        text = "".join(rng.choice("ab") for _ in range(12))
        stops = ["".join(rng.choice("ab") for _ in range(rng.randint(1, 4))) for _ in range(2)]
        cuts = sorted(rng.sample(range(13), 3))
        bounds = [0, *cuts, 12]
        pieces = [text[a:b] for a, b in itertools.pairwise(bounds)]
        first = min((text.find(stop) for stop in stops if stop in text), default=12)
        found, _ = shown(stops, pieces)
        # A later-ending stop may be hit first, but never is text past a found stop shown.
        assert text.startswith(found) and not any(stop in found for stop in stops)
        assert len(found) >= first or any(stop in text for stop in stops)
