import gc
from pathlib import Path

import pytest

from llm_core.errors import ModelError
from llm_core.server.metrics import Metrics
from llm_core.server.offers import Wishes, named, offer, prepare
from llm_core.settings import Settings
from tests.llm_core.tiny import build_adapter
from tests.tiny_models import write_bert


@pytest.fixture
def core(tmp_path: Path) -> Settings:
    """An empty cache."""
    return Settings(cache_dir=tmp_path / "cache", threads=1)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("smollm2-135m", ("smollm2-135m", "smollm2-135m")),
        ("local:smollm2-135m", ("smollm2-135m", "local:smollm2-135m")),
        ("local:HuggingFaceTB/SmolLM2", ("HuggingFaceTB/SmolLM2", "local:HuggingFaceTB/SmolLM2")),
        ("models/chat.Q4_1.gguf", ("chat.Q4_1", "models/chat.Q4_1.gguf")),
        ("gpt-4o=local:a/b", ("gpt-4o", "local:a/b")),
        ("a/b=c", ("a/b=c", "a/b=c")),
    ],
)
def test_a_model_is_offered_under_its_own_name_or_the_given_one(given, wanted):
    assert named(given) == wanted


def test_a_folder_is_offered_under_its_last_part(tmp_path, monkeypatch):
    (tmp_path / "chat").mkdir()
    monkeypatch.chdir(tmp_path / "chat")
    assert named(f"{tmp_path}/chat/")[0] == named(".")[0] == "chat"


def test_models_and_adapters_are_offered_and_the_first_is_loaded(core, tiny_folder, tmp_path):
    adapter = build_adapter(tmp_path)
    bert = write_bert(tmp_path)
    wishes = Wishes([f"one={tiny_folder}", f"two={tiny_folder}"], [f"e={bert}"], [f"ad={adapter}"])
    models = offer(wishes, core, Metrics())
    assert not models.ready
    prepare(models)
    found = {card.id: (card.kind, card.loaded, card.parent) for card in models.cards()}
    assert found == {
        "one": ("chat", True, None),
        "two": ("chat", False, None),
        "e": ("embeddings", False, None),
        "ad": ("chat", True, "one"),
    }


def test_an_adapter_that_does_not_fit_is_refused_at_the_start(core, tiny_folder, tmp_path):
    wrong = build_adapter(tmp_path, hidden=64)
    (wrong / "adapter_config.json").write_text("{}")
    models = offer(Wishes([str(tiny_folder)], (), [str(wrong)]), core, Metrics())
    with pytest.raises(ModelError, match="adapter"):
        prepare(models)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_two_of_one_name_are_refused(core, tiny_folder, tmp_path, place):
    twice = [f"a={tiny_folder}", f"a={build_adapter(tmp_path)}"]
    wishes = [[str(tiny_folder)], [], []]
    wishes[place] = twice
    with pytest.raises(ModelError, match="two are named 'a'"):
        offer(Wishes(*wishes), core, Metrics())


def test_default_embeddings_that_are_not_here_are_left_out(core, tiny_folder):
    found = offer(Wishes([str(tiny_folder)]), core, Metrics()).cards()
    assert [card.kind for card in found] == ["chat"]


def test_prompts_known_from_earlier_show_while_the_model_is_in_memory(core, tiny_folder):
    metrics = Metrics()
    models = offer(Wishes([f"one={tiny_folder}"], ()), core, metrics)
    assert "prefix_tokens_total{" not in metrics.text().decode()
    prepare(models)
    engine = models.chat("one").replier.engine
    for _ in range(2):
        engine.score(list(range(3, 43)), [[5]])
    assert 'deerstalker_prefix_tokens_found_total{model="one"} 32.0' in metrics.text().decode()
    del engine
    models.unload("one")
    gc.collect()
    assert "prefix_tokens_total{" not in metrics.text().decode()
