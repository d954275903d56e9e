"""What the kernel computes: the model written out in numpy, on every target of this machine."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from llm_core.backend import Rows
from llm_core.kernels.backend import KernelBackend
from llm_core.kernels.library import KernelError, Library
from llm_core.kernels.pack import pack_in_memory
from tests.llm_core.kernels.small import (
    Array,
    LowRank,
    Reference,
    SmallCheckpoint,
    chunked,
    random_adapter,
)

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "untied": {"tie_word_embeddings": False},
    "biased": {"attention_bias": True, "mlp_bias": True},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3"},
    "mistral": {"model_type": "mistral", "sliding_window": 9},
    "scaled": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "wide heads": {"head_dim": 128, "num_attention_heads": 2, "num_key_value_heads": 1},
    "one head each": {"num_attention_heads": 3, "num_key_value_heads": 3},
}
KINDS = [("Q4_1", "Q8_0"), ("Q4_0", "Q4_0"), ("Q8_0", "Q4_1")]


def some_tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, 200, count).tolist()


def runner(
    library: Library, checkpoint: SmallCheckpoint, target: str, threads: int = 2
) -> KernelBackend:
    return KernelBackend(library, pack_in_memory(checkpoint), target, threads)


def feeding(
    backend: KernelBackend, capacity: int, threads: int = 2, adapter: LowRank | None = None
) -> Callable[[Rows, Sequence[int]], Array]:
    """Forward passes over one new cache."""
    cache = backend.new_cache(capacity)
    return lambda rows, reads: backend.forward(rows, [cache], reads, adapter, threads).numpy()


def agree(made: Array, expected: Array, *, usual: float = 1e-4, mean: float = 0.02) -> None:
    """Half of all rows equal but for float rounding, and no row far away.

    An activation on the border between two of its 8-bit steps may fall either way; from there
    on its row, and those that see it, differ by a fraction of a percent.
    """
    difference = np.abs(made - expected)
    assert np.isfinite(made).all()
    assert np.median(difference.max(axis=1)) < usual * expected.std()
    assert difference.mean() < mean * expected.std()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_target_computes_the_model(library: Library, shape: str) -> None:
    checkpoint = SmallCheckpoint(num_hidden_layers=1, **SHAPES[shape])
    tokens = some_tokens(24)
    expected = Reference(checkpoint).logits(Rows.sequence(tokens, 0), range(24))
    for target in library.targets:
        forward = feeding(runner(library, checkpoint, target), 32)
        agree(forward(Rows.sequence(tokens, 0), range(24)), expected)


@pytest.mark.parametrize("linear,table", KINDS)
def test_every_target_computes_every_kind_of_weight(
    library: Library, linear: str, table: str
) -> None:
    checkpoint = SmallCheckpoint(linear, table, intermediate_size=224)
    tokens = some_tokens(12)
    expected = Reference(checkpoint).logits(Rows.sequence(tokens, 0), range(12))
    for target in library.targets:
        forward = feeding(runner(library, checkpoint, target), 16)
        agree(forward(Rows.sequence(tokens, 0), range(12)), expected, usual=0.01)


def test_long_contexts_are_summed_over_splits_alike(library: Library) -> None:
    checkpoint = SmallCheckpoint(num_hidden_layers=1)
    tokens = some_tokens(600)
    reads = range(590, 600)
    expected = Reference(checkpoint).logits(Rows.sequence(tokens, 0), reads)
    for target in library.targets:
        forward = feeding(runner(library, checkpoint, target), 600)
        # Softmax weights are rounded to bfloat16 against the largest of each 128 columns.
        agree(forward(Rows.sequence(tokens, 0), reads), expected, usual=0.05)


@pytest.mark.parametrize("rank", [4, 16, 40])
def test_an_adapter_adds_its_low_rank_change(library: Library, rank: int) -> None:
    checkpoint = SmallCheckpoint(num_hidden_layers=1, intermediate_size=480)
    adapter = random_adapter(checkpoint, rank)
    tokens = some_tokens(20)
    rows = Rows.sequence(tokens, 0)
    bare = Reference(checkpoint).logits(rows, range(20))
    expected = Reference(checkpoint, adapter).logits(rows, range(20))
    assert np.abs(expected - bare).mean() > 0.2 * bare.std()  # the change is no small one
    for target in library.targets:
        backend = runner(library, checkpoint, target)
        made = feeding(backend, 32, adapter=adapter)(rows, range(20))
        agree(made, expected)
        agree(feeding(backend, 32)(rows, range(20)), bare)


def test_an_adapter_may_leave_weights_out(library: Library) -> None:
    checkpoint = SmallCheckpoint(num_hidden_layers=1)
    adapter = random_adapter(checkpoint, 8)
    for name in ("q_proj", "v_proj", "up_proj"):
        del adapter.pairs[0, name]
    rows = Rows.sequence(some_tokens(8), 0)
    expected = Reference(checkpoint, adapter).logits(rows, range(8))
    for target in library.targets:
        made = feeding(runner(library, checkpoint, target), 16, adapter=adapter)(rows, range(8))
        agree(made, expected)


@pytest.fixture(scope="module")
def checkpoint() -> SmallCheckpoint:
    return SmallCheckpoint(model_type="qwen3", attention_bias=True)


@pytest.mark.parametrize("ranked", [False, True], ids=["bare", "adapted"])
def test_chunks_and_threads_do_not_change_a_bit(
    library: Library, checkpoint: SmallCheckpoint, ranked: bool
) -> None:
    tokens = some_tokens(300)
    adapter = random_adapter(checkpoint, 16) if ranked else None
    for target in library.targets:
        backend = runner(library, checkpoint, target)
        whole = chunked(feeding(backend, 300, 1, adapter), tokens, 300)
        for size, threads in [(1, 1), (1, 2), (7, 2), (64, 2), (64, 1), (256, 2)]:
            made = chunked(feeding(backend, 300, threads, adapter), tokens, size)
            np.testing.assert_array_equal(made, whole, err_msg=f"{target} {size} {threads}")


def test_reading_fewer_rows_does_not_change_a_bit(
    library: Library, checkpoint: SmallCheckpoint
) -> None:
    rows = Rows.sequence(some_tokens(40), 0)
    for target in library.targets:
        backend = runner(library, checkpoint, target)
        whole = feeding(backend, 48)(rows, range(40))
        np.testing.assert_array_equal(feeding(backend, 48)(rows, [39, 5]), whole[[39, 5]])
        assert feeding(backend, 48)(rows, []).shape == (0, 200)


def test_a_batch_gives_each_sequence_its_own_bits(
    library: Library, checkpoint: SmallCheckpoint
) -> None:
    lengths = [5, 130, 40]
    texts = [some_tokens(length + 1, seed) for seed, length in enumerate(lengths)]
    for target in library.targets:
        backend = runner(library, checkpoint, target)
        alone = [chunked(feeding(backend, 160), text, 160)[-1] for text in texts]
        caches = [backend.new_cache(160) for _ in texts]
        for cache, text in zip(caches, texts, strict=True):
            backend.forward(Rows.sequence(text[:-1], 0), [cache], [], None, 2)
        rows = Rows([text[-1] for text in texts], lengths, [0, 1, 2], lengths, [0] * 3, [0] * 3)
        made = backend.forward(rows, caches, range(3), None, 2).numpy()
        np.testing.assert_array_equal(made, np.stack(alone))
        assert [cache.length for cache in caches] == [6, 131, 41]


@pytest.mark.parametrize("prefix", [16, 144])
def test_branches_behind_an_aligned_prefix_give_the_bits_of_each_alone(
    library: Library, checkpoint: SmallCheckpoint, prefix: int
) -> None:
    shared, branches = some_tokens(prefix), [some_tokens(n, seed=n) for n in (3, 20, 16)]
    rows = Rows([], [], [], [], [], [])
    start = prefix
    for branch in branches:
        count = len(branch)
        rows.tokens.extend(branch)
        rows.positions.extend(range(prefix, prefix + count))
        rows.columns.extend(range(start, start + count))
        rows.slots.extend([0] * count)
        rows.prefixes.extend([prefix] * count)
        rows.starts.extend([start] * count)
        start += -(-count // 16) * 16
    for target in library.targets:
        backend = runner(library, checkpoint, target)
        forward = feeding(backend, 256)
        forward(Rows.sequence(shared, 0), [])
        made = forward(rows, range(len(rows.tokens)))
        alone = [
            chunked(feeding(backend, 256), shared + branch, 256)[prefix:] for branch in branches
        ]
        np.testing.assert_array_equal(made, np.concatenate(alone))


def test_branches_anywhere_compute_what_each_alone_does(library: Library) -> None:
    checkpoint = SmallCheckpoint(num_hidden_layers=1)
    shared, branch = some_tokens(21), some_tokens(5, seed=9)
    rows = Rows(branch, [*range(21, 26)], [0] * 5, [*range(29, 34)], [21] * 5, [29] * 5)
    whole = Rows.sequence(shared + branch, 0)
    expected = Reference(checkpoint).logits(whole, range(21, 26))
    for target in library.targets:
        forward = feeding(runner(library, checkpoint, target), 48)
        forward(Rows.sequence(shared, 0), [])
        agree(forward(rows, range(5)), expected)


@pytest.mark.parametrize("cut", [32, 37], ids=["whole tiles", "any column"])
def test_a_cache_read_and_written_goes_on_with_the_same_bits(
    library: Library, checkpoint: SmallCheckpoint, cut: int
) -> None:
    tokens = some_tokens(90)
    backend = runner(library, checkpoint, library.targets[0])
    whole = chunked(feeding(backend, 96), tokens, 90)
    first, second = backend.new_cache(96), backend.new_cache(200)
    backend.forward(Rows.sequence(tokens, 0), [first], [], None, 2)
    second.write(first.read(0, cut), cut)
    second.write(first.read(cut, 70), 70 - cut)
    assert second.length == 70
    made = backend.forward(Rows.sequence(tokens[70:], 70), [second], range(20), None, 2)
    np.testing.assert_array_equal(made.numpy(), whole[70:])
    second.truncate(50)
    made = backend.forward(Rows.sequence(tokens[50:], 50), [second], range(40), None, 2)
    np.testing.assert_array_equal(made.numpy(), whole[50:])


def test_caches_refuse_columns_they_do_not_hold(library: Library) -> None:
    backend = runner(library, SmallCheckpoint(), "plain")
    cache = backend.new_cache(20)
    assert cache.capacity == 32
    backend.forward(Rows.sequence(some_tokens(10), 0), [cache], [], None, 1)
    block = cache.read(0, 10)
    with pytest.raises(ValueError, match="cannot read columns 0 to 11 of 10"):
        cache.read(0, 11)
    with pytest.raises(ValueError, match="cannot keep 11 of 10"):
        cache.truncate(11)
    with pytest.raises(ValueError, match="does not hold 20 columns"):
        cache.write(block, 20)
    cache.write(block, 10)
    cache.write(block, 10)
    with pytest.raises(ValueError, match="10 columns do not fit behind 30 of 32"):
        cache.write(block, 10)


@pytest.mark.parametrize(
    "row",
    [
        Rows([200], [0], [0], [0], [0], [0]),
        Rows([-1], [0], [0], [0], [0], [0]),
        Rows([0], [1024], [0], [0], [0], [0]),
        Rows([0], [0], [1], [0], [0], [0]),
        Rows([0], [0], [0], [32], [0], [0]),
        Rows([0], [0], [0], [0], [5], [0]),
        Rows([0], [0], [0], [0], [0], [-1]),
    ],
    ids=["token", "negative", "position", "slot", "column", "prefix", "start"],
)
def test_rows_out_of_range_are_refused(library: Library, row: Rows) -> None:
    backend = runner(library, SmallCheckpoint(), "plain")
    with pytest.raises(KernelError, match="out of range"):
        backend.forward(row, [backend.new_cache(32)], [0], None, 1)
    with pytest.raises(KernelError, match="out of range"):
        rows = Rows([0], [0], [0], [0], [0], [0])
        backend.forward(rows, [backend.new_cache(32)], [1], None, 1)
