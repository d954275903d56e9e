import random

from llm_core.lookup import Lookup


def test_what_followed_the_same_tokens_last_time_is_guessed():
    lookup = Lookup([1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3])
    assert lookup.draft(3) == [4, 5, 6]
    lookup.note([4])
    assert lookup.draft(2) == [5, 6]
    assert lookup.draft(0) == []


def test_the_longest_match_counts_before_a_later_short_one():
    lookup = Lookup([1, 2, 3, 50, 51, 2, 3, 60, 61, 1, 2, 3])
    assert lookup.draft(2) == [50, 51]


def test_new_text_is_guessed_from_too_and_nothing_from_nothing():
    lookup = Lookup([])
    assert lookup.draft(5) == []
    lookup.note([1, 2, 3])
    assert lookup.draft(5) == []
    lookup.note([1, 2])
    assert lookup.draft(5) == [3, 1, 2]


def test_right_guesses_make_longer_ones_and_wrong_ones_shorter():
    lookup = Lookup([*range(30), 5, 6])
    first = len(lookup.draft(30))
    lookup.learn(first, first)
    assert len(lookup.draft(30)) > first
    lookup.learn(first, 0)
    assert len(lookup.draft(30)) < first


def test_guesses_that_never_come_true_are_given_up_for_a_while():
    lookup = Lookup([1, 2] * 5)
    tries = 0
    while lookup.draft(4):
        lookup.learn(len(lookup.draft(4)), 0)
        tries += 1
    assert 2 <= tries < 20
    lookup.note([1, 2] * 20)
    assert lookup.draft(4)


def test_any_guess_stands_somewhere_before_behind_the_same_two_tokens():
    rng = random.Random(2)
    text = [rng.randrange(6) for _ in range(400)]
    lookup = Lookup(text[:50])
    for at in range(50, 400):
        guess = lookup.draft(3)
        if guess:
            wanted = [*text[at - 2 : at], *guess]
            places = range(at - 2)
            assert any(text[p : p + len(wanted)] == wanted for p in places)
        lookup.note([text[at]])
