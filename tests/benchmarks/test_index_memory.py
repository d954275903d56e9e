"""The memory benchmark: vectors without a model, and a small folder measured in a process."""

from benchmarks.index_memory import STAGES, HashedVectors, measure


def test_a_text_has_one_vector() -> None:
    one, other = HashedVectors().embed_documents(["goose", "duck"])
    assert len(one) == 384 and one != other and HashedVectors().embed_query("goose") == one


def test_memory_is_noted_at_each_stage_and_never_falls() -> None:
    peaks = measure(3, seed=1)
    assert peaks["passages"] >= 9
    order = [peaks[stage] for stage in ("start", *STAGES)]
    assert order == sorted(order) and order[0] > 10**7
