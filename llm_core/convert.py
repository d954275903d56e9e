"""From one model file to another: GGUF and safetensors, floats and quantised weights.

    python -m llm_core convert SOURCE TARGET --to gguf
    python -m llm_core quantize SOURCE TARGET --type q8_0

Tensors are read, changed and written one at a time, and a target is whole or absent.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from llm_core.checkpoint import (
    GGUF_NAME,
    INDEX,
    Checkpoint,
    GGUFCheckpoint,
    open_checkpoint,
)
from llm_core.errors import ModelError, ModelFileError
from llm_core.formats.gguf import GGUFFile
from llm_core.formats.gguf_write import Encoded, Part, write_gguf
from llm_core.formats.layout import FREQUENCIES, Keys, read_config, tensor_shapes
from llm_core.formats.layout_write import (
    REPEATED,
    architecture_of,
    frequency_factors,
    gguf_name,
    metadata_of,
    stored_order,
)
from llm_core.formats.quantise import quantise
from llm_core.formats.quants import FLOATS, Bytes, Floats
from llm_core.formats.safetensors_write import BYTES, FloatPart, write_safetensors
from llm_core.formats.vocabulary import read_tokenizer
from llm_core.formats.vocabulary_write import tokenizer_metadata
from llm_core.jsonfile import read_json
from llm_core.models.config import DecoderConfig

if TYPE_CHECKING:
    from torch import Tensor

CONVERTER = 2  # part of the manifest of every cached GGUF file; raise it when the output changes
QUANTISED = ("Q8_0", "Q4_1", "Q4_0")
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
Progress = Callable[[str, int, int], None]  # what is written, tensors done, tensors in all
Choose = Callable[[str], str]  # the number format of a tensor, by its Hugging Face name
PartT = TypeVar("PartT", Part, FloatPart)
WEIGHTS = "model.safetensors"
_FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "BF16": 32}
_COMPANIONS = (".json", ".jinja", ".txt", ".model")
_WIDE = ("model.embed_tokens.weight", "lm_head.weight")  # Q8_0 in every quantised file


def convert(
    source: Path, target: Path, kind: str | None = None, progress: Progress | None = None
) -> None:
    """Write the model of `source` (a folder or a .gguf file) to `target`.

    A target that ends with .gguf becomes such a file, another one a new folder with
    model.safetensors. `kind` is F32, F16 or BF16; None keeps what is stored, but makes
    BF16 of quantised weights where safetensors are written. Raises `ModelError`.
    """
    checkpoint = open_checkpoint(source)
    if is_gguf(target):
        _require_new(target)
        _write_gguf(checkpoint, target, lambda name: _kept(checkpoint, name, kind), progress)
        return
    with _new_folder(target) as folder:
        parts = [_float_part(checkpoint, name, kind) for name in sorted(checkpoint.names)]
        write_safetensors(folder / WEIGHTS, _reported(parts, progress))
        _write_companions(checkpoint, folder)
        _say_dtype(folder / "config.json", parts)


def quantise_model(source: Path, target: Path, kind: str, progress: Progress | None = None) -> None:
    """Write the model of `source` to `target` with matrices in `kind`: Q8_0, Q4_1 or Q4_0.

    Embeddings and head become Q8_0, vectors stay F32. A target that ends with .gguf becomes
    such a file, another one a new model folder. Raises `ModelError`.
    """
    checkpoint = open_checkpoint(source)

    def choose(name: str) -> str:
        shape = checkpoint.shape(name)
        if len(shape) == 1:
            return "F32"
        if shape[-1] % 32:
            return "F16"  # no whole blocks
        return "Q8_0" if name in _WIDE else kind

    if is_gguf(target):
        _require_new(target)
        _write_gguf(checkpoint, target, choose, progress)
        return
    with _new_folder(target) as folder:
        _write_gguf(checkpoint, folder / GGUF_NAME, choose, progress)
        _write_companions(checkpoint, folder)


def describe_gguf(source: Path, target: Path) -> None:
    """Write what a model folder needs beside the GGUF file `source` into `target`.

    Writes config.json, generation_config.json, tokenizer.json and tokenizer_config.json (with
    the chat template). Raises `ModelFileError` for a damaged file and for an architecture or
    a tokenizer that is not known.
    """
    file = GGUFFile(source)
    config = read_config(file)
    tokenizer, settings = read_tokenizer(Keys(file))
    tokenizer.save(str(target / "tokenizer.json"))
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(target / "config.json", config)
    _write_json(target / "generation_config.json", ids)
    _write_json(target / "tokenizer_config.json", settings)


def convert_gguf(source: Path, target: Path) -> None:
    """Make the existing folder `target` a model folder around the GGUF file `source`.

    The weights are not copied but linked to, where the disk can do that. Raises
    `ModelFileError` for a damaged file and for an architecture or tokenizer that is not known.
    """
    describe_gguf(source, target)
    weights = target / GGUF_NAME
    for link in (weights.symlink_to, weights.hardlink_to):
        with contextlib.suppress(OSError):
            link(source.resolve())
            return
    shutil.copyfile(source, weights)


def is_gguf(path: Path) -> bool:
    """Whether a path names a GGUF file rather than a folder."""
    return path.suffix.lower() == ".gguf"


def _kept(checkpoint: Checkpoint, name: str, kind: str | None) -> str:
    """The number format of a tensor in a converted GGUF file: vectors are always F32 there."""
    stored = checkpoint.kind(name)
    if len(checkpoint.shape(name)) == 1:
        return "F32"
    if kind is not None:
        return kind
    if stored not in FLOATS and not isinstance(checkpoint, GGUFCheckpoint):
        raise ModelFileError(
            f"{checkpoint.source} stores {name} as {stored}, which GGUF files of models do not "
            "have; give --dtype"
        )
    return stored


def _write_gguf(
    checkpoint: Checkpoint, target: Path, choose: Choose, progress: Progress | None
) -> None:
    architecture, config = architecture_of(checkpoint.config, checkpoint.source)
    parts = []
    for name in _weights(checkpoint, config):
        ours, kind = gguf_name(name, checkpoint.source), choose(name)
        order = stored_order(ours, architecture, config)

        def load(name: str = name, kind: str = kind, order: Any = order) -> Bytes:
            rows = _stored_rows(checkpoint, name, kind)
            # A bias is one row of numbers: (rows, 4 bytes) of it are permuted.
            return rows if order is None else rows.reshape(len(order), -1)[order]

        parts.append(Part(ours, kind, checkpoint.shape(name), load))
    factors = _factors(checkpoint, config)
    if factors is not None:
        parts.insert(0, Part(FREQUENCIES, "F32", factors.shape, lambda: _one_row(factors)))
    metadata = _metadata(checkpoint, architecture, config)
    kinds = [part.kind for part in parts if len(part.shape) > 1]
    file_type = _FILE_TYPES.get(max(set(kinds), key=kinds.count))
    if file_type is not None:
        metadata["general.file_type"] = file_type
    write_gguf(target, metadata, _reported(parts, progress))


def _weights(checkpoint: Checkpoint, config: DecoderConfig) -> list[str]:
    """The tensors that a model of this shape has, each checked to be there as it should be."""
    wanted = dict(tensor_shapes(config))
    for name, shape in wanted.items():
        if name not in checkpoint.names or checkpoint.shape(name) != shape:
            found = checkpoint.shape(name) if name in checkpoint.names else "nothing"
            raise ModelFileError(
                f"{checkpoint.source} should hold {name} of shape {shape} and has {found}; "
                "copy the whole folder again"
            )
    left = sorted(name for name in checkpoint.names - wanted.keys() if not name.endswith(REPEATED))
    if left:
        raise ModelFileError(
            f"{checkpoint.source} holds the tensor {left[0]}, which config.json does not explain; "
            "convert it to safetensors"
        )
    return sorted(wanted)


def _metadata(checkpoint: Checkpoint, architecture: str, config: DecoderConfig) -> dict[str, Any]:
    """What another GGUF file said, to the byte, or what config.json and the tokenizer say."""
    if isinstance(checkpoint, GGUFCheckpoint):
        file = checkpoint.file
        kept = (key for key in file if key not in ("general.alignment", "general.file_type"))
        return {key: Encoded(file.encoded(key)) for key in kept}
    metadata = metadata_of(architecture, config)
    return metadata | tokenizer_metadata(checkpoint.source, checkpoint.config, config.vocab_size)


def _factors(checkpoint: Checkpoint, config: DecoderConfig) -> Floats | None:
    if isinstance(checkpoint, GGUFCheckpoint) and FREQUENCIES in checkpoint.file.tensors:
        return checkpoint.file.values(FREQUENCIES)
    return frequency_factors(config)


def _one_row(values: Floats) -> Bytes:
    return values.reshape(1, -1).view(np.uint8)


def _stored_rows(checkpoint: Checkpoint, name: str, kind: str) -> Bytes:
    """The rows of a tensor in Hugging Face order, stored as `kind`."""
    blocks = checkpoint.blocks(name)
    if blocks is not None and blocks.kind == kind:
        return blocks.rows
    values = _values(checkpoint.tensor(name))
    try:
        return quantise(values.reshape(-1, values.shape[-1]), kind)
    except ModelFileError as error:
        raise ModelFileError(f"{name} of {checkpoint.source}: {error}") from error


def _values(tensor: "Tensor") -> Floats:
    values: Floats = tensor.float().numpy()
    return values


def _float_part(checkpoint: Checkpoint, name: str, kind: str | None) -> FloatPart:
    """A tensor as safetensors hold it; numbers that are no plain floats stay as they are."""
    stored, shape = checkpoint.kind(name), checkpoint.shape(name)
    if not isinstance(checkpoint, GGUFCheckpoint) and (kind is None or stored not in FLOATS):
        if stored not in BYTES:
            raise ModelFileError(
                f"{checkpoint.source} stores {name} as {stored}, which is not known"
            )
        return FloatPart(name, stored, shape, lambda: _raw(checkpoint.tensor(name)))
    kind = kind or "BF16"

    def load() -> Bytes:
        return quantise(_values(checkpoint.tensor(name)).reshape(1, -1), kind)

    return FloatPart(name, kind, shape, load)


def _raw(tensor: "Tensor") -> Bytes:
    import torch

    raw: Bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return raw


def _reported(parts: list[PartT], progress: Progress | None) -> list[PartT]:
    """The same parts; each says its name when its turn comes."""
    if progress is None:
        return parts

    def reporting(at: int, part: PartT) -> PartT:
        def load() -> Bytes:
            progress(part.name, at + 1, len(parts))
            return part.load()

        return replace(part, load=load)

    return [reporting(at, part) for at, part in enumerate(parts)]


def _require_new(target: Path) -> None:
    if target.exists():
        raise ModelError(f"{target} exists already; remove it or name another target")
    if not target.parent.is_dir():
        raise ModelError(f"there is no folder {target.parent}; make it first")


@contextlib.contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place once it is complete."""
    if target.resolve() == Path.cwd():
        raise ModelError(f"{target} is the folder this runs in; name a new one inside it")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target} exists already; remove it or name another target")
    if not target.parent.is_dir():
        raise ModelError(f"there is no folder {target.parent}; make it first")
    work: Path | None = None
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield work
        work.chmod(0o755)
        if target.is_dir():
            target.rmdir()  # empty
        work.rename(target)
    except OSError as error:
        raise ModelError(f"{target} cannot be written ({error.strerror or error})") from error
    except ModelError as error:  # of a file in `work`, which nobody has heard of
        raise type(error)(str(error).replace(str(work), str(target))) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def _write_companions(checkpoint: Checkpoint, folder: Path) -> None:
    """Put config and tokenizer files into a new model folder."""
    source = checkpoint.source
    if isinstance(checkpoint, GGUFCheckpoint):
        if not (source.parent / "config.json").is_file() or source.name != GGUF_NAME:
            describe_gguf(source, folder)
            return
        source = source.parent
    for path in [*sorted(source.iterdir()), *source.glob("*_Pooling/config.json")]:
        if (
            path.is_file()
            and path.suffix in _COMPANIONS
            and path.name not in ("manifest.json", INDEX)
        ):
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)


def _say_dtype(path: Path, parts: list[FloatPart]) -> None:
    """Let config.json name the number format that most weights have now."""
    kinds = [part.kind for part in parts]
    names = {kind: name for name, kind in DTYPES.items()}
    config = read_json(path)
    config.pop("torch_dtype", None)  # the older name of the field
    _write_json(path, {**config, "dtype": names[max(set(kinds), key=kinds.count)]})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
