"""One view of a model: the same names, rows and values from GGUF and from safetensors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quantize
from safetensors.torch import save_file
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from llm_core.checkpoint import INDEX, open_checkpoint
from llm_core.errors import ModelFileError
from llm_core.formats.quants import dequantise
from tests.tiny_models import edit_json, write_gguf

QUERY = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a tiny model in safetensors, two tensors and a config."""
    weights = {
        "a": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
        "b": torch.ones(4, dtype=torch.float16),
    }
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return tmp_path


@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_gives_the_tensors_that_transformers_reads(tmp_path: Path, tied: bool) -> None:
    source = write_gguf(tmp_path / "tiny.gguf", tied=tied)
    ours = open_checkpoint(source)
    model = LlamaForCausalLM(LlamaConfig(**ours.config))
    theirs = load_gguf_checkpoint(str(source), return_tensors=True, model_to_load=model)
    assert ours.names == theirs["tensors"].keys()
    assert ("lm_head.weight" in ours.names) is not tied
    for name, tensor in theirs["tensors"].items():
        assert torch.equal(ours.tensor(name), tensor), name
        assert ours.shape(name) == tuple(tensor.shape)


def test_blocks_are_the_stored_bytes_in_hugging_face_row_order(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_gguf(tmp_path / "tiny.gguf"))
    for name in checkpoint.names:
        blocks = checkpoint.blocks(name)
        if name.endswith("norm.weight"):
            assert blocks is None and checkpoint.kind(name) == "F32"
            continue
        assert blocks is not None and blocks.kind == checkpoint.kind(name) == "Q8_0"
        assert blocks.columns == checkpoint.shape(name)[1]
        values = checkpoint.tensor(name).numpy()
        assert np.array_equal(dequantise(blocks.rows, blocks.kind), values), name
        # Requantising exact multiples of the scale gives the stored bytes back.
        assert np.array_equal(quantize(values, GGMLQuantizationType.Q8_0), blocks.rows), name


def test_a_tensor_can_be_written_to_without_changing_the_file(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "tiny.gguf")
    before = source.read_bytes()
    open_checkpoint(source).tensor("model.norm.weight").fill_(7)
    assert source.read_bytes() == before


def test_a_folder_with_a_gguf_file_uses_the_config_beside_it(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf")
    described = open_checkpoint(tmp_path / "model.gguf").config
    (tmp_path / "config.json").write_text(json.dumps({**described, "note": "mine"}))
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.config["note"] == "mine" and QUERY in checkpoint.names
    edit_json(tmp_path / "config.json", num_attention_heads=8)
    with pytest.raises(ModelFileError, match=r"num_attention_heads 4, and config.json .* 8"):
        open_checkpoint(tmp_path)


def test_safetensors_are_read_as_stored(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    assert checkpoint.names == {"a", "b"} and checkpoint.config == {"model_type": "llama"}
    assert checkpoint.tensor("a").dtype == torch.bfloat16
    assert checkpoint.tensor("a").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (checkpoint.kind("a"), checkpoint.shape("a")) == ("BF16", (2, 3))
    assert (checkpoint.kind("b"), checkpoint.shape("b")) == ("F16", (4,))
    assert checkpoint.blocks("a") is None


def test_several_files_are_one_checkpoint(folder: Path) -> None:
    save_file({"c": torch.zeros(1)}, folder / "more.safetensors")
    assert open_checkpoint(folder).names == {"a", "b", "c"}
    (folder / INDEX).write_text(json.dumps({"weight_map": {"c": "more.safetensors"}}))
    assert open_checkpoint(folder).names == {"c"}


def test_a_tensor_in_two_files_is_refused(folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "more.safetensors")
    with pytest.raises(ModelFileError, match="holds the tensor a, as a file before it"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/x.safetensors", "pytorch_model.bin"])
def test_an_index_names_only_safetensors_beside_it(folder: Path, name: str) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelFileError, match="not a file beside it"):
        open_checkpoint(folder)


@pytest.mark.parametrize("keep", [0, 4, 30, -1])
def test_a_cut_safetensors_file_is_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match=r"model\.safetensors is damaged"):
        open_checkpoint(folder)


def test_a_missing_tensor_and_a_missing_config_are_named(folder: Path) -> None:
    for ask in (open_checkpoint(folder).tensor, open_checkpoint(folder).blocks):
        with pytest.raises(ModelFileError, match="has no tensor z"):
            ask("z")
    (folder / "config.json").unlink()
    with pytest.raises(ModelFileError, match=r"config\.json cannot be read"):
        open_checkpoint(folder)


@pytest.mark.model
def test_the_default_model_has_the_shape_its_config_says() -> None:
    from llm_core.loading import resolve

    checkpoint = open_checkpoint(resolve("smollm2-135m"))
    heads = checkpoint.config["num_attention_heads"] * checkpoint.config["head_dim"]
    assert checkpoint.shape(QUERY) == (heads, checkpoint.config["hidden_size"])
    assert len(checkpoint.names) == 9 * checkpoint.config["num_hidden_layers"] + 2
