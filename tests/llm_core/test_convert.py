"""GGUF files as folders, against transformers' own reader and a second forward pass."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from llm_core.checkpoint import open_checkpoint
from llm_core.convert import convert, convert_gguf
from llm_core.errors import ModelFileError
from llm_core.loading import resolve
from tests.tiny_models import HEADS, KV_HEADS, LAYERS, TEMPLATE, WIDTH, vocabulary, write_gguf


def converted(source: Path, target: Path) -> Path:
    convert(source, target)
    return target


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    source = write_gguf(folder / "tiny.gguf")
    return source, converted(source, folder / "converted")


@pytest.mark.parametrize("tied", [True, False])
def test_weights_equal_those_transformers_reads(tmp_path: Path, tied: bool) -> None:
    source = write_gguf(tmp_path / "tiny.gguf", tied=tied)
    folder = converted(source, tmp_path / "converted")
    model = LlamaForCausalLM.from_pretrained(folder)
    theirs = load_gguf_checkpoint(str(source), return_tensors=True, model_to_load=model)
    ours = load_file(folder / "model.safetensors")
    assert ours.keys() == theirs["tensors"].keys()
    assert ("lm_head.weight" in ours) is not tied
    for name, tensor in theirs["tensors"].items():
        assert torch.equal(ours[name], tensor.to(torch.bfloat16)), name


def rotate_pairs(x: np.ndarray, theta: float) -> np.ndarray:
    """Rotary positions as GGUF means them: neighbours (2i, 2i + 1) turn together. (T, H, D)"""
    length, _, size = x.shape
    speed = theta ** (-np.arange(0, size, 2) / size)
    angle = np.arange(length)[:, None, None] * speed  # (T, 1, D / 2)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = np.empty_like(x)
    turned[..., 0::2] = even * np.cos(angle) - odd * np.sin(angle)
    turned[..., 1::2] = even * np.sin(angle) + odd * np.cos(angle)
    return turned


def gguf_logits(source: Path, ids: list[int]) -> np.ndarray:
    """A llama forward pass in numpy over the tensors as the GGUF file stores them."""
    w = {
        t.name: dequantize(t.data, t.tensor_type).astype(float) for t in GGUFReader(source).tensors
    }

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[name]

    length, size = len(ids), WIDTH // HEADS
    x = w["token_embd.weight"][ids]
    future = np.triu(np.full((length, length), -np.inf), 1)
    for layer in range(LAYERS):
        b = f"blk.{layer}."
        h = norm(x, b + "attn_norm.weight")
        q = rotate_pairs((h @ w[b + "attn_q.weight"].T).reshape(length, HEADS, size), 1e5)
        k = rotate_pairs((h @ w[b + "attn_k.weight"].T).reshape(length, KV_HEADS, size), 1e5)
        v = (h @ w[b + "attn_v.weight"].T).reshape(length, KV_HEADS, size)
        k, v = (np.repeat(part, HEADS // KV_HEADS, axis=1) for part in (k, v))
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(size) + future
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        y = np.einsum("hts,shd->thd", share, v).reshape(length, WIDTH)
        x = x + y @ w[b + "attn_output.weight"].T
        h = norm(x, b + "ffn_norm.weight")
        gate = h @ w[b + "ffn_gate.weight"].T
        up = h @ w[b + "ffn_up.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[b + "ffn_down.weight"].T
    return norm(x, "output_norm.weight") @ w["token_embd.weight"].T


def test_logits_equal_a_forward_pass_over_the_file_itself(tiny: tuple[Path, Path]) -> None:
    source, folder = tiny
    ids = [1, 40, 7, 41, 200, 90, 12, 3, 77]
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        ours = model(torch.tensor([ids])).logits[0].numpy()
    theirs = gguf_logits(source, ids)
    # The converted weights are rounded to bfloat16: a relative error of 2 ** -9 each.
    assert np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max()


def test_text_survives_the_tokenizer(tiny: tuple[Path, Path]) -> None:
    tokenizer = Tokenizer.from_file(str(tiny[1] / "tokenizer.json"))
    for text in ("hello world 1912", "ภาษาไทย “é” 😀\n\n\tx = 3.14", ""):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_tokenizer_merges_words_and_splits_digits(tiny: tuple[Path, Path]) -> None:
    tokenizer = Tokenizer.from_file(str(tiny[1] / "tokenizer.json"))
    assert tokenizer.encode("hell wor").tokens == ["hell", "Ġwor"]
    assert tokenizer.encode("12").tokens == ["1", "2"]
    assert tokenizer.encode("<|im_start|>he").tokens == ["<|im_start|>", "he"]


def test_gpt2_pre_tokenizer_keeps_numbers_whole(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "tiny.gguf", pre="gpt-2")
    folder = converted(source, tmp_path / "converted")
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode("12").tokens == ["12"]


def test_special_tokens_and_chat_template_come_along(tiny: tuple[Path, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny[1])
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (tokenizer.unk_token, tokenizer.pad_token) == ("<|endoftext|>", "<|im_end|>")
    assert tokenizer.chat_template == TEMPLATE
    assert len(tokenizer) == len(vocabulary())
    generation = json.loads((tiny[1] / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


def test_configuration_reads_back_as_written(tiny: tuple[Path, Path]) -> None:
    config = LlamaForCausalLM.from_pretrained(tiny[1]).config
    assert config.rope_parameters["rope_theta"] == 100000.0
    assert (config.rms_norm_eps, config.max_position_embeddings) == (1e-5, 128)
    assert (config.num_attention_heads, config.num_key_value_heads) == (HEADS, KV_HEADS)
    assert config.tie_word_embeddings is True


def test_conversion_gives_the_same_bytes_twice(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    again = converted(tiny[0], tmp_path / "again")
    for file in tiny[1].iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "bloom"}, "general.architecture 'bloom'; known: llama"),
        ({"pre": "tekken"}, "tokenizer.ggml.pre 'tekken'; known: smollm, gpt-2"),
        ({"extra_tensor": "rope_freqs.weight"}, "scales its rotary positions"),
        ({"extra_tensor": "blk.0.attn_q.bias"}, "the tensor model.layers.0.self_attn.k_proj.bias"),
    ],
)
def test_what_cannot_be_converted_is_named(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    source = write_gguf(tmp_path / "odd.gguf", **options)  # type: ignore[arg-type]  # strings only
    with pytest.raises(ModelFileError) as caught:
        convert(source, tmp_path / "target")
    assert message in str(caught.value) and "odd.gguf" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 3, 100, 5000, -100])
def test_a_cut_file_is_refused(tmp_path: Path, tiny: tuple[Path, Path], keep: int) -> None:
    source = tmp_path / "cut.gguf"
    source.write_bytes(tiny[0].read_bytes()[:keep])
    for write in (convert, convert_gguf):
        with pytest.raises(ModelFileError, match=r"cut\.gguf"):
            write(source, tmp_path / "target")
    assert list(tmp_path.iterdir()) == [source]


def test_a_folder_around_a_gguf_file_describes_the_same_model(
    tiny: tuple[Path, Path], tmp_path: Path
) -> None:
    convert_gguf(tiny[0], tmp_path)
    assert (tmp_path / "model.gguf").samefile(tiny[0])
    for file in tiny[1].glob("*.json"):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name
    weights = load_file(tiny[1] / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.names == weights.keys()
    for name, tensor in weights.items():
        assert torch.equal(checkpoint.tensor(name).to(torch.bfloat16), tensor), name


@pytest.mark.model
def test_the_default_chat_model_completes_a_fact(tmp_path: Path) -> None:
    convert(resolve("smollm2-135m"), tmp_path / "floats")
    tokenizer = Tokenizer.from_file(str(tmp_path / "floats" / "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(tmp_path / "floats", dtype=torch.bfloat16)
    ids = torch.tensor([tokenizer.encode("The capital of France is").ids])
    with torch.no_grad():
        best = int(model(ids).logits[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"
