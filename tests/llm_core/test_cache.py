import random

from llm_core.cache import BLOCK, PrefixStore, PrefixUse, common_prefix
from tests.llm_core.fake_backend import FakeCache

SIZE = 100  # bytes of a column


def filled(tokens: list[int]) -> FakeCache:
    cache = FakeCache(10_000)
    cache.columns = [(token, place, "") for place, token in enumerate(tokens)]
    return cache


def store(blocks: int) -> PrefixStore:
    return PrefixStore(blocks * BLOCK * SIZE, SIZE)


def found(store: PrefixStore, tokens: list[int], scope: str = "", multiple: int = BLOCK) -> int:
    cache = FakeCache(10_000)
    count = store.fill(cache, tokens, scope, multiple)
    assert cache.columns == filled(tokens[:count]).columns
    return count


def test_whole_blocks_of_a_prompt_come_back():
    kept = store(20)
    tokens = list(range(200))
    kept.keep(filled(tokens), tokens, "")
    assert found(kept, tokens) == 192
    assert found(kept, tokens[:130]) == 128
    assert found(kept, [*tokens[:100], *tokens[:100]]) == 96
    assert found(kept, tokens[1:]) == 0
    assert found(kept, tokens, multiple=128) == 128


def test_it_counts_how_much_of_the_prompts_was_known():
    kept = store(20)
    tokens = list(range(100))
    assert found(kept, tokens) == 0
    kept.keep(filled(tokens), tokens, "")
    assert found(kept, tokens) == 96
    assert found(kept, tokens, multiple=64) == 64
    assert kept.use == PrefixUse(asked=300, found=160, blocks=6)


def test_chains_of_another_scope_are_never_mixed():
    kept = store(20)
    tokens = list(range(100))
    kept.keep(filled(tokens), tokens, "one adapter")
    assert found(kept, tokens, "another") == 0
    assert found(kept, tokens, "one adapter") == 96


def test_a_block_is_found_only_behind_the_same_beginning():
    kept = store(20)
    first, second = [1] * BLOCK, [2] * BLOCK
    for tokens in ([*first, *second], [*second, *first]):
        kept.keep(filled(tokens), tokens, "")
    assert found(kept, [*first, *first]) == BLOCK
    assert found(kept, [*first, *second]) == found(kept, [*second, *first]) == 2 * BLOCK


def test_the_bound_holds_and_the_least_recently_used_goes_first():
    kept = store(4)
    for number in range(4):
        tokens = [number] * BLOCK
        kept.keep(filled(tokens), tokens, "")
    assert found(kept, [0] * BLOCK) == BLOCK  # used again
    kept.keep(filled([9] * BLOCK), [9] * BLOCK, "")
    assert len(kept) == 4
    assert found(kept, [0] * BLOCK) == BLOCK and found(kept, [1] * BLOCK) == 0


def test_of_a_long_chain_the_beginning_stays():
    kept = store(3)
    tokens = list(range(10 * BLOCK))
    kept.keep(filled(tokens), tokens, "")
    assert len(kept) == 3 and found(kept, tokens) == 3 * BLOCK
    other = [7] * BLOCK
    kept.keep(filled(other), other, "")
    assert found(kept, tokens) == 2 * BLOCK


def test_no_room_keeps_nothing():
    kept = PrefixStore(0, SIZE)
    tokens = list(range(BLOCK))
    kept.keep(filled(tokens), tokens, "")
    assert len(kept) == 0 and found(kept, tokens) == 0


def test_any_mix_of_calls_gives_back_what_was_stored():
    rng = random.Random(3)
    kept = store(12)
    for _ in range(400):
        tokens = [rng.randrange(2) for _ in range(rng.randrange(1, 5))]
        tokens = [token for token in tokens for _ in range(BLOCK)] + [5] * rng.randrange(BLOCK)
        scope = rng.choice("ab")
        count = found(kept, tokens, scope)
        assert count <= len(tokens)
        kept.keep(filled(tokens), tokens, scope)
        assert found(kept, tokens, scope) == len(tokens) // BLOCK * BLOCK
        assert len(kept) <= 12


def test_forgetting_drops_everything():
    kept = store(4)
    tokens = [1] * BLOCK
    kept.keep(filled(tokens), tokens, "")
    kept.clear()
    assert len(kept) == 0 and found(kept, tokens) == 0


def test_common_prefix():
    assert common_prefix([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_prefix([1], [1, 2]) == 1 and common_prefix([], [1]) == 0
