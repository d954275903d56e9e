"""Reading config.json: what transformers would build, or one line that says why not."""

from pathlib import Path
from typing import Any

import pytest

from llm_core.errors import ModelFileError
from llm_core.models.config import DecoderConfig, UnsupportedModelError

SOURCE = Path("models/some/config.json")
SMALL: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def read(**changes: Any) -> DecoderConfig:
    return DecoderConfig.read({**SMALL, **changes}, SOURCE)


def test_missing_fields_take_the_family_defaults() -> None:
    config = read(num_key_value_heads=None)
    assert config.num_key_value_heads == 4 and config.head_dim == 8
    assert config.rms_norm_eps == 1e-6 and config.rope.theta == 10000.0
    assert not (config.tie_word_embeddings or config.qkv_bias or config.o_bias or config.qk_norm)
    assert config.windows == (None,) * 4


def test_families_differ_in_biases_norms_and_windows() -> None:
    qwen2, qwen3 = read(model_type="qwen2"), read(model_type="qwen3", head_dim=16)
    assert qwen2.qkv_bias and not qwen2.o_bias and not qwen2.qk_norm
    assert qwen3.qk_norm and qwen3.queries == 64 and qwen3.keys == 32
    assert read(attention_bias=True).o_bias
    assert read(model_type="mistral", sliding_window=7).windows == (7,) * 4
    assert read(model_type="mistral", sliding_window=None).windows == (None,) * 4
    some = read(model_type="qwen2", use_sliding_window=True, sliding_window=9, max_window_layers=3)
    assert some.windows == (None, None, None, 9)
    every = read(model_type="qwen3", use_sliding_window=True, sliding_window=9, max_window_layers=0)
    assert every.windows == (9,) * 4


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("fields", [{}, {"sliding_window": None}])
def test_absent_and_empty_fields_mean_what_transformers_makes_of_them(
    kind: str, fields: dict[str, Any]
) -> None:
    from transformers import AutoConfig

    small = {key: value for key, value in SMALL.items() if key != "num_key_value_heads"}
    raw = {**small, "model_type": kind, "num_attention_heads": 32, "hidden_size": 64, **fields}
    raw |= {"use_sliding_window": True, "max_window_layers": 1} if kind.startswith("qwen") else {}
    theirs = AutoConfig.for_model(**raw)
    ours = DecoderConfig.read(raw, SOURCE)
    assert ours.num_key_value_heads == theirs.num_key_value_heads
    window = getattr(theirs, "sliding_window", None)
    kinds = getattr(theirs, "layer_types", None) or ["sliding_attention"] * 4
    assert ours.windows == tuple(window if each[0] == "s" else None for each in kinds)


def test_base_and_scaling_are_found_in_old_and_new_configs() -> None:
    scaling = {"rope_type": "linear", "factor": 2.0}
    old = read(rope_theta=5e5, rope_scaling=scaling)
    new = read(rope_parameters={**scaling, "rope_theta": 5e5})
    assert old.rope == new.rope and old.rope.factor == 2.0 and old.rope.theta == 5e5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "longrope"),
        ({"partial_rotary_factor": 0.5}, "partial"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_what_the_decoder_lacks_is_unsupported_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedModelError, match=named) as caught:
        read(**changes)
    assert str(SOURCE) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"hidden_size": -1}, "hidden_size is -1"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"num_key_value_heads": 3}, "4 attention heads do not share 3"),
        ({"head_dim": 7}, "head_dim 7 is odd"),
        ({"max_position_embeddings": None}, "max_position_embeddings is None"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor is None"),
        ({"rope_scaling": [1]}, "rope_scaling is \\[1\\]"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window is 0"),
        ({"model_type": "qwen2", "use_sliding_window": True, "layer_types": 3}, "layer_types 3"),
        ({"model_type": "qwen2", "use_sliding_window": True, "layer_types": [[]] * 4}, "layer_ty"),
    ],
)
def test_values_that_make_no_model_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelFileError, match=named) as caught:
        read(**changes)
    assert not isinstance(caught.value, UnsupportedModelError)
