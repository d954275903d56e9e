"""`convert` and `quantize`: what they write, what they refuse, what they print."""

import errno
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_core.checkpoint import open_checkpoint
from llm_core.commands.convert import convert as convert_command
from llm_core.commands.quantize import quantize as quantize_command
from llm_core.convert import convert, quantise_model
from llm_core.errors import ModelError, ModelFileError, ModelNotFoundError
from llm_core.formats.quantise import quantise
from tests.llm_core.tiny import build_tiny
from tests.tiny_models import write_bert, write_gguf

HEAD = "lm_head.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
EMBEDDING = "model.embed_tokens.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "Q4_0"])
def test_matrices_are_quantised_and_what_is_delicate_is_kept(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    quantise_model(folder, tmp_path / "x.gguf", kind)
    before, after = open_checkpoint(folder), open_checkpoint(tmp_path / "x.gguf")
    for name in before.names:
        values = before.tensor(name).float()
        wanted = "F32" if values.ndim == 1 else "Q8_0" if name in (EMBEDDING, HEAD) else kind
        assert after.kind(name) == wanted, name
        blocks = after.blocks(name)
        if blocks is None:
            assert torch.equal(after.tensor(name), values), name
        else:
            assert (blocks.rows == quantise(values.numpy(), wanted)).all(), name


def test_a_quantised_folder_has_the_files_of_its_source(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "small"
    target.mkdir()  # an empty one may be there
    quantise_model(folder, target, "Q4_0")
    kept = {path.name for path in folder.iterdir()} - {"model.safetensors"}
    assert {path.name for path in target.iterdir()} == kept | {"model.gguf"}
    for name in kept:
        assert (target / name).read_bytes() == (folder / name).read_bytes()
    assert open_checkpoint(target).kind(QUERY) == "Q4_0"
    assert target.stat().st_mode & 0o777 == 0o755


def test_weights_that_have_the_type_already_keep_their_bytes(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "x.gguf", tied=False)
    quantise_model(source, tmp_path / "same.gguf", "Q8_0")
    convert(source, tmp_path / "too.gguf")
    before = open_checkpoint(source)
    for path in (tmp_path / "same.gguf", tmp_path / "too.gguf"):
        after = open_checkpoint(path)
        for name in before.names:
            ours, theirs = after.blocks(name), before.blocks(name)
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                assert ours.kind == theirs.kind and (ours.rows == theirs.rows).all()


@pytest.mark.parametrize(
    ("kind", "dtype", "name"),
    [
        ("F32", torch.float32, "float32"),
        ("F16", torch.float16, "float16"),
        ("BF16", torch.bfloat16, "bfloat16"),
        (None, torch.bfloat16, "bfloat16"),
    ],
)
def test_safetensors_are_written_in_the_asked_number_format(
    tmp_path: Path, kind: str | None, dtype: torch.dtype, name: str
) -> None:
    source = write_gguf(tmp_path / "x.gguf")
    convert(source, tmp_path / "floats", kind)
    written = load_file(tmp_path / "floats" / "model.safetensors")
    before = open_checkpoint(source)
    assert written.keys() == before.names
    for key, tensor in written.items():
        assert torch.equal(tensor, before.tensor(key).to(dtype)), key
    assert json.loads((tmp_path / "floats" / "config.json").read_text())["dtype"] == name


def test_an_encoder_changes_its_floats_and_keeps_its_numbers(tmp_path: Path) -> None:
    source = write_bert(tmp_path / "bert")
    weights = load_file(source / "model.safetensors")
    counts = torch.arange(300)[None]
    save_file({**weights, "embeddings.position_ids": counts}, source / "model.safetensors")
    pooling = source / "1_Pooling"
    pooling.mkdir()
    (pooling / "config.json").write_text("{}")
    convert(source, tmp_path / "half", "F16")
    written = load_file(tmp_path / "half" / "model.safetensors")
    assert torch.equal(written.pop("embeddings.position_ids"), counts)
    for name, tensor in written.items():
        assert torch.equal(tensor, weights[name].half()), name
    assert (tmp_path / "half" / "1_Pooling" / "config.json").is_file()


def test_what_cannot_be_quantised_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[QUERY][0, 0] = math.nan
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in folder.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    save_file(weights, broken / "model.safetensors")
    for target in (tmp_path / "x.gguf", tmp_path / "x"):
        with pytest.raises(ModelFileError, match=f"{re.escape(QUERY)} of .* is not finite"):
            quantise_model(broken, target, "Q8_0")
    assert list(tmp_path.iterdir()) == [broken]


@pytest.mark.parametrize("name", ["there.gguf", "there"])
def test_nothing_is_overwritten(folder: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    if target.suffix:
        target.write_bytes(b"mine")
    else:
        target.mkdir()
        (target / "mine").write_bytes(b"")
    for write in (lambda: convert(folder, target), lambda: quantise_model(folder, target, "Q8_0")):
        with pytest.raises(ModelError, match="exists already; remove it"):
            write()
    with pytest.raises(ModelError, match="there is no folder"):
        convert(folder, tmp_path / "nowhere" / name)


def test_a_full_disk_is_said_of_the_target_and_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for target in (tmp_path / "x", tmp_path / "x.gguf"):
        with pytest.raises(ModelError) as caught:
            convert(folder, target)
        assert str(caught.value).startswith(f"{target}")
        assert str(caught.value).endswith("cannot be written (No space left on device)")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_one_works_in_is_not_replaced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for target in (Path(), tmp_path):
        with pytest.raises(ModelError, match="is the folder this runs in"):
            convert(folder, target)


def test_the_commands_print_what_they_wrote(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantize_command(str(folder), tmp_path / "x.gguf", "q4_0")
    convert_command(str(tmp_path / "x.gguf"), tmp_path / "x", "safetensors", "float32")
    first, second = capsys.readouterr().out.splitlines()
    size = (tmp_path / "x.gguf").stat().st_size / 1e6
    assert first.startswith(f"{tmp_path / 'x.gguf'}: {size:.1f} MB, ")
    assert " in Q4_0" in first and " in Q8_0" in first and " in F32)" in first
    count = sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())
    assert f"{count:,} parameters ({count:,} in F32)" in second


def test_the_commands_name_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"--to gguf writes a file that ends with \.gguf"):
        convert_command(str(folder), tmp_path / "x", "gguf", None)
    with pytest.raises(ModelError, match=r"--to safetensors writes a folder, not a \.gguf"):
        convert_command(str(folder), tmp_path / "x.gguf", "safetensors", None)
    with pytest.raises(ModelNotFoundError, match=r"none\.gguf"):
        quantize_command(str(tmp_path / "none.gguf"), tmp_path / "x.gguf")


def test_the_commands_load_nothing_heavy_to_show_their_options() -> None:
    code = (
        "import sys\nimport llm_core.commands.convert, llm_core.commands.quantize\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'tokenizers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
