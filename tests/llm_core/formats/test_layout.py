"""What a GGUF file says of its model is checked before anything is built from it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_core.errors import ModelFileError
from llm_core.formats.gguf import GGUFFile
from llm_core.formats.gguf_write import Encoded, Part, write_gguf
from llm_core.formats.layout import Keys, hub_name, read_config
from llm_core.formats.rope import llama3_factors
from llm_core.formats.vocabulary import read_tokenizer
from tests.tiny_models import HEADS, WIDTH
from tests.tiny_models import write_gguf as write_tiny

HEAD = WIDTH // HEADS


def rewritten(
    folder: Path, changes: dict[str, Any], factors: np.ndarray | None = None, drop: str = ""
) -> GGUFFile:
    """The tiny model with other metadata; None takes a key away."""
    source = GGUFFile(write_tiny(folder / "tiny.gguf"))
    values: dict[str, Any] = {key: Encoded(source.encoded(key)) for key in source} | changes
    values = {key: value for key, value in values.items() if value is not None}
    parts = [
        Part(name, info.kind.name, info.shape, lambda name=name: source.raw(name))
        for name, info in source.tensors.items()
        if name != drop
    ]
    if factors is not None:
        rows = factors.astype(np.float32).reshape(1, -1).view(np.uint8)
        parts.append(Part("rope_freqs.weight", "F32", factors.shape, lambda: rows))
    write_gguf(folder / "odd.gguf", values, parts)
    return GGUFFile(folder / "odd.gguf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general.architecture": None}, "lacks the GGUF key general.architecture"),
        ({"general.architecture": ["a", "b"]}, "known: llama, qwen2, qwen3"),
        ({"split.count": 3}, "one part of a split file"),
        ({"llama.embedding_length": None}, "lacks the GGUF key llama.embedding_length"),
        ({"llama.embedding_length": 65}, r"should hold the tensor .* of shape \(266, 65\)"),
        ({"llama.attention.head_count": 0}, "head_count 0, not a positive number"),
        ({"llama.attention.head_count": -4}, "head_count -4, not a positive number"),
        ({"llama.attention.head_count": [4, 4]}, r"head_count \[4, 4\], not a positive"),
        ({"llama.attention.head_count": True}, "head_count True, not a positive"),
        ({"llama.attention.head_count_kv": 3}, "4 attention heads do not share 3 key-value heads"),
        ({"llama.attention.head_count_kv": 4}, r"should hold the tensor .*k_proj"),
        ({"llama.attention.key_length": 17, "llama.attention.value_length": 17}, "an odd one"),
        ({"llama.attention.value_length": 8}, "another size for values"),
        ({"llama.rope.dimension_count": 8}, "turns only a part of each head"),
        ({"llama.block_count": 2**31 - 1}, "announces 2147483647 layers and holds 20 tensors"),
        ({"llama.block_count": 3}, r"should hold the tensor model\.layers\.2\."),
        ({"llama.block_count": 1}, r"holds the tensor model\.layers\.1\..*does not have"),
        ({"llama.attention.layer_norm_rms_epsilon": math.nan}, "epsilon nan, not a positive"),
        ({"llama.attention.layer_norm_rms_epsilon": "x"}, "epsilon 'x', not a positive"),
        ({"llama.rope.freq_base": math.inf}, "freq_base inf, not a positive"),
        ({"llama.rope.scaling.type": "longrope"}, "in the way 'longrope'; known: linear, yarn"),
        ({"llama.rope.scaling.type": "linear"}, "lacks the GGUF key llama.rope.scaling.factor"),
        (
            {
                "llama.rope.scaling.type": "linear",
                "llama.rope.scaling.factor": 2.0,
                "llama.rope.scaling.attn_factor": 0.5,
            },
            "rope.scaling.attn_factor, which is not known",
        ),
        ({"tokenizer.ggml.tokens": None}, "lacks the list tokenizer.ggml.tokens"),
        ({"tokenizer.ggml.eos_token_id": 266}, "eos_token_id 266, and its vocabulary has 266"),
        ({"tokenizer.ggml.bos_token_id": "x"}, "bos_token_id 'x', and its vocabulary"),
    ],
)
def test_a_shape_that_makes_no_model_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        read_config(rewritten(tmp_path, changes))
    assert "odd.gguf" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["blk.0.attn_k.weight", "output_norm.weight", "blk.1.ffn_up.weight"]
)
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match=f"{hub_name(name)} .* and has none"):
        read_config(rewritten(tmp_path, {}, drop=name))


@pytest.mark.parametrize(
    "name",
    [
        *("blk.x.attn_q.weight", "blk.01.attn_q.weight", "blk.٣.attn_q.weight"),
        *("blk.0.attn_q.scale", "blk.0.ffn_gate_exps.weight", "a", ""),
        "blk." + "9" * 5000 + ".attn_q.weight",
    ],
)
def test_other_names_have_no_counterpart(name: str) -> None:
    assert hub_name(name) is None


def test_llama_3_positions_are_found_again_from_their_factors(tmp_path: Path) -> None:
    numbers = {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    factors = llama3_factors(numbers, 5e4, HEAD)
    assert factors.min() == 1.0 and factors.max() == 8.0 and len(set(factors)) > 2
    base = {"llama.rope.freq_base": 5e4}
    found = read_config(rewritten(tmp_path, base, factors))["rope_parameters"]
    assert found == {"rope_type": "llama3", "rope_theta": 5e4, **numbers}
    with pytest.raises(ModelFileError, match="otherwise than Llama 3 does"):
        read_config(rewritten(tmp_path, base, factors * 1.01))
    with pytest.raises(ModelFileError, match="otherwise than Llama 3 does"):
        read_config(rewritten(tmp_path, base, np.full(HEAD // 2, math.nan)))
    with pytest.raises(ModelFileError, match="scales its rotary positions twice"):
        read_config(rewritten(tmp_path, {"llama.rope.scaling.type": "linear"}, factors))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer.ggml.model": "bert"}, "model 'bert'; known: gpt2, llama"),
        ({"tokenizer.ggml.pre": "tekken"}, "pre 'tekken'; known: smollm, gpt-2"),
        ({"tokenizer.ggml.tokens": ["a"] * 266}, "the same token twice"),
        ({"tokenizer.ggml.tokens": [1, 2, 3]}, r"tokens \[1, 2, 3\], not a list of strings"),
        ({"tokenizer.ggml.merges": ["h e", "x"]}, "merges that is not two tokens"),
        ({"tokenizer.ggml.merges": ["no where"]}, "a tokenizer that cannot be built"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "2 entries in tokenizer.ggml.token_type"),
        ({"tokenizer.ggml.merges": 5}, "merges 5, not a list of str"),
    ],
)
def test_a_tokenizer_that_cannot_be_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_tokenizer(Keys(rewritten(tmp_path, changes)))
