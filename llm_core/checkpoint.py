"""One view of a model's weights, whether they lie in safetensors or in a GGUF file.

Tensors go by their Hugging Face names and have their rows in Hugging Face's order. Nothing
is read before it is asked for, and quantised weights can be had as they are stored.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm_core.catalogue import GGUF_NAME as GGUF_NAME  # part of what this file offers
from llm_core.errors import ModelFileError
from llm_core.formats.gguf import GGUFFile
from llm_core.formats.layout import hub_names, read_config, row_order
from llm_core.formats.quants import FLOATS
from llm_core.jsonfile import read_json

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (  # what config.json and a GGUF file beside it must agree on
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "tie_word_embeddings",
)
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Blocks:
    """The stored rows of a quantised matrix: (R, bytes of a row), `columns` values a row."""

    kind: str  # such as "Q4_1"
    rows: NDArray[np.uint8]
    columns: int


class Checkpoint(ABC):
    """The config and the weights of one model.

    `config` is what config.json says, `names` the Hugging Face names of all tensors.
    """

    source: Path
    config: dict[str, Any]
    names: frozenset[str]

    @abstractmethod
    def tensor(self, name: str) -> "Tensor":
        """A tensor of its own: as stored in safetensors, float32 out of a GGUF file."""

    @abstractmethod
    def kind(self, name: str) -> str:
        """The number format a tensor is stored in, such as "BF16" or "Q4_1"."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor: rows before columns."""

    @abstractmethod
    def blocks(self, name: str) -> Blocks | None:
        """The stored blocks of a quantised matrix, None where floats are stored."""


def open_checkpoint(folder: Path) -> Checkpoint:
    """Open a model folder, or the .gguf file `folder` names.

    A folder holds config.json and either model.gguf or *.safetensors. Raises
    `ModelFileError` for what is missing, damaged or not known.
    """
    if folder.suffix.lower() == ".gguf" and not folder.is_dir():
        return GGUFCheckpoint(folder)
    config = read_json(folder / "config.json")
    if (folder / GGUF_NAME).exists():
        return GGUFCheckpoint(folder / GGUF_NAME, config)
    return SafetensorsCheckpoint(folder, config)


class GGUFCheckpoint(Checkpoint):
    """The weights of a GGUF file; without a `config` its metadata describes the model."""

    def __init__(self, path: Path, config: dict[str, Any] | None = None) -> None:
        self.source = path
        self.file = GGUFFile(path)
        described = read_config(self.file)
        self.config = described if config is None else config
        for key in SIZES:
            if self.config.get(key, described[key]) != described[key]:
                raise ModelFileError(
                    f"{path} has {key} {described[key]}, and config.json beside it says "
                    f"{self.config[key]!r}; copy the whole folder again"
                )
        self._stored = hub_names(self.file)
        self.names = frozenset(self._stored)

    def tensor(self, name: str) -> "Tensor":
        import torch

        values = self.file.values(self._find(name))
        order = row_order(self.file, self._stored[name])
        if order is not None:
            values = values[order]
        elif not values.flags.writeable:
            values = values.copy()  # still a view of the file
        return torch.from_numpy(values)

    def kind(self, name: str) -> str:
        return self.file.tensors[self._find(name)].kind.name

    def shape(self, name: str) -> tuple[int, ...]:
        return self.file.tensors[self._find(name)].shape

    def blocks(self, name: str) -> Blocks | None:
        kind = self.kind(name)
        if kind in FLOATS:
            return None
        rows = self.file.raw(self._stored[name])
        order = row_order(self.file, self._stored[name])
        rows = rows if order is None else rows[order]
        return Blocks(kind, rows, self.shape(name)[-1])

    def _find(self, name: str) -> str:
        if name not in self._stored:
            raise ModelFileError(f"{self.source} has no tensor {name}; download it again")
        return self._stored[name]


class SafetensorsCheckpoint(Checkpoint):
    """The weights of one or several safetensors files in a folder."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.source = folder
        self.config = config
        self._files: dict[str, Any] = {}
        for path in _weight_files(folder):
            opened = _open_safetensors(path)
            for name in opened.keys():  # noqa: SIM118 - not a dict: it has no iterator
                if name in self._files:
                    raise ModelFileError(f"{path} holds the tensor {name}, as a file before it")
                self._files[name] = opened
        self.names = frozenset(self._files)

    def tensor(self, name: str) -> "Tensor":
        from safetensors import SafetensorError

        file = self._find(name)
        try:
            tensor: Tensor = file.get_tensor(name)
        except (SafetensorError, TypeError, ValueError) as error:
            raise ModelFileError(f"{name} in {self.source} cannot be read ({error})") from error
        return tensor

    def kind(self, name: str) -> str:
        return str(self._find(name).get_slice(name).get_dtype())

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._find(name).get_slice(name).get_shape())

    def blocks(self, name: str) -> Blocks | None:
        self._find(name)
        return None

    def _find(self, name: str) -> Any:
        if name not in self._files:
            raise ModelFileError(f"{self.source} has no tensor {name}; copy the whole folder")
        return self._files[name]


def _weight_files(folder: Path) -> list[Path]:
    """The files that an index lists, else all safetensors files of the folder."""
    if (folder / INDEX).is_file():
        listed = read_json(folder / INDEX).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise ModelFileError(f"{folder / INDEX} lists no files; copy it again")
        names = sorted({str(name) for name in listed.values()})
        if strange := [n for n in names if Path(n).name != n or not n.endswith(".safetensors")]:
            raise ModelFileError(f"{folder / INDEX} names {strange[0]!r}, not a file beside it")
        return [folder / name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelFileError(f"{folder} holds neither {GGUF_NAME} nor a *.safetensors file")
    return files


def _open_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{path} is damaged ({error}); copy it again") from error
