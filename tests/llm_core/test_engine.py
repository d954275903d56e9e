import threading
from pathlib import Path

import pytest
import torch

from llm_core.engine import Engine, GenerationCancelledError
from llm_core.errors import ContextBudgetError, ModelFileError
from llm_core.sampling import Sampling
from tests.llm_core.tiny import build_tiny
from tests.threads import in_threads

PROMPT = list(range(10, 60))


def tokens(engine: Engine, prompt: list[int], count: int = 20, **options: object) -> list[int]:
    options.setdefault("sampling", Sampling())
    steps = engine.generate(prompt, max_tokens=count, stop_ids=[], **options)
    return [step.token for step in steps]


def reference_logits(folder: Path, ids: list[int]) -> torch.Tensor:
    """Log-probabilities (T, V) by transformers alone, in float32."""
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)


@pytest.fixture(scope="module")
def exact(tiny_folder: Path) -> Engine:
    return Engine(tiny_folder, dtype="float32", threads=1)


def test_greedy_tokens_and_logprobs_equal_transformers(exact, tiny_folder):
    steps = list(exact.generate(PROMPT, max_tokens=12, sampling=Sampling(), stop_ids=[]))
    ids = PROMPT + [step.token for step in steps]
    expected = reference_logits(tiny_folder, ids)
    for place, step in enumerate(steps, start=len(PROMPT) - 1):
        assert step.token == int(expected[place].argmax())
        assert step.logprob == pytest.approx(float(expected[place, step.token]), abs=1e-4)


def test_logprobs_that_nobody_asked_for_are_left_out(exact):
    asked, bare = (
        list(exact.generate(PROMPT, max_tokens=12, sampling=Sampling(), stop_ids=[], logprobs=top))
        for top in (2, None)
    )
    assert [step.token for step in bare] == [step.token for step in asked]
    assert {(step.logprob, step.top) for step in bare} == {(0.0, ())}
    assert all(step.logprob < 0 and len(step.top) == 2 for step in asked)


def test_scores_equal_transformers_for_branches_of_any_length(exact, tiny_folder):
    tails = [[5], [7, 8, 9], [100, 101], [7, 8, 9]]
    scores = exact.score(PROMPT, tails)
    for tail, score in zip(tails, scores, strict=True):
        expected = reference_logits(tiny_folder, PROMPT + tail)
        total = sum(float(expected[len(PROMPT) + i - 1, t]) for i, t in enumerate(tail))
        assert score == pytest.approx(total, abs=1e-3)


def test_scores_under_different_prompts_equal_single_scores(exact):
    pairs = [([1, 2, 3, *range(20, 20 + n), 50, 51], 2) for n in (4, 30, 1)]
    together = exact.score_sequences(pairs)
    for pair, score in zip(pairs, together, strict=True):
        assert score == pytest.approx(exact.score_sequences([pair])[0], abs=1e-3)


def test_more_branches_than_one_pass_holds(exact):
    tails = [[n % 100 + 3] * 40 for n in range(30)]
    scores = exact.score(PROMPT, tails)
    assert scores[29] == pytest.approx(exact.score(PROMPT, [tails[29]])[0], abs=1e-3)


def test_a_kept_prefix_changes_nothing(exact):
    exact.forget()
    cold = tokens(exact, PROMPT)
    tokens(exact, [*PROMPT[:30], 99, 98])
    assert tokens(exact, PROMPT) == cold


def test_deterministic_replies_are_the_same_cold_and_cached(tiny):
    prompt = [(n * 37) % 300 + 3 for n in range(300)]
    tiny.forget()
    run = {"deterministic": True}
    cold = list(tiny.generate(prompt, max_tokens=30, sampling=Sampling(), stop_ids=[], **run))
    warm = list(tiny.generate(prompt, max_tokens=30, sampling=Sampling(), stop_ids=[], **run))
    scores = tiny.score(prompt, [[5, 6], [7]], deterministic=True)
    tiny.forget()
    assert warm == cold  # log-probabilities too, to the last bit
    assert tiny.score(prompt, [[5, 6], [7]], deterministic=True) == scores


def test_cancelling_ends_within_one_token(tiny):
    cancel = threading.Event()
    steps = tiny.generate(PROMPT, max_tokens=100, sampling=Sampling(), stop_ids=[], cancel=cancel)
    next(steps)
    cancel.set()
    with pytest.raises(GenerationCancelledError):
        next(steps)
    assert len(tokens(tiny, PROMPT)) == 20  # and the engine still works


def test_an_abandoned_stream_blocks_nobody(tiny):
    open_stream = tiny.generate(PROMPT, max_tokens=100, sampling=Sampling(), stop_ids=[])
    next(open_stream)
    assert len(tokens(tiny, PROMPT)) == 20
    open_stream.close()


def test_an_interrupted_step_leaves_a_usable_cache(exact, monkeypatch):
    exact.forget()
    expected = tokens(exact, PROMPT)
    exact.forget()
    forward = exact.backend.forward

    def interrupt(*args: object, **kwargs: object) -> None:
        forward(*args, **kwargs)
        raise KeyboardInterrupt  # columns are written that the engine does not count

    steps = exact.generate(PROMPT, max_tokens=20, sampling=Sampling(), stop_ids=[])
    next(steps)
    monkeypatch.setattr(exact.backend, "forward", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    monkeypatch.undo()
    assert tokens(exact, PROMPT) == expected


def test_threads_take_turns_and_get_their_own_replies(exact):
    prompts = [[n, *PROMPT] for n in range(3, 11)]
    alone = [tokens(exact, prompt) for prompt in prompts]
    assert in_threads(lambda n: tokens(exact, prompts[n])) == alone


def test_the_window_is_never_cut_silently(tiny):
    with pytest.raises(ContextBudgetError, match=r"500 tokens .* 20.* window is 512"):
        tokens(tiny, [5] * 500)
    with pytest.raises(ContextBudgetError):
        tokens(tiny, [])
    with pytest.raises(ContextBudgetError):
        tiny.score([5] * 600, [[1]])


def test_stop_ids_end_the_reply_unseen(tiny):
    third = tokens(tiny, PROMPT)[2]
    steps = tiny.generate(PROMPT, max_tokens=20, sampling=Sampling(), stop_ids=[third])
    seen = []
    while True:
        try:
            seen.append(next(steps).token)
        except StopIteration as end:
            assert end.value == "stop"
            break
    assert third not in seen and len(seen) <= 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("model.safetensors", "junk", "damaged"),
        ("config.json", "{", "not valid JSON"),
        ("config.json", '{"model_type": "x"}', "cannot be used: .* model type `x`"),
        ("tokenizer.json", "{}", "tokenizer"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, text, message):
    folder = build_tiny(tmp_path)
    (folder / name).write_text(text)
    with pytest.raises(ModelFileError, match=message):
        Engine(folder)


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path):
    folder = build_tiny(tmp_path)
    config = folder / "config.json"
    config.write_text(
        config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    )
    with pytest.raises(ModelFileError, match=r"no tensor model.layers.2"):
        Engine(folder)
