import random

import pytest

from llm_core.loops import LoopGuard


def noticed(tokens: list[int]) -> int | None:
    """After how many tokens the guard says that it is a loop."""
    guard = LoopGuard()
    return next((n for n, token in enumerate(tokens, start=1) if guard.note(token)), None)


@pytest.mark.parametrize(("period", "needed"), [(1, 48), (5, 48), (12, 48), (20, 80), (64, 256)])
def test_a_phrase_over_and_over_is_a_loop_after_four_rounds_and_48_tokens(period, needed):
    lead = [1000 + n for n in range(30)]
    phrase = list(range(period))
    assert noticed(lead + phrase * 100) == len(lead) + needed


def test_a_long_text_is_no_loop():
    rng = random.Random(1)
    assert noticed([rng.randrange(200) for _ in range(3000)]) is None


def test_a_list_whose_items_differ_is_no_loop():
    assert noticed([token for n in range(100) for token in (1, 2, 3, 50 + n, 4)]) is None


def test_a_phrase_said_three_times_is_no_loop():
    phrase = list(range(30))
    assert noticed(phrase * 3 + list(range(100, 200))) is None
