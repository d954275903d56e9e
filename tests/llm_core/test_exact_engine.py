"""What the engine promises over a backend that repeats itself to the last bit."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from llm_core.decode import Decoder, Step
from llm_core.engine import Engine, GenerationCancelledError
from llm_core.sampling import Sampling
from tests.llm_core.fake_backend import VOCABULARY, FakeBackend, logits_after, outcome
from tests.threads import in_threads

PROMPT = [n * n % VOCABULARY for n in range(150)]
HOT = Sampling(temperature=1.0, top_p=0.9, seed=5)


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def engine(tiny_folder: Path, backend: FakeBackend) -> Engine:
    return Engine(tiny_folder, backend=backend)


def write(engine: Engine, prompt: list[int] = PROMPT, count: int = 30, **options: Any) -> Any:
    given = {"sampling": Sampling(), "stop_ids": [], **options}
    return outcome(engine.generate(prompt, max_tokens=count, **given))


def likelihood(tokens: list[int], scored: int) -> float:
    places = range(len(tokens) - scored, len(tokens))
    return sum(float(logits_after(tokens[:n]).double().log_softmax(0)[tokens[n]]) for n in places)


def test_greedy_tokens_are_those_of_the_model(engine):
    tokens = list(PROMPT)
    for token in write(engine).tokens:
        assert token == int(logits_after(tokens).argmax())
        tokens.append(token)
    assert len(tokens) == len(PROMPT) + 30


def test_log_probabilities_are_the_models_own_under_any_sampling(engine):
    reply = write(engine, sampling=HOT, logprobs=3)
    tokens = list(PROMPT)
    for step in reply.steps:
        expected = logits_after(tokens).log_softmax(0)
        assert step.logprob == pytest.approx(float(expected[step.token]), abs=1e-5)
        best, ids = expected.topk(3)
        assert [token for token, _ in step.top] == ids.tolist()
        assert [value for _, value in step.top] == pytest.approx(best.tolist(), abs=1e-5)
        tokens.append(step.token)


def test_a_reused_beginning_is_not_computed_again(engine, backend):
    cold = write(engine)
    computed = sum(backend.passes)
    assert computed >= len(PROMPT)
    backend.passes.clear()
    assert write(engine).steps == cold.steps
    assert sum(backend.passes) < computed - 127  # all but the last block came from memory


def test_the_next_turn_reuses_the_reply_too(engine, backend):
    reply = write(engine, count=70)
    backend.passes.clear()
    write(engine, [*PROMPT, *reply.tokens, 1, 2, 3], count=1)
    assert sum(backend.passes) <= 150 + 70 + 3 - 192 + 1


def test_replies_are_the_same_cold_cached_and_after_other_requests(engine):
    cold = write(engine, sampling=HOT, deterministic=True)
    warm = write(engine, sampling=HOT, deterministic=True)
    write(engine, [*PROMPT[:100], 3, 4])
    engine.score(PROMPT, [[1, 2], [3]])
    other = write(engine, sampling=HOT)
    assert cold == warm == other


def test_another_adapter_never_sees_columns_of_the_first(engine):
    one, two = SimpleNamespace(key="one"), SimpleNamespace(key="two")
    bare = write(engine)
    assert write(engine, adapter=one).tokens != bare.tokens
    assert write(engine, adapter=two).tokens != write(engine, adapter=one).tokens
    engine.forget()
    again = write(engine, adapter=one)
    assert write(engine, adapter=one) == again and write(engine) == bare


@pytest.mark.parametrize("sampling", [Sampling(), HOT])
def test_guessing_ahead_changes_nothing_and_saves_passes(tiny_folder, sampling):
    backend = FakeBackend(memory=2)  # replies run into loops, so guesses come true
    engine = Engine(tiny_folder, backend=backend)
    plain = write(engine, count=200, sampling=sampling, speculate=False)
    alone = len(backend.passes)
    engine.forget()
    backend.passes.clear()
    assert write(engine, count=200, sampling=sampling) == plain
    if sampling.temperature == 0:
        assert len(backend.passes) < alone * 0.6


def test_a_backend_that_rounds_by_shape_is_never_asked_to_guess(tiny_folder):
    backend = FakeBackend(memory=3)
    backend.invariant = False
    engine = Engine(tiny_folder, backend=backend)
    write(engine, count=100)
    assert set(backend.passes[-90:]) == {1}


def test_repeatable_passes_end_on_one_grid_where_the_backend_rounds_by_shape(tiny_folder):
    backend = FakeBackend()
    backend.invariant, backend.chunk = False, 100
    engine = Engine(tiny_folder, backend=backend)
    prompt = PROMPT * 2
    write(engine, prompt, count=1, deterministic=True)
    assert backend.passes == [128, 128, 44]
    backend.passes.clear()
    write(engine, [*prompt[:200], 1], count=1, deterministic=True)
    assert backend.passes == [73]
    backend.passes.clear()
    write(engine, prompt, count=1)  # other calls keep a store of their own
    assert backend.passes == [100, 100, 100]


def test_scores_are_those_of_each_sequence_alone(engine):
    tails = [[1], [2, 3, 4], [2, 3], [7] * 300, [9]]
    expected = [likelihood(PROMPT + tail, len(tail)) for tail in tails]
    assert engine.score(PROMPT, tails) == pytest.approx(expected, abs=1e-3)
    assert engine.score(PROMPT, tails, deterministic=True) == engine.score(PROMPT, tails)
    assert engine.score([3], [[4, 5]]) == pytest.approx([likelihood([3, 4, 5], 2)], abs=1e-4)


def test_sequences_without_a_common_beginning_are_scored_too(engine):
    pairs = [([1, 2, 3, 4], 2), ([2, 2, 3], 1), ([5, *PROMPT], 150)]
    expected = [likelihood(tokens, scored) for tokens, scored in pairs]
    assert engine.score_sequences(pairs) == pytest.approx(expected, abs=1e-2)


def test_single_token_choices_cost_one_pass_over_the_prompt(engine, backend):
    engine.score(PROMPT[:7], [[n] for n in range(20)])
    assert backend.passes == [7]


def test_replies_side_by_side_are_those_written_alone(engine, backend):
    prompts = [PROMPT[: 20 + 5 * n] for n in range(20)]
    together = engine.generate_batch(prompts, max_tokens=12, sampling=HOT, stop_ids=[0, 1])
    assert 16 in backend.passes  # as many rows as replies
    for prompt, reply in zip(prompts, together, strict=True):
        assert write(engine, prompt, 12, sampling=HOT, stop_ids=[0, 1]) == reply
    assert {reply.finish for reply in together} == {"stop", "length"}


def test_replies_side_by_side_may_have_samplings_of_their_own(engine):
    seeds = [Sampling(temperature=2.0, seed=seed) for seed in range(4)]
    found = engine.generate_batch([PROMPT] * 4, max_tokens=8, sampling=seeds, stop_ids=[])
    assert len({tuple(reply.tokens) for reply in found}) == 4
    assert engine.generate_batch([], max_tokens=8, sampling=HOT, stop_ids=[]) == []


def test_a_loop_ends_the_reply_only_where_that_is_asked_for(tiny_folder):
    engine = Engine(tiny_folder, backend=FakeBackend(memory=1))
    whole = write(engine, count=400)
    assert whole.finish == "length" and len(whole.tokens) == 400
    ended = write(engine, count=400, guard_loops=True)
    assert ended.finish == "repetition" and ended.tokens == whole.tokens[: len(ended.tokens)]
    assert 48 <= len(ended.tokens) < 300


def test_cancelling_ends_a_long_prompt_and_a_wait_in_line(engine, backend):
    cancel, ended = threading.Event(), threading.Event()
    backend.before = cancel.set  # in the first pass of twenty
    with pytest.raises(GenerationCancelledError):
        write(engine, cancel=cancel)
    assert len(backend.passes) == 1

    entered, gate = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert gate.wait(10)

    def waits() -> None:
        with pytest.raises(GenerationCancelledError):
            write(engine, PROMPT[:5], cancel=cancel)
        ended.set()

    cancel, backend.before = threading.Event(), hold
    slow = threading.Thread(target=write, args=(engine, PROMPT[:3], 1))
    slow.start()
    assert entered.wait(10)
    waiter = threading.Thread(target=waits)
    waiter.start()
    cancel.set()
    assert ended.wait(10)  # while the pass of somebody else takes its time
    backend.before = lambda: None
    gate.set()
    waiter.join()
    slow.join()
    assert write(engine, PROMPT[:5]).finish == "length"


def test_replies_written_at_the_same_time_share_passes_and_stay_the_same(engine, backend):
    prompts = [PROMPT[: 20 + 5 * n] for n in range(8)]
    alone = [write(engine, prompt, 40, sampling=HOT) for prompt in prompts]
    engine.forget()
    backend.passes.clear()
    assert in_threads(lambda n: write(engine, prompts[n], 40, sampling=HOT)) == alone
    assert len(backend.passes) < sum(-(-len(prompt) // 7) for prompt in prompts) + 8 * 40


def test_a_closed_reply_leaves_its_columns_to_the_next(engine, backend):
    steps = engine.generate(PROMPT, max_tokens=100, sampling=Sampling(), stop_ids=[])
    first = [next(steps).token for _ in range(60)]
    steps.close()
    backend.passes.clear()
    write(engine, [*PROMPT, *first[:58]], count=1)
    assert sum(backend.passes) <= 150 + 58 - 192


def test_penalties_reach_the_reply(engine):
    reply = write(engine, count=35, sampling=Sampling(frequency_penalty=1000.0))
    assert len(set(reply.tokens)) == 35  # every token at most once
    again = write(engine, [3] * 20, 30, sampling=Sampling(repetition_penalty=1e6))
    assert 3 not in again.tokens


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The logits of each token that is picked, as they are found afterwards."""
    kept: list[torch.Tensor] = []
    take = Decoder.take

    def watched(decoder: Decoder, logits: torch.Tensor) -> list[Step]:
        kept.append(logits)
        return take(decoder, logits)

    monkeypatch.setattr(Decoder, "take", watched)
    return kept


def test_logits_given_out_are_not_overwritten(engine, taken):
    reply = write(engine)
    assert [int(logits.argmax()) for logits in taken] == reply.tokens


def test_a_bias_counts_its_last_word_and_leaves_the_logits_as_they_were(engine, taken):
    class Bias:
        def gains(self) -> tuple[list[int], np.ndarray]:
            return [3, 3, 5], np.array([3000.0, 1000.0, 2000.0], np.float32)

        def accept(self, token: int) -> None:
            assert token == 5

    reply = write(engine, logits_bias=Bias(), count=4, logprobs=1)
    assert reply.tokens == [5] * 4
    for number, logits in enumerate(taken):
        assert torch.equal(logits, logits_after(PROMPT + [5] * number))
    assert all(step.logprob < -1e-3 for step in reply.steps)
