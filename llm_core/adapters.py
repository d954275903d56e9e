"""Low-rank adapters (LoRA) in the folder format of the peft library.

An adapter is used beside a model, never merged into its weights, so several can share one.
Source: Hu et al. 2021; rank-stabilised scaling: Kalajdzievski 2023.
"""

import hashlib
import json
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from llm_core.errors import ModelFileError
from llm_core.models.config import DecoderConfig
from llm_core.prompt_format import FORMAT_KEY, format_name

ATTENTION_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD_TARGETS = ("gate_proj", "up_proj", "down_proj")
TARGETS = (*ATTENTION_TARGETS, *FEED_FORWARD_TARGETS)
CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"

_TENSOR = re.compile(
    r"base_model\.model\.model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)\.lora_([AB])\.weight"
)
# Fields that change nothing at inference, or that the tensors themselves show.
_HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "eva_config",
    "exclude_modules", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "megatron_core",
    "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
    "runtime_config", "target_modules", "task_type", "use_rslora",
}  # fmt: skip
# Ways to start training that change the base weights too, so that they no longer fit.
_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True)
class Adapter:
    """Low-rank changes of a decoder's matrices: W x gains scale * B (A x).

    `key` is a hash of the content; `pairs[layer, target]` holds A (rank, in) and
    B (out, rank) in float32.
    """

    key: str
    rank: int
    scale: float
    pairs: dict[tuple[int, str], tuple[Tensor, Tensor]]

    def check_fits(self, config: DecoderConfig) -> None:
        """Raise ModelFileError unless every change has the shape of its matrix."""
        for (layer, target), (down, up) in self.pairs.items():
            if layer >= config.num_hidden_layers:
                raise ModelFileError(
                    f"the adapter changes layer {layer} of a model with layers 0 to "
                    f"{config.num_hidden_layers - 1}; use the model it was trained on"
                )
            size_out, size_in = matrix_shape(config, target)
            if (up.shape[0], down.shape[1]) != (size_out, size_in):
                raise ModelFileError(
                    f"the adapter's {target} is for a matrix of {up.shape[0]} by {down.shape[1]}, "
                    f"the model's is {size_out} by {size_in}; use the model it was trained on"
                )


def matrix_shape(config: DecoderConfig, target: str) -> tuple[int, int]:
    """Rows and columns of one of TARGETS."""
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = {
        "q_proj": (config.queries, hidden),
        "k_proj": (config.keys, hidden),
        "v_proj": (config.keys, hidden),
        "o_proj": (hidden, config.queries),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }
    return shapes[target]


def load_adapter(folder: Path) -> Adapter:
    """Read an adapter that peft saved: adapter_config.json and adapter_model.safetensors.

    Raises ModelFileError for damaged files and for whatever would change the result in a
    way that is not implemented.
    """
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise ModelFileError(f"{path} cannot be read as an adapter's config: {err}") from err
    if not isinstance(config, dict):
        raise ModelFileError(f"{path} is not a JSON object; copy the adapter again")
    _check_format(config.pop(FORMAT_KEY, None), path)
    rank, scale = _read_config(config, path)
    tensors = _read_tensors(folder / WEIGHTS_NAME)
    pairs = _pair(tensors, rank, folder / WEIGHTS_NAME)
    return Adapter(_hash(pairs, scale), rank, scale, pairs)


def _check_format(written: Any, path: Path) -> None:
    """Warn where an adapter learnt prompts of tools in other words than are used now."""
    if written is not None and written != format_name():
        warnings.warn(
            f"{path} was trained for the tool prompts {written!r}, this core writes "
            f"{format_name()!r}: its calls may be worse; train it again or use the core it is from",
            stacklevel=3,
        )


def _read_config(config: dict[str, Any], path: Path) -> tuple[int, float]:
    def refuse(field: str, known: str) -> NoReturn:
        raise ModelFileError(f"{path} has {field} {config.get(field)!r}; this core runs {known}")

    if config.get("peft_type") != "LORA":
        refuse("peft_type", "'LORA'")
    if config.get("bias", "none") != "none":
        refuse("bias", "'none'")
    start = config.get("init_lora_weights", True)
    if start not in _STARTS:
        refuse("init_lora_weights", "adapters that leave the base model as it is")
    for field in ("rank_pattern", "alpha_pattern"):
        if config.get(field):
            refuse(field, "one rank and one scale for all matrices")
    for field, value in config.items():
        if field not in _HARMLESS and value not in (None, False, [], {}, ""):
            refuse(field, "plain LoRA without it")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 < rank <= 4096:
        refuse("r", "a rank from 1 to 4096")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not abs(alpha) < 1e12:
        refuse("lora_alpha", "a number")
    if not isinstance(config.get("use_rslora", False), bool):
        refuse("use_rslora", "true or false")
    return rank, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as err:
        raise ModelFileError(f"{path} cannot be read: {err}") from err


def _pair(
    tensors: dict[str, Tensor], rank: int, path: Path
) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
    halves: dict[tuple[int, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None or match[2] not in TARGETS:
            known = ", ".join(TARGETS)
            raise ModelFileError(f"{path} changes {name}; this core runs changes of {known}")
        if tensor.ndim != 2 or tensor.shape[0 if match[3] == "A" else 1] != rank:
            shape = tuple(tensor.shape)
            raise ModelFileError(f"{path}: {name} has shape {shape}, not rank {rank}")
        if not bool(tensor.isfinite().all()):
            raise ModelFileError(f"{path}: {name} holds infinite numbers; train the adapter again")
        halves.setdefault((int(match[1]), match[2]), {})[match[3]] = tensor
    for (layer, target), both in halves.items():
        if len(both) != 2:
            raise ModelFileError(f"{path} lacks one half of {target} in layer {layer}")
    if not halves:
        raise ModelFileError(f"{path} holds no changes; copy the adapter again")
    return {
        place: (both["A"].float().contiguous(), both["B"].float().contiguous())
        for place, both in sorted(halves.items())
    }


def _hash(pairs: dict[tuple[int, str], tuple[Tensor, Tensor]], scale: float) -> str:
    digest = hashlib.sha256(repr(scale).encode())
    for place, both in pairs.items():
        for half in both:
            digest.update(f"{place} {tuple(half.shape)}".encode())
            digest.update(half.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
