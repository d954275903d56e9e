"""Writing safetensors, and hostile ones."""

import json
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_core.checkpoint import open_checkpoint
from llm_core.errors import ModelError, ModelFileError
from llm_core.formats.safetensors_write import FloatPart, write_safetensors


def part(name: str, values: np.ndarray) -> FloatPart:
    return FloatPart(name, "F32", values.shape, lambda: values.reshape(-1).view(np.uint8))


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    values = {
        "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
        "vector": np.ones(5, np.float32),
        "scalar": np.full((), 7, np.float32),
        "ไทย": np.zeros((2, 0), np.float32),
    }
    path = tmp_path / "x.safetensors"
    write_safetensors(path, [part(name, array) for name, array in values.items()])
    read = load_file(path)
    assert read.keys() == values.keys()
    for name, array in values.items():
        assert torch.equal(read[name], torch.from_numpy(array)), name
    length = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert length % 8 == 0 and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written"):
        write_safetensors(tmp_path / "none" / "x.safetensors", [])


EXTREMES = (0, 1, 2**31, 2**32, 2**63 - 1, 2**64 - 1)
SPOILED = (
    "-1",
    "1e99",
    "99999999999999999999",
    "null",
    '"F64"',
    "[]",
    "{}",
    "18446744073709551615",
)


def mutate(data: bytes, begin: int, pick: random.Random) -> bytes:
    changed = bytearray(data)
    at = pick.randrange(begin)
    match pick.randrange(5):
        case 0:
            changed[at] ^= 1 << pick.randrange(8)
        case 1:
            changed[:8] = struct.pack("<Q", pick.choice(EXTREMES))
        case 2:
            del changed[pick.randrange(len(changed)) :]
        case 3:
            del changed[at : at + pick.choice((1, 7, 60))]
        case 4:  # a number in the header becomes something else, the rest stays valid
            text = data[8:begin].decode()
            digits = [n for n, letter in enumerate(text) if letter.isdecimal()]
            n = pick.choice(digits)
            new = (text[:n] + pick.choice(SPOILED) + text[n + 1 :]).encode()
            changed = bytearray(struct.pack("<Q", len(new)) + new + data[begin:])
    return bytes(changed)


def test_damaged_files_raise_one_error(tmp_path: Path) -> None:
    weights = {f"model.layers.{n}.attention.weight": torch.rand(4, 8) for n in range(6)}
    save_file({**weights, "n": torch.arange(9)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({}))
    data = (tmp_path / "model.safetensors").read_bytes()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    pick, outcomes = random.Random(4), {"read": 0, "refused": 0}
    for _ in range(500):
        (tmp_path / "model.safetensors").unlink()
        (tmp_path / "model.safetensors").write_bytes(mutate(data, begin, pick))
        try:
            checkpoint = open_checkpoint(tmp_path)
            for name in checkpoint.names:
                assert tuple(checkpoint.tensor(name).shape) == checkpoint.shape(name)
                checkpoint.kind(name)
            outcomes["read"] += 1
        except ModelFileError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert outcomes["refused"] > 300 and outcomes["read"] > 20
