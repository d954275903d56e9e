"""Lay a checkpoint's quantised weights out for the kernel, in one file mapped from the cache.

Nothing is rounded: the stored steps and scales of Q4_0, Q4_1 and Q8_0 are only moved, so that
16 rows lie side by side. The layout is described in `src/api.h` and checked by its tests.
"""

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from llm_core.errors import ModelFileError
from llm_core.kernels.build import KernelUnavailableError, Report
from llm_core.kernels.library import KINDS, Array, aligned
from llm_core.kernels.mapped import TEMPORARY, ArraySpec, read_mapped, read_meta, write_mapped
from llm_core.models.config import DecoderConfig

if TYPE_CHECKING:
    from llm_core.checkpoint import Checkpoint

LAYOUT = 2  # LM_LAYOUT_VERSION of src/api.h, and what else decides the bytes of a file
ROWS = 16  # of a packed block
_LONGEST_TABLE = 1 << 17  # positions of the rotary tables
_BLOCK_BYTES = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}  # of 32 stored weights
_NAMES = {  # of a layer's matrices in a checkpoint
    **{part: f"self_attn.{part}_proj" for part in ("q", "k", "v", "o")},
    **{part: f"mlp.{part}_proj" for part in ("gate", "up", "down")},
}
_NORMS = {"input_norm": "input_layernorm", "post_norm": "post_attention_layernorm"}
_HEAD_NORMS = {"q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}
_OUTSIDE = {  # of the layers
    "embed": "model.embed_tokens.weight",
    "head": "lm_head.weight",
    "final_norm": "model.norm.weight",
}


@dataclass(frozen=True)
class PackedModel:
    """Weights as the kernel reads them: arrays by name; kind and (R, C) of each matrix.

    Names are "LAYER.PART" ("0.q", "0.input_norm", "0.q_bias"), "embed", "head" where it is
    not the embedding, "final_norm", "cosine" and "sine" (positions, head_dim / 2).
    """

    shape: DecoderConfig
    arrays: dict[str, Array]
    kinds: dict[str, str]
    sizes: dict[str, tuple[int, int]]


class StoredBlocks(Protocol):
    """What `Checkpoint.blocks` returns."""

    @property
    def kind(self) -> str: ...
    @property
    def rows(self) -> Array: ...
    @property
    def columns(self) -> int: ...


def pack_matrix(blocks: StoredBlocks) -> Array:
    """Stored rows as blocks of 16 rows: uint8 (ceil(R / 16), bytes of a block).

    Raises KernelUnavailableError for kinds other than Q4_0, Q4_1 and Q8_0.
    """
    count, groups = blocks.rows.shape[0], blocks.columns // 32
    size = _BLOCK_BYTES.get(blocks.kind)
    if size is None or blocks.columns % 32:
        raise KernelUnavailableError(f"the kernel does not run {blocks.kind} weights")
    cells = np.zeros((-(-count // ROWS) * ROWS, groups, size), dtype=np.uint8)
    cells[:count] = blocks.rows.reshape(count, groups, size)
    cells = cells.reshape(-1, ROWS, groups, size)  # (B, 16, G, bytes)
    scales, share = (2, 1) if blocks.kind == "Q4_1" else (1, 2)  # share: groups of a unit
    if groups % share:
        cells = np.concatenate([cells, np.zeros_like(cells[:, :, :1])], axis=2)
    count, units = len(cells), cells.shape[2] // share
    halves = np.ascontiguousarray(cells[..., : 2 * scales]).view(np.uint16)
    first = np.ascontiguousarray(halves.transpose(0, 2, 3, 1)).view(np.uint8)
    first = first.reshape(count, units, -1)  # (B, U, 64): 32 halves
    steps = cells[..., 2 * scales :].reshape(count, ROWS, units * share, -1, 4)
    if blocks.kind == "Q8_0":
        steps = steps ^ np.uint8(0x80)
    quants = steps.transpose(0, 2, 3, 1, 4).reshape(count, units, -1)  # (B, U, share * J * 16 * 4)
    return np.concatenate([first, quants], axis=2).reshape(count, -1)


def packed_bytes(kind: str, rows: int, columns: int) -> tuple[int, int]:
    """The shape that `pack_matrix` gives for a matrix."""
    share, quants = (1 if kind == "Q4_1" else 2), (512 if kind == "Q8_0" else 256)
    return -(-rows // ROWS), -(-(columns // 32) // share) * (64 + share * quants)


def require_runnable(checkpoint: "Checkpoint") -> None:
    """Raise KernelUnavailableError where the kernel cannot run a checkpoint, by looking at names.

    Raises ModelFileError where its weights do not fit its config.
    """
    _plan(checkpoint)


def load_packed(checkpoint: "Checkpoint", cache_dir: Path, report: Report | None) -> PackedModel:
    """The packed weights of a checkpoint, from `cache_dir`/packed where they lie there whole.

    Where that folder cannot be written they stay in memory. `report` gets a line before they
    are laid out. Raises as `require_runnable` does.
    """
    plan = _plan(checkpoint)
    source = checkpoint.source.resolve()
    path = cache_dir / "packed" / f"{hashlib.sha256(str(source).encode()).hexdigest()[:20]}.bin"
    key = _key(checkpoint, plan)
    found = _read(path, key, plan)
    if found is None:
        say = report or (lambda _line: None)
        say(f"laying out the weights of {checkpoint.source} for the kernel (once) ...")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_mapped(path, key, {"source": str(source)}, plan.specs)
            _sweep(path)
            found = _read(path, key, plan)
        except OSError as err:
            say(f"cannot write {path} ({err.strerror}), so this takes memory at each start")
    if found is None:
        return pack_in_memory(checkpoint)
    return PackedModel(plan.shape, found, plan.kinds, plan.sizes)


def _read(path: Path, key: str, plan: "_Plan") -> dict[str, Array] | None:
    """The arrays of a packed file, None unless it holds just those of the plan."""
    found = read_mapped(path, key)
    expected = {spec.name: (np.dtype(spec.dtype), spec.shape) for spec in plan.specs}
    if found is None or expected != {n: (a.dtype, a.shape) for n, a in found[1].items()}:
        return None
    return found[1]


def pack_in_memory(checkpoint: "Checkpoint") -> PackedModel:
    """The packed weights of a checkpoint without a file, for models made on the spot."""
    plan = _plan(checkpoint)
    arrays = {spec.name: _aligned_copy(spec.make()) for spec in plan.specs}
    return PackedModel(plan.shape, arrays, plan.kinds, plan.sizes)


def runnable_shape(checkpoint: "Checkpoint") -> DecoderConfig:
    """The shape of a checkpoint; raises KernelUnavailableError where the kernel cannot run it."""
    shape = DecoderConfig.read(checkpoint.config, checkpoint.source)
    for name in ("hidden_size", "intermediate_size", "head_dim"):
        if getattr(shape, name) % 32:
            raise KernelUnavailableError(
                f"{name} is {getattr(shape, name)}, and the kernel runs multiples of 32"
            )
    if shape.head_dim > 256:
        raise KernelUnavailableError(f"head_dim is {shape.head_dim}, the kernel runs up to 256")
    return shape


@dataclass(frozen=True)
class _Plan:
    """All that a packed file will hold, checked against the model's shape."""

    shape: DecoderConfig
    specs: list[ArraySpec]
    kinds: dict[str, str]
    sizes: dict[str, tuple[int, int]]


def _plan(checkpoint: "Checkpoint") -> _Plan:
    shape = runnable_shape(checkpoint)
    specs: list[ArraySpec] = []
    kinds: dict[str, str] = {}
    sizes = _matrix_sizes(shape)
    for name, size in sizes.items():
        stored = _stored_name(name)
        _require_shape(checkpoint, stored, size)
        kinds[name] = checkpoint.kind(stored)
        if kinds[name] not in KINDS:
            raise KernelUnavailableError(
                f"{stored} is stored as {kinds[name]}, and the kernel runs {', '.join(KINDS)}"
            )
        specs.append(_matrix_spec(checkpoint, name, stored, kinds[name], size))
    for name, width in _vector_sizes(shape).items():
        stored = _stored_name(name)
        _require_shape(checkpoint, stored, (width,))
        specs.append(_vector_spec(checkpoint, name, stored, width))
    return _Plan(shape, [*specs, *_rotary_specs(shape)], kinds, sizes)


def _matrix_sizes(shape: DecoderConfig) -> dict[str, tuple[int, int]]:
    """Rows and columns of every matrix, as the config has them."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    layer = {
        "q": (shape.queries, hidden),
        **dict.fromkeys(("k", "v"), (shape.keys, hidden)),
        "o": (hidden, shape.queries),
        **dict.fromkeys(("gate", "up"), (inner, hidden)),
        "down": (hidden, inner),
    }
    sizes = {"embed": (shape.vocab_size, hidden)}
    if not shape.tie_word_embeddings:
        sizes["head"] = (shape.vocab_size, hidden)
    for number in range(shape.num_hidden_layers):
        sizes |= {f"{number}.{part}": size for part, size in layer.items()}
    return sizes


def _vector_sizes(shape: DecoderConfig) -> dict[str, int]:
    """Width of every vector, as the config has them."""
    biased = {
        **dict.fromkeys(("q", "k", "v"), shape.qkv_bias),
        **dict.fromkeys(("gate", "up", "down"), shape.mlp_bias),
        "o": shape.o_bias,
    }
    widths = {"final_norm": shape.hidden_size}
    for name, (rows, _) in _matrix_sizes(shape).items():
        number, _, part = name.partition(".")
        if biased.get(part):
            widths[f"{number}.{part}_bias"] = rows
    for layer in range(shape.num_hidden_layers):
        widths |= {f"{layer}.{norm}": shape.hidden_size for norm in _NORMS}
        if shape.qk_norm:
            widths |= {f"{layer}.{norm}": shape.head_dim for norm in _HEAD_NORMS}
    return widths


def _stored_name(name: str) -> str:
    """The Hugging Face name of one of our arrays."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    number, _, part = name.partition(".")
    inner = {**_NAMES, **_NORMS, **_HEAD_NORMS}[part.removesuffix("_bias")]
    return f"model.layers.{number}.{inner}.{'bias' if part.endswith('_bias') else 'weight'}"


def _require_shape(checkpoint: "Checkpoint", stored: str, expected: tuple[int, ...]) -> None:
    found = checkpoint.shape(stored)
    if tuple(found) != expected:
        raise ModelFileError(
            f"{stored} of {checkpoint.source} has shape {tuple(found)}, and its config means "
            f"{expected}; download the model again"
        )


def _matrix_spec(
    checkpoint: "Checkpoint", name: str, stored: str, kind: str, size: tuple[int, int]
) -> ArraySpec:
    def make() -> Array:
        blocks = checkpoint.blocks(stored)
        assert blocks is not None, stored
        return pack_matrix(blocks)

    return ArraySpec(name, "uint8", packed_bytes(kind, *size), make)


def _vector_spec(checkpoint: "Checkpoint", name: str, stored: str, width: int) -> ArraySpec:
    """A vector in float32, padded with zeros to a multiple of 16."""
    padded = -(-width // ROWS) * ROWS

    def make() -> Array:
        values = np.zeros(padded, dtype=np.float32)
        values[:width] = checkpoint.tensor(stored).float().numpy()
        return values

    return ArraySpec(name, "float32", (padded,), make)


def _rotary_specs(shape: DecoderConfig) -> list[ArraySpec]:
    positions = min(shape.max_position_embeddings, _LONGEST_TABLE)
    size = (positions, shape.head_dim // 2)

    def make(which: int) -> Array:
        import torch

        from llm_core.models.positions import rotary_tables

        table: Array = rotary_tables(shape, torch.arange(positions))[which].numpy()
        return table

    names = ("cosine", "sine")
    return [ArraySpec(name, "float32", size, partial(make, n)) for n, name in enumerate(names)]


def _key(checkpoint: "Checkpoint", plan: _Plan) -> str:
    """Hash what decides the packed bytes: layout, config, and the files they come from."""
    source = checkpoint.source
    files = [source] if source.is_file() else sorted(source.glob("*.safetensors"))
    facts: dict[str, Any] = {"layout": LAYOUT, "config": checkpoint.config, "kinds": plan.kinds}
    facts["files"] = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _sweep(current: Path) -> None:
    """Delete packed files whose model is gone, and what a killed writer left an hour ago."""
    for path in current.parent.glob("*.bin"):
        meta = read_meta(path)
        if path != current and (meta is None or not Path(str(meta.get("source"))).exists()):
            path.unlink(missing_ok=True)
    for path in current.parent.glob(TEMPORARY + "*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 3600:
                path.unlink()


def _aligned_copy(array: Array) -> Array:
    raw = aligned(array.nbytes)
    raw[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    view: Array = raw.view(array.dtype).reshape(array.shape)
    return view
