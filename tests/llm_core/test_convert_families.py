"""Llama, Mistral, Qwen 2 and Qwen 3 from safetensors to GGUF and back, and their tokenizers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from llm_core.checkpoint import open_checkpoint
from llm_core.convert import convert, describe_gguf, quantise_model
from llm_core.errors import ModelFileError
from llm_core.formats.gguf import GGUFFile
from llm_core.formats.vocabulary import PATTERNS
from llm_core.models.config import DecoderConfig
from tests.tiny_models import edit_json, vocabulary, write_gguf

NORM = "model.norm.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
EXTRA = 5  # logits beyond the tokenizer, as real models have
SHAPE: dict[str, Any] = {
    "vocab_size": len(vocabulary()) + EXTRA,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,
    "rms_norm_eps": 1e-5,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
WORD_PIECE = {
    "type": "WordPiece",
    "unk_token": "u",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 9,
    "vocab": {"u": 0},
}
MANY = [  # one more token than there are logits
    {"id": index, "content": f"<{index}>", "special": True, **dict.fromkeys(FLAGS, False)}
    for index in range(len(vocabulary()), len(vocabulary()) + EXTRA + 1)
]
FAMILIES = {
    "llama": LlamaConfig(**SHAPE, tie_word_embeddings=True, head_dim=32),
    "llama with biases": LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True),
    "llama 3": LlamaConfig(**SHAPE, rope_parameters=LLAMA3),
    "llama, linear": LlamaConfig(**SHAPE, rope_parameters=LINEAR),
    "mistral": MistralConfig(**SHAPE, sliding_window=None),
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen2, yarn": Qwen2Config(**SHAPE, rope_parameters=YARN),
    "qwen3": Qwen3Config(**SHAPE, head_dim=32),
}


def model_folder(folder: Path, config: Any, pre: str = "smollm") -> Path:
    """A random model as transformers saves it, with a tokenizer that cuts words like `pre`."""
    folder.mkdir()
    describe_gguf(write_gguf(folder / "t.gguf", pre=pre), folder)
    (folder / "t.gguf").unlink()
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config)
    for name, values in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.uniform_(values, 0.5, 1.5)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_survives_the_way_to_gguf_and_back(tmp_path: Path, family: str) -> None:
    source = model_folder(tmp_path / "source", FAMILIES[family])
    convert(source, tmp_path / "x.gguf")
    convert(tmp_path / "x.gguf", tmp_path / "back", "F32")
    before, middle = open_checkpoint(source), open_checkpoint(tmp_path / "x.gguf")
    after = open_checkpoint(tmp_path / "back")
    assert before.names == middle.names == after.names
    for name in before.names:
        assert torch.equal(before.tensor(name), middle.tensor(name)), name
        assert torch.equal(before.tensor(name), after.tensor(name)), name
    shapes = [DecoderConfig.read(c.config, c.source) for c in (before, middle, after)]
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("family", ["llama", "llama 3", "qwen2", "qwen3"])
def test_transformers_reads_the_written_file_as_the_same_model(tmp_path: Path, family: str) -> None:
    source = model_folder(tmp_path / "source", FAMILIES[family])
    convert(source, tmp_path / "x.gguf")
    model = AutoModelForCausalLM.from_pretrained(source)
    theirs = load_gguf_checkpoint(
        str(tmp_path / "x.gguf"), return_tensors=True, model_to_load=model
    )
    theirs["tensors"].pop("rope_freqs.weight", None)
    ours = open_checkpoint(source)
    for name, tensor in theirs["tensors"].items():
        assert torch.equal(ours.tensor(name), tensor), name
    assert theirs["tensors"].keys() == ours.names
    assert theirs["config"]["vocab_size"] == SHAPE["vocab_size"]
    assert theirs["config"]["num_key_value_heads"] == 2


@pytest.mark.parametrize("pre", ["smollm", "gpt-2", "llama-bpe", "qwen2"])
def test_a_tokenizer_survives_the_way_to_gguf_and_back(tmp_path: Path, pre: str) -> None:
    source = model_folder(tmp_path / "source", FAMILIES["llama"], pre)
    quantise_model(source, tmp_path / "x.gguf", "Q8_0")
    (tmp_path / "back").mkdir()
    describe_gguf(tmp_path / "x.gguf", tmp_path / "back")
    assert GGUFFile(tmp_path / "x.gguf").get("tokenizer.ggml.pre") == pre
    before = json.loads((source / "tokenizer.json").read_text())
    after = json.loads((tmp_path / "back" / "tokenizer.json").read_text())
    filled = {f"[PAD{len(vocabulary()) + n}]": len(vocabulary()) + n for n in range(EXTRA)}
    before["model"]["vocab"] |= filled
    assert after == before
    settings = [
        json.loads((at / "tokenizer_config.json").read_text()) for at in (source, tmp_path / "back")
    ]
    assert settings[0] == settings[1]


def test_the_word_patterns_are_those_of_the_published_tokenizers() -> None:
    assert PATTERNS["qwen2"] == PRETOKENIZE_REGEX
    cut = pre_tokenizers.Split(Regex(PATTERNS["llama-bpe"]), behavior="isolated")
    words = [word for word, _ in cut.pre_tokenize_str("I'LL see 12345 x\n\n  ไทย!?\n end")]
    assert words == [
        "I",
        "'LL",
        " see",
        " ",
        "123",
        "45",
        " x",
        "\n\n",
        " ",
        " ไทย",
        "!?\n",
        " end",
    ]


def test_user_tokens_and_the_start_token_come_along(tmp_path: Path) -> None:
    source = model_folder(tmp_path / "source", FAMILIES["llama"])
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    from tokenizers import AddedToken, processors

    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    tokenizer.save(str(source / "tokenizer.json"))
    convert(source, tmp_path / "x.gguf")
    convert(tmp_path / "x.gguf", tmp_path / "back")
    after = Tokenizer.from_file(str(tmp_path / "back" / "tokenizer.json"))
    encoded = after.encode("hell<tool><|im_end|>")
    assert encoded.tokens == ["<|im_start|>", "hell", "<tool>", "<|im_end|>"]
    assert after.decode(encoded.ids) == "hell<tool>"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "cuts words in a way that has no name there"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "cuts words in a way"),
        ({"model": WORD_PIECE}, "is not byte-level BPE"),
        ({"added_tokens": 3}, "cannot be read as a tokenizer"),
        ({"added_tokens": MANY}, "the token id 271, beyond the 271 of config.json"),
    ],
)
def test_a_tokenizer_that_gguf_cannot_say_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    source = model_folder(tmp_path / "source", FAMILIES["llama"])
    edit_json(source / "tokenizer.json", **changes)
    with pytest.raises(ModelFileError, match=message):
        convert(source, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 200}, r"embed_tokens.weight of shape \(200, 64\) and has \(271, 64\)"),
        ({"model_type": "bert"}, "has model_type 'bert', which the GGUF files"),
        ({"model_type": "mistral", "sliding_window": 16}, "a limited number of tokens"),
        ({"rope_parameters": {**YARN, "attention_factor": 2.0}}, "yarn positions with numbers"),
    ],
)
def test_a_model_that_gguf_cannot_say_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    source = model_folder(tmp_path / "source", FAMILIES["llama"])
    edit_json(source / "config.json", **changes)
    with pytest.raises(ModelFileError, match=message):
        convert(source, tmp_path / "x.gguf")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (NORM, None, f"should hold {NORM} of shape \\(64,\\) and has nothing"),
        (NORM, torch.tensor(1.0), r"of shape \(64,\) and has \(\)"),
        (QUERY, torch.zeros(7, 64), r"of shape \(128, 64\) and has \(7, 64\)"),
        ("model.more.weight", torch.tensor(1.0), "which config.json does not explain"),
    ],
)
def test_weights_that_the_config_does_not_explain_are_not_written(
    tmp_path: Path, name: str, values: torch.Tensor | None, message: str
) -> None:
    source = model_folder(tmp_path / "source", FAMILIES["llama"])
    change_weights(source, {name: values})
    for write in (convert, lambda *paths: quantise_model(*paths, "Q4_1")):
        with pytest.raises(ModelFileError, match=message):
            write(source, tmp_path / "x.gguf")


def test_what_old_folders_repeat_is_left_out(tmp_path: Path) -> None:
    source = model_folder(tmp_path / "source", FAMILIES["qwen2"])
    embedding = load_file(source / "model.safetensors")["model.embed_tokens.weight"]
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_weights(source, {"lm_head.weight": embedding.clone(), buffer: torch.ones(8)})
    quantise_model(source, tmp_path / "target", "Q8_0")
    names = open_checkpoint(tmp_path / "target").names
    assert not names & {"lm_head.weight", buffer} and "model.embed_tokens.weight" in names


def change_weights(folder: Path, changes: dict[str, torch.Tensor | None]) -> None:
    weights = load_file(folder / "model.safetensors")
    for name, values in changes.items():
        weights.pop(name, None)
        if values is not None:
            weights[name] = values
    save_file(weights, folder / "model.safetensors")
