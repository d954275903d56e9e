"""Reading and writing GGUF: equal to the gguf package, and one clear line for hostile files."""

import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter, dequantize

from llm_core.checkpoint import open_checkpoint
from llm_core.convert import describe_gguf
from llm_core.errors import ModelError, ModelFileError
from llm_core.formats.gguf import GGUFFile
from llm_core.formats.gguf_write import Encoded, Part, write_gguf
from llm_core.formats.quantise import quantise
from tests.tiny_models import write_gguf as write_tiny

VALUES: dict[str, Any] = {
    "general.architecture": "llama",
    "text": "“é” 😀\n\0",
    "empty": "",
    "yes": True,
    "count": 7,
    "large": 2**40,
    "below": -3,
    "far.below": -(2**40),
    "real": 0.5,
    "strings": ["a", "", "ไทย"],
    "numbers": [3, 1, 2],
    "larger": [2**40, 1],
    "signed": [-1, 5],
    "reals": [0.25, -1.0],
    "truths": [True, False],
}


def matrix(rows: int = 5, columns: int = 64) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_metadata_and_tensors_equal_those_the_reference_reads(tiny: Path) -> None:
    theirs, ours = GGUFReader(tiny), GGUFFile(tiny)
    fields = {k: f for k, f in theirs.fields.items() if not k.startswith("GGUF.")}
    assert list(ours) == list(fields)
    for key, field in fields.items():
        assert ours.get(key) == field.contents(), key
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        info = ours.tensors[tensor.name]
        assert info.kind.name == tensor.tensor_type.name
        assert info.shape == tuple(int(size) for size in tensor.shape)[::-1]
        assert np.array_equal(
            ours.raw(tensor.name).reshape(-1), tensor.data.view(np.uint8).reshape(-1)
        )
        values = dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours.values(tensor.name), values)


def test_the_reference_reads_what_is_written(tmp_path: Path) -> None:
    path, values = tmp_path / "x.gguf", matrix()
    parts = [
        Part(kind.lower(), kind, (5, 64), lambda kind=kind: quantise(values, kind))
        for kind in ("Q8_0", "Q4_1", "Q4_0", "F32", "F16", "BF16")
    ]
    parts.append(Part("vector", "F32", (3,), lambda: np.ones((1, 3), np.float32).view(np.uint8)))
    write_gguf(path, VALUES, parts)
    theirs, ours = GGUFReader(path), GGUFFile(path)
    assert {key: theirs.fields[key].contents() for key in VALUES} == VALUES
    assert {key: ours.get(key) for key in ours} == VALUES
    assert [tensor.name for tensor in theirs.tensors] == [part.name for part in parts]
    for tensor, part in zip(theirs.tensors, parts, strict=True):
        assert np.array_equal(tensor.data.view(np.uint8).reshape(-1), part.load().reshape(-1))
        assert np.array_equal(ours.raw(part.name), part.load())
        assert ours.tensors[part.name].start % 32 == 0
    assert list(tmp_path.iterdir()) == [path], "temporary files were left"


def test_metadata_is_copied_to_the_byte(tiny: Path, tmp_path: Path) -> None:
    source = GGUFFile(tiny)
    write_gguf(tmp_path / "x.gguf", {key: Encoded(source.encoded(key)) for key in source}, [])
    copy = GGUFFile(tmp_path / "x.gguf")
    assert [(key, copy.encoded(key)) for key in copy] == [(k, source.encoded(k)) for k in source]


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    def fails() -> np.ndarray:
        raise ModelFileError("the source is damaged")

    with pytest.raises(ModelFileError, match="damaged"):
        write_gguf(tmp_path / "x.gguf", {}, [Part("a", "F32", (1,), fails)])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ModelError, match="cannot be written"):
        write_gguf(tmp_path / "nowhere" / "x.gguf", {}, [])


