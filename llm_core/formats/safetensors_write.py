"""A writer of safetensors files that holds one tensor in memory at a time.

Layout: https://github.com/huggingface/safetensors#format.
"""

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_core.errors import ModelError
from llm_core.formats.gguf_write import replacing
from llm_core.formats.quants import Bytes

BYTES = {  # a number of each format
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


@dataclass(frozen=True)
class FloatPart:
    """A tensor to write: `load` gives its little-endian bytes when their turn comes."""

    name: str
    kind: str  # a key of BYTES
    shape: tuple[int, ...]
    load: Callable[[], Bytes]

    @property
    def size(self) -> int:
        """Bytes of the stored tensor."""
        return math.prod(self.shape) * BYTES[self.kind]


def write_safetensors(path: Path, parts: Sequence[FloatPart]) -> None:
    """Write the tensors as the safetensors file `path`, in their order.

    Raises `ModelError` when the file cannot be written.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for part in parts:
        end = at + part.size
        header[part.name] = {
            "dtype": part.kind,
            "shape": list(part.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with replacing(path) as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for part in parts:
                data = part.load()
                assert data.nbytes == part.size, part.name
                file.write(data.reshape(-1).data)
    except OSError as error:
        raise ModelError(f"{path} cannot be written ({error.strerror or error})") from error
