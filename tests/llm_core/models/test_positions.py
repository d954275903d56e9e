"""Rotary tables equal those of transformers; rotating keeps lengths and relative angles."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from llm_core.models.config import DecoderConfig
from llm_core.models.positions import Rotation, rotary_tables, sinusoids

SCALINGS: dict[str, dict[str, Any]] = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
    "yarn with its own numbers": {
        "rope_type": "yarn",
        "factor": 4.0,
        "beta_fast": 16.0,
        "beta_slow": 2.0,
        "mscale": 0.7,
        "mscale_all_dim": 1.2,
        "truncate": False,
        "original_max_position_embeddings": 64,
    },
}


def llama(**rope: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        rope_parameters={"rope_theta": 10000.0, **rope},
    )


@pytest.mark.parametrize("name", SCALINGS)
def test_tables_equal_those_of_transformers(name: str) -> None:
    theirs_config = llama(**SCALINGS[name])
    positions = torch.tensor([0, 1, 2, 63, 64, 300, 511])
    cos, sin = LlamaRotaryEmbedding(theirs_config)(torch.zeros(1), positions[None])
    ours = DecoderConfig.read(theirs_config.to_dict(), Path("config.json"))
    our_cos, our_sin = rotary_tables(ours, positions)
    assert our_cos.shape == (7, 16) and our_cos.dtype == torch.float32
    torch.testing.assert_close(our_cos, cos[0, :, :16], atol=1e-5, rtol=0)
    torch.testing.assert_close(our_sin, sin[0, :, :16], atol=1e-5, rtol=0)


def test_products_depend_on_the_distance_alone() -> None:
    config = DecoderConfig.read(llama(rope_type="default").to_dict(), Path("config.json"))
    q, k = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(0))
    near = Rotation.of(config, [5])(q) @ Rotation.of(config, [3])(k).T
    far = Rotation.of(config, [105])(q) @ Rotation.of(config, [103])(k).T
    other = Rotation.of(config, [105])(q) @ Rotation.of(config, [104])(k).T
    assert math.isclose(float(near), float(far), abs_tol=1e-4)
    assert not math.isclose(float(near), float(other), abs_tol=1e-2)
    torch.testing.assert_close(Rotation.of(config, [0])(q), q)


def test_sinusoids_follow_the_formula() -> None:
    table = sinusoids(7, 6)
    assert table.shape == (7, 6)
    for position in range(7):
        for channel in range(6):
            angle = position / 10000.0 ** (channel // 2 * 2 / 6)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert math.isclose(float(table[position, channel]), expected, abs_tol=1e-6)
