"""Other architectures behind the same interface: chunks, branches and batches change nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llm_core.backend import Rows, open_backend
from llm_core.errors import ModelError, ModelFileError
from llm_core.models.deltas import Adapter
from llm_core.settings import Settings
from llm_core.transformers_backend import TransformersBackend, open_transformers_backend
from tests.llm_core.models.decoders import random_tokens

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
KINDS: dict[str, dict[str, Any]] = {
    "learned positions": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4,
                          "n_positions": 64, "vocab_size": 60, "initializer_range": 0.4},
    "parallel blocks": {**SMALL, "model_type": "gpt_neox"},
    "experts": {**SMALL, "model_type": "mixtral", "num_local_experts": 2, "sliding_window": None},
    "sliding layers": {**SMALL, "model_type": "gemma3_text", "sliding_window": 5,
                       "layer_types": ["sliding_attention", "full_attention"]},
}  # fmt: skip


def saved(folder: Path, settings: dict[str, Any]) -> Any:
    """A random model of transformers, written to `folder`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings), dtype=torch.float32)
    model.save_pretrained(folder)
    return model.train(False)


def whole(model: Any, tokens: list[int]) -> Tensor:
    with torch.inference_mode():
        return model(torch.tensor([tokens]), use_cache=False).logits[0]


def close(a: Tensor, b: Tensor) -> None:
    assert b.std() > 0.1
    torch.testing.assert_close(a, b, atol=2e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_branches_and_batches_equal_one_pass(kind: str, tmp_path: Path) -> None:
    model = saved(tmp_path, KINDS[kind])
    backend = open_backend(tmp_path, Settings(dtype="float32", device="cpu"))
    assert isinstance(backend, TransformersBackend)
    assert (backend.vocabulary, backend.window, backend.invariant) == (60, 64, False)
    assert backend.column_bytes == 2 * 2 * (32 if "n_embd" in KINDS[kind] else 16) * 4 * (
        2 if kind == "parallel blocks" else 1
    )
    text, one, two = (random_tokens(size, 60, size) for size in (11, 4, 6))
    cache = backend.new_cache(30)
    backend.forward(Rows.sequence(text[:6], 0), [cache], [], None, 1)
    logits = backend.forward(Rows.sequence(text[6:], 6), [cache], [4, 0], None, 1)
    close(logits, whole(model, text)[[10, 6]])
    branches = Rows(
        tokens=one + two,
        positions=[*range(11, 15), *range(11, 17)],
        slots=[0] * 10,
        columns=list(range(11, 21)),
        prefixes=[11] * 10,
        starts=[11] * 4 + [15] * 6,
    )
    logits = backend.forward(branches, [cache], [9, 3, 4], None, 1)
    expected = whole(model, text + two)
    close(logits, torch.stack([expected[16], whole(model, text + one)[14], expected[11]]))
    cache.truncate(11)
    other = backend.new_cache(30)
    other.write(cache.read(0, 8), 8)
    batch = Rows([5, 7], [8, 11], [1, 0], [8, 11], [0, 0], [0, 0])
    logits = backend.forward(batch, [cache, other], [0, 1], None, 1)
    close(logits, torch.stack([whole(model, [*text[:8], 5])[8], whole(model, [*text, 7])[11]]))


def refusal(folder: Path, **changes: Any) -> str:
    saved(folder, {**SMALL, **changes})
    with pytest.raises(ModelFileError) as caught:
        open_transformers_backend(folder, "float32")
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_models_without_a_cache_that_can_be_cut_are_refused(tmp_path: Path) -> None:
    for name in ("dynamic", "recurrent", "encoder", "hybrid"):
        (tmp_path / name).mkdir()
    scaling = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    dynamic = refusal(tmp_path / "dynamic", model_type="llama", rope_parameters=scaling)
    assert "dynamic scaling" in dynamic
    recurrent = {"model_type": "mamba", "state_size": 4, "expand": 1, "time_step_rank": 2}
    assert "mamba" in refusal(tmp_path / "recurrent", **recurrent)
    assert "writes none" in refusal(tmp_path / "encoder", model_type="bert")
    hybrid = {"model_type": "lfm2", "layer_types": ["conv", "full_attention"]}
    assert "conv layers" in refusal(tmp_path / "hybrid", **hybrid)


def test_the_default_settings_hand_other_tensor_names_to_transformers(tmp_path: Path) -> None:
    saved(tmp_path, KINDS["learned positions"])
    backend = open_backend(tmp_path, Settings(device="cpu", cache_dir=tmp_path))
    assert backend.name == "transformers bfloat16"


def test_damage_and_adapters_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"config\.json"):
        open_transformers_backend(tmp_path)
    saved(tmp_path, KINDS["learned positions"])
    backend: TransformersBackend = open_transformers_backend(tmp_path)
    assert backend.name == "transformers bfloat16"
    with pytest.raises(ModelError, match="does not run adapters"):
        adapter = Adapter("key", 1, 1.0, {})
        backend.forward(Rows.sequence([1], 0), [backend.new_cache(1)], [0], adapter, 1)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if "ln_f" not in k}, weights, {"format": "pt"})
    with pytest.raises(ModelFileError, match=r"lacks 2 weights, such as transformer\.ln_f"):
        open_transformers_backend(tmp_path)
    weights.write_bytes(b"damaged")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        open_transformers_backend(tmp_path)
    weights.unlink()
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        open_transformers_backend(tmp_path)
