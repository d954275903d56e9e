"""The files that the benchmark makes for contenders hold the same model."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from llm_core.bench.files import RivalFiles, main_kind, random_adapter, write_floats
from llm_core.checkpoint import open_checkpoint
from llm_core.convert import quantise_model


def test_floats_are_the_stored_weights_in_another_width(tiny_folder: Path, tmp_path: Path) -> None:
    wide = write_floats(tiny_folder, tmp_path / "wide", "float32")
    stored, written = open_checkpoint(tiny_folder), open_checkpoint(wide)
    assert written.names == stored.names
    for name in stored.names:
        assert written.kind(name) == "F32"
        assert torch.equal(written.tensor(name), stored.tensor(name).float())
    assert json.loads((wide / "config.json").read_text())["dtype"] == "float32"
    assert (wide / "tokenizer.json").is_file()


def test_weights_in_the_right_format_are_not_copied(tiny_folder: Path, tmp_path: Path) -> None:
    files = RivalFiles(tiny_folder, tmp_path, lambda _: None)
    assert files.floats("bfloat16") == tiny_folder
    assert files.floats("float32") == files.floats("float32") == tmp_path / "float32"


def test_llama_cpp_is_left_out_where_there_is_no_gguf_file(
    tiny_folder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    files = RivalFiles(tiny_folder, tmp_path, said.append)
    assert files.llama(("stored",), 1, 256, "/no/such/python") == []
    assert "holds no model.gguf" in said[0]


def test_the_main_kind_is_that_of_most_values(tiny_folder: Path, tmp_path: Path) -> None:
    assert main_kind(tiny_folder) == "BF16"
    quantise_model(tiny_folder, tmp_path / "small", "Q8_0")
    assert main_kind(tmp_path / "small") == "Q8_0"


def test_the_adapter_has_peft_s_layout_on_every_projection(
    tiny_folder: Path, tmp_path: Path
) -> None:
    folder = random_adapter(tiny_folder, tmp_path / "adapter", rank=4)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert len(tensors) == 2 * 7 * 2  # two layers, seven projections, A and B
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"]) == ("LORA", 4)
    prefix = "base_model.model.model.layers.1.mlp.down_proj.lora_"
    assert tensors[f"{prefix}A.weight"].shape == (4, 64)
    assert tensors[f"{prefix}B.weight"].shape == (32, 4)
