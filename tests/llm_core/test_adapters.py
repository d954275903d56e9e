"""Adapters that peft wrote: the same logits as its forward pass, or one line that says why not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_core.adapters import CONFIG_NAME, TARGETS, WEIGHTS_NAME, Adapter, load_adapter
from llm_core.backend import Rows
from llm_core.checkpoint import open_checkpoint
from llm_core.errors import ModelFileError
from llm_core.loading import resolve
from llm_core.models.config import DecoderConfig
from llm_core.torch_backend import open_torch_backend
from tests.llm_core.models.decoders import family, llama_of, random_tokens

A_HALF = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def train_like(model: Any, folder: Path, strength: float = 1.0, **settings: Any) -> Any:
    """Put random low-rank changes on `model`, save them, and return peft's model."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    wrapped = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                spread = strength * parameter.shape[1] ** -0.5
                parameter.copy_(torch.randn_like(parameter) * spread)
    wrapped.save_pretrained(folder)
    return wrapped.train(False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapter of rank 4 on two targets of the tiny llama."""
    train_like(
        family("llama")[1], tmp_path, r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"]
    )
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    path = folder / CONFIG_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {"r": 4, "lora_alpha": 8, "target_modules": list(TARGETS)}),
        ("llama with biases", {"r": 3, "lora_alpha": 5, "target_modules": ["k_proj", "up_proj"]}),
        (
            "mistral",
            {"r": 5, "lora_alpha": 5, "target_modules": ["down_proj"], "layers_to_transform": [1]},
        ),
        ("qwen2", {"r": 8, "lora_alpha": 8, "target_modules": ["o_proj"], "use_rslora": True}),
        ("qwen3", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}),
    ],
)
def test_logits_equal_those_of_peft(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    held, model = family(name)
    tokens = random_tokens(20, 97)
    with torch.inference_mode():
        bare = model(torch.tensor([tokens])).logits[0]
        expected = train_like(model, tmp_path, **settings)(torch.tensor([tokens])).logits[0]
    backend = open_torch_backend(held, "float32")
    adapter = load_adapter(tmp_path)
    assert adapter.rank == settings["r"]
    rows, reads = Rows.sequence(tokens, 0), list(range(20))
    ours = backend.forward(rows, [backend.new_cache(20)], reads, adapter, 1)
    assert (expected - bare).abs().max() > 0.5
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.model
def test_the_real_model_with_an_adapter_equals_peft(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(resolve("smollm2-135m"))
    tokens = random_tokens(16, checkpoint.config["vocab_size"])
    settings = {"r": 16, "lora_alpha": 8, "target_modules": list(TARGETS), "strength": 0.25}
    with torch.inference_mode():
        expected = train_like(llama_of(checkpoint), tmp_path, **settings)(
            torch.tensor([tokens])
        ).logits[0]
    backend = open_torch_backend(checkpoint, "float32")
    rows, reads = Rows.sequence(tokens, 0), list(range(16))
    cache = backend.new_cache(16)
    ours = backend.forward(rows, [cache], reads, load_adapter(tmp_path), 1)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    cache.truncate(0)
    bare = backend.forward(rows, [cache], reads, None, 1)
    assert (ours - bare).abs().max() > 1.0


def test_the_key_follows_the_content(folder: Path) -> None:
    first, again = load_adapter(folder), load_adapter(folder)
    assert first.key == again.key and len(first.key) == 64
    edit(folder, lora_alpha=9)
    assert load_adapter(folder).key != first.key
    edit(folder, lora_alpha=8)
    tensors = load_file(folder / WEIGHTS_NAME)
    tensors[A_HALF][0, 0] += 1e-3
    save_file(tensors, folder / WEIGHTS_NAME)
    assert load_adapter(folder).key != first.key


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3'"),
        ({"use_dora": True}, "use_dora True"),
        ({"bias": "all"}, "bias 'all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa'"),
        ({"something_new": 3}, "something_new 3"),
        ({"r": 0}, "r 0"),
        ({"r": 5}, "not rank 5"),
        ({"lora_alpha": "much"}, "lora_alpha 'much'"),
        ({"lora_alpha": 10**400}, "lora_alpha 1000"),
        ({"lora_alpha": float("nan")}, "lora_alpha nan"),
        ({"use_rslora": "no"}, "use_rslora 'no'"),
    ],
)
def test_settings_that_would_change_the_result_are_refused(
    folder: Path, changes: dict[str, Any], named: str
) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelFileError, match=named) as caught:
        load_adapter(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_changes_of_other_matrices_and_lost_halves_are_refused(folder: Path) -> None:
    path = folder / WEIGHTS_NAME
    tensors = load_file(path)
    save_file({**tensors, "base_model.model.lm_head.lora_A.weight": torch.ones(4, 48)}, path)
    with pytest.raises(ModelFileError, match="lm_head"):
        load_adapter(folder)
    save_file({name: value for name, value in tensors.items() if name != A_HALF}, path)
    with pytest.raises(ModelFileError, match="one half of q_proj in layer 0"):
        load_adapter(folder)
    save_file({**tensors, A_HALF: tensors[A_HALF] * float("inf")}, path)
    with pytest.raises(ModelFileError, match="infinite"):
        load_adapter(folder)
    save_file({}, path)
    with pytest.raises(ModelFileError, match="no changes"):
        load_adapter(folder)
    path.write_bytes(b"not safetensors")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_adapter(folder)


def test_a_folder_without_a_readable_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=CONFIG_NAME):
        load_adapter(tmp_path)
    for content in ("[]", "{"):
        (tmp_path / CONFIG_NAME).write_text(content)
        with pytest.raises(ModelFileError, match=CONFIG_NAME):
            load_adapter(tmp_path)


def test_an_adapter_of_another_model_is_refused(folder: Path) -> None:
    adapter = load_adapter(folder)
    held, _ = family("qwen3")
    backend = open_torch_backend(held, "float32")
    with pytest.raises(ModelFileError, match="q_proj is for a matrix of 48 by 48"):
        backend.forward(Rows.sequence([1], 0), [backend.new_cache(1)], [0], adapter, 1)
    deep = Adapter("deep", 4, 1.0, {(7, "q_proj"): adapter.pairs[0, "q_proj"]})
    with pytest.raises(ModelFileError, match="layer 7"):
        deep.check_fits(DecoderConfig.read(held.config, held.source))