def test_version_2_and_another_alignment_are_read(tiny: Path, tmp_path: Path) -> None:
    data = bytearray(tiny.read_bytes())
    data[4:8] = struct.pack("<I", 2)
    (tmp_path / "old.gguf").write_bytes(data)
    assert GGUFFile(tmp_path / "old.gguf").tensors == GGUFFile(tiny).tensors
    writer = GGUFWriter(tmp_path / "wide.gguf", "llama")
    writer.add_custom_alignment(64)
    for name in ("a", "b"):
        writer.add_tensor(name, matrix(1, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    wide = GGUFFile(tmp_path / "wide.gguf")
    assert wide.tensors["b"].start == wide.tensors["a"].start + 64
    assert np.array_equal(wide.values("b"), matrix(1, 3))


def header(*pieces: bytes, tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"".join(pieces)


def text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def tensor(name: bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


NUMBER = struct.pack("<II", 4, 1)
ROOM = bytes(256)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"GGU", "it ends where 4 more bytes should follow"),
        (b"GGML" + ROOM, "does not begin with the letters GGUF"),
        (header(version=1), "version 1, known are 2 and 3"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648"),
        (header(ROOM, keys=2**63), "announces 9223372036854775808 metadata keys"),
        (header(ROOM, tensors=2**40), "announces 1099511627776 tensors"),
        (header(struct.pack("<Q", 2**62), ROOM, keys=1), "a name of 4611686018427387904 bytes"),
        (header(text(b"k"), struct.pack("<IQ", 8, 2**62), ROOM, keys=1), "characters, and"),
        (header(text(b"k"), struct.pack("<I", 99), ROOM, keys=1), "unknown value type 99"),
        (header(text(b"k"), struct.pack("<IIQ", 9, 9, 1), ROOM, keys=1), "which lists cannot hold"),
        (header(text(b"k"), struct.pack("<IIQ", 9, 4, 2**61), ROOM, keys=1), "numbers, and"),
        (header(text(b"k"), struct.pack("<IIQ", 9, 8, 2**61), ROOM, keys=1), "strings, and"),
        (header(text(b"k"), struct.pack("<IIQQ", 9, 8, 1, 2**63), ROOM, keys=1), "reaches beyond"),
        (header(text(b"k"), struct.pack("<IIQ", 9, 8, 9), text(bytes(90)), keys=1), "ends within"),
        (
            header(text(b"k"), struct.pack("<IIQ", 9, 0, 2**22 + 1), bytes(2**22 + 1), keys=1),
            "the list 'k' has 4194305 numbers, more than 4194304",
        ),
        (header(text(b"\xff\xfe"), NUMBER, keys=1), "is not UTF-8"),
        (header(text(b"k"), NUMBER, text(b"k"), NUMBER, keys=2), "the key 'k' twice"),
        (header(tensor(b"t", (1,) * 5), ROOM, tensors=1), "has 5 dimensions"),
        (header(tensor(b"t", ()), ROOM, tensors=1), "has 0 dimensions"),
        (header(tensor(b"t", (0, 4)), ROOM, tensors=1), r"has the shape \(4, 0\)"),
        (header(tensor(b"t", (2**32, 2**32)), ROOM, tensors=1), "has the shape"),
        (header(tensor(b"t", (33,), 8), ROOM, tensors=1), "rows of 33, not whole blocks of Q8_0"),
        (header(tensor(b"t", (32,), 15), ROOM, tensors=1), "number format Q8_K; known: F32"),
        (header(tensor(b"t", (32,), 77), ROOM, tensors=1), "number format 77; known: F32"),
        (header(tensor(b"t", (4,), offset=7), ROOM, tensors=1), "is not aligned"),
        (header(tensor(b"t", (4,), offset=2**63), ROOM, tensors=1), "beyond the end"),
        (header(tensor(b"t", (99,)), bytes(64), tensors=1), "beyond the end"),
        (header(tensor(b"t", (1,)), tensor(b"t", (1,)), ROOM, tensors=2), "tensor 't' twice"),
        (header(tensor(b"t", (9,)), tensor(b"u", (9,)), ROOM, tensors=2), "'t' and 'u' overlap"),
        (
            header(text(b"general.alignment"), struct.pack("<II", 4, 0), ROOM, keys=1),
            "has the alignment 0",
        ),
    ],
)
def test_a_hostile_header_is_refused_in_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=message) as caught:
        GGUFFile(path)
    assert "odd.gguf" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(ModelFileError, match="cannot be read"):
            GGUFFile(path)


EXTREMES = (0, 1, 2, 31, 2**16, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


def mutate(data: bytes, begin_of_weights: int, pick: random.Random) -> bytes:
    """One damaged copy, its damage mostly in the header."""
    changed = bytearray(data)
    for _ in range(pick.choice((1, 1, 1, 2, 5))):
        end = begin_of_weights if pick.random() < 0.9 else len(changed)
        at = pick.randrange(min(end, len(changed) - 8))
        match pick.randrange(7):
            case 0:
                changed[at] ^= 1 << pick.randrange(8)
            case 1:
                changed[at : at + 8] = struct.pack("<Q", pick.choice(EXTREMES))
            case 2:
                changed[at : at + 4] = struct.pack("<I", pick.choice(EXTREMES) % 2**32)
            case 3:
                del changed[at : at + pick.choice((1, 4, 8, 1000))]
            case 4:
                changed[at:at] = pick.randbytes(pick.choice((1, 4, 8, 1000)))
            case 5:
                del changed[max(at, 9) :]
            case 6:
                changed[at : at + 16] = changed[at // 2 : at // 2 + 16]
        if len(changed) < 16:
            break
    return bytes(changed)


def read_everything(path: Path, target: Path) -> None:
    file = GGUFFile(path)
    for key in file:
        file.get(key)
    for name in file.tensors:
        file.values(name)
    checkpoint = open_checkpoint(path)
    for name in checkpoint.names:
        assert tuple(checkpoint.tensor(name).shape) == checkpoint.shape(name)
        checkpoint.blocks(name)
    describe_gguf(path, target)


def test_damaged_files_raise_one_error_and_take_little_memory(tiny: Path, tmp_path: Path) -> None:
    data = tiny.read_bytes()
    begin = min(info.start for info in GGUFFile(tiny).tensors.values())
    pick, path = random.Random(20), tmp_path / "damaged.gguf"
    read_everything(tiny, tmp_path)  # imports are not counted below
    outcomes = {"read": 0, "refused": 0}
    tracemalloc.start()
    try:
        for _ in range(500):
            path.unlink(missing_ok=True)  # a mapped file must not change
            path.write_bytes(mutate(data, begin, pick))
            try:
                read_everything(path, tmp_path)
                outcomes["read"] += 1
            except ModelFileError as error:
                assert "\n" not in str(error) and len(str(error)) < 600
                outcomes["refused"] += 1
        assert tracemalloc.get_traced_memory()[1] < 40 * len(data)
    finally:
        tracemalloc.stop()
    assert outcomes["refused"] > 200 and outcomes["read"] > 20
