"""The engine on the compiled kernel: the same bytes in any company, and the same model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llm_core.chat_model import LocalChatModel
from llm_core.engine import Engine
from llm_core.errors import ModelError, ModelFileError
from llm_core.sampling import Sampling
from llm_core.settings import Settings, load_settings
from tests.llm_core.fake_backend import outcome
from tests.llm_core.tiny import build_adapter
from tests.threads import in_threads

PROMPT = [(n * 37) % 300 + 3 for n in range(150)]
HOT = Sampling(temperature=1.0, top_p=0.9, seed=5)


@pytest.fixture(scope="module")
def engine(kernel_folder: Path) -> Engine:
    return Engine(kernel_folder)


@pytest.fixture(scope="module")
def exact(kernel_folder: Path) -> Engine:
    """The same weights in float32, run by torch."""
    return Engine(kernel_folder, dtype="float32", threads=1)


def write(engine: Engine, prompt: list[int] = PROMPT, count: int = 60, **options: Any) -> Any:
    given = {"sampling": Sampling(), "stop_ids": [], **options}
    return outcome(engine.generate(prompt, max_tokens=count, **given))


def test_the_settings_choose_what_runs_a_model(kernel_folder, tiny_folder, engine, exact):
    assert engine.backend.name.startswith("kernel ")
    assert exact.backend.name == "torch float32"
    off = load_settings().model_copy(update={"kernel": "off"})
    assert Engine(kernel_folder, settings=off).backend.name == "torch bfloat16"
    assert Engine(tiny_folder).backend.name == "torch bfloat16"  # floats stay as they are
    plain = load_settings().model_copy(update={"kernel": "plain"})
    assert Engine(kernel_folder, settings=plain).backend.name == "kernel plain"
    with pytest.raises(ModelError, match="float16"):
        Engine(tiny_folder, dtype="float16")


def test_without_a_compiler_torch_runs_the_same_folder(
    kernel_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = Engine(kernel_folder, settings=Settings(cache_dir=tmp_path))
    assert found.backend.name == "torch bfloat16"
    assert "kernel is not used" in capsys.readouterr().err
    assert len(write(found, count=3).tokens) == 3


def test_replies_are_the_same_cold_cached_guessed_and_after_other_requests(engine, kernel_folder):
    for options in ({"sampling": HOT}, {"deterministic": True}):
        engine.forget()
        cold = write(engine, **options)
        warm = write(engine, **options)
        write(engine, [*PROMPT[:100], 3, 4])
        engine.score(PROMPT, [[1, 2], [3]])
        assert cold == warm == write(engine, **options)
        assert cold == write(engine, speculate=False, **options)
    for threads in (1, 2):
        assert write(Engine(kernel_folder, threads=threads), deterministic=True) == cold


def test_replies_written_together_are_those_written_alone(engine):
    prompts = [PROMPT[: 30 + 9 * n] for n in range(8)]
    alone = [write(engine, prompt, sampling=HOT) for prompt in prompts]
    engine.forget()
    assert engine.generate_batch(prompts, max_tokens=60, sampling=HOT, stop_ids=[]) == alone
    engine.forget()
    assert in_threads(lambda n: write(engine, prompts[n], sampling=HOT)) == alone


def test_scores_repeat_themselves_and_hardly_depend_on_what_else_is_scored(engine):
    tails = [[n % 100 + 3] * (1 + n % 7) for n in range(40)]
    together = engine.score(PROMPT, tails)
    write(engine, [*PROMPT[:100], 3, 4])
    assert engine.score(PROMPT, tails) == together
    engine.forget()
    assert engine.score(PROMPT, tails) == together
    alone = [engine.score(PROMPT, [tail])[0] for tail in tails]
    assert alone == pytest.approx(together, rel=1e-4)


def test_the_kernel_says_what_the_exact_model_says(engine, exact, kernel_adapter):
    adapter = engine.adapter(kernel_adapter)
    tails = [[n, n + 1, n + 2] for n in range(3, 303, 30)]
    bare, adapted = (torch.tensor(exact.score(PROMPT, tails, adapter=a)) for a in (None, adapter))
    off = float((bare - adapted).abs().mean())  # what another model would say
    for expected, used in ((bare, None), (adapted, adapter)):
        ours = torch.tensor(engine.score(PROMPT, tails, adapter=used))
        assert float((ours - expected).abs().mean()) < 0.1 * off


def test_an_adapter_changes_the_reply_and_never_meets_the_columns_of_another(
    engine, kernel_adapter, tmp_path
):
    one = engine.adapter(kernel_adapter)
    two = engine.adapter(build_adapter(tmp_path, seed=9, hidden=128))
    engine.forget()
    cold = [write(engine, adapter=adapter) for adapter in (one, None, two)]
    assert len({tuple(reply.tokens) for reply in cold}) == 3
    assert [write(engine, adapter=adapter) for adapter in (one, None, two)] == cold


def test_an_adapter_is_read_again_when_its_files_change(engine, tmp_path):
    first = engine.adapter(build_adapter(tmp_path, seed=1, hidden=128))
    assert engine.adapter(str(tmp_path)) is first
    changed = engine.adapter(build_adapter(tmp_path, seed=2, hidden=128, rank=5))
    assert changed.key != first.key


def test_a_chat_model_may_have_an_adapter_and_each_call_another(kernel_folder, kernel_adapter):
    model = LocalChatModel(model=str(kernel_folder), max_tokens=20, repetition_guard=False)
    bare = model.invoke("hello").content
    adapted = model.invoke("hello", adapter=str(kernel_adapter)).content
    assert adapted != bare
    own = LocalChatModel(**{**model.configuration(), "adapter": str(kernel_adapter)})
    assert own.invoke("hello").content == adapted
    assert model.score("hello", ["a b"]) != model.score("hello", ["a b"], adapter=kernel_adapter)
    with pytest.raises(ModelFileError, match="no-such-folder"):
        model.invoke("hello", adapter="no-such-folder")


@pytest.mark.model
def test_the_real_model_repeats_itself_to_the_last_bit(chat_model):
    engine = chat_model._replier(chat_model.model).engine
    ids = engine.tokenizer.encode("The old harbour town had three lighthouses. " * 12)
    ends = engine.tokenizer.end_ids
    assert engine.backend.name.startswith("kernel ")
    engine.forget()
    cold = write(engine, ids, 48, stop_ids=ends, deterministic=True)
    warm = write(engine, ids, 48, stop_ids=ends, deterministic=True)
    write(engine, ids[:90], 5)
    pair = engine.generate_batch([ids, ids[5:]], max_tokens=48, sampling=Sampling(), stop_ids=ends)
    assert cold == warm == write(engine, ids, 48, stop_ids=ends) == pair[0]
