"""`info`: what a model is made of, what runs it here, and what the cache holds."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_core.commands.given import DEFAULT_MODEL, AsJson

if TYPE_CHECKING:
    from llm_core.checkpoint import Checkpoint
    from llm_core.settings import Settings

Name = Annotated[str, typer.Argument(help="Default model, folder, .gguf file or local:OWNER/NAME.")]
_SHAPE = {  # what is shown of config.json
    "model_type": "architecture",
    "num_hidden_layers": "layers",
    "hidden_size": "width",
    "intermediate_size": "inner width",
    "num_attention_heads": "heads",
    "num_key_value_heads": "key and value heads",
    "vocab_size": "vocabulary",
    "max_position_embeddings": "window",
    "tie_word_embeddings": "tied embeddings",
    "rope_theta": "rope base",
    "sliding_window": "sliding window",
}


def info(model: Name = DEFAULT_MODEL, as_json: AsJson = False) -> None:
    """Show a model's shape, its files and number formats, what runs it here, and the cache."""
    from llm_core.loading import model_hash, resolve
    from llm_core.settings import load_settings

    settings = load_settings()
    folder = resolve(model, settings.cache_dir)
    found = {
        "model": model,
        "folder": str(folder),
        "hash": model_hash(folder),
        **described(folder),
        "runs": runs(folder, settings),
        "cache": {"folder": str(settings.cache_dir), **cache_use(settings.cache_dir)},
    }
    print(json.dumps(found, indent=2) if as_json else "\n".join(_lines(found)))


def described(folder: Path) -> dict[str, Any]:
    """Shape, parameters, number formats (values and bytes by kind) and files of a folder."""
    from llm_core.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(folder)
    config = checkpoint.config
    shape = {label: config[key] for key, label in _SHAPE.items() if config.get(key) is not None}
    values = values_by_kind(checkpoint)
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return {
        "shape": shape,
        "parameters": sum(values.values()),
        "formats": dict(values.most_common()),
        "files": {file.name: file.stat().st_size for file in files},
    }


def values_by_kind(checkpoint: "Checkpoint") -> Counter[str]:
    """How many values are stored in each number format."""
    values: Counter[str] = Counter()
    for name in checkpoint.names:
        values[checkpoint.kind(name)] += math.prod(checkpoint.shape(name))
    return values


def runs(folder: Path, settings: "Settings") -> dict[str, Any]:
    """What runs a chat model on this machine, why, and the bytes that a cached token takes.

    None of these for another kind of model, such as an encoder.
    """
    from llm_core.backend import open_backend
    from llm_core.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(folder)
    if not any("CausalLM" in name for name in checkpoint.config.get("architectures", ["CausalLM"])):
        return {"kind": "encoder"}
    notes: list[str] = []
    backend = open_backend(folder, settings, notes.append)
    return {
        "kind": "chat",
        "backend": backend.name,
        "because": _reason(backend.name, values_by_kind(checkpoint), settings),
        "notes": notes,
        "bytes a cached token": backend.column_bytes,
    }


def _reason(backend: str, values: Counter[str], settings: "Settings") -> str:
    stored = values.most_common(1)[0][0]
    if backend.startswith("kernel"):
        return f"most weights are stored as {stored}, which the kernel runs as it is"
    if settings.dtype != "auto":
        return f"the settings ask for {settings.dtype}"
    if settings.kernel == "off":
        return "the settings switch the kernel off"
    if stored.startswith("Q"):
        return f"the kernel does not run these {stored} weights here"
    return f"the weights are stored as {stored}; `quantize` makes a file that the kernel runs"


def cache_use(cache_dir: Path) -> dict[str, int]:
    """Bytes under each folder of the user cache."""
    if not cache_dir.is_dir():
        return {}
    return {
        folder.name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        for folder in sorted(cache_dir.iterdir())
        if folder.is_dir()
    }


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for label in ("model", "folder", "hash"):
        yield f"{label:<12} {found[label]}"
    yield f"{'parameters':<12} {found['parameters']:,}"
    for label, value in found["shape"].items():
        yield f"  {label:<22} {value}"
    yield "stored as"
    for kind, count in found["formats"].items():
        yield f"  {kind:<22} {count:,} values, {count / found['parameters']:.1%}"
    for label in ("files", "cache"):
        yield label
        for name, size in found[label].items():
            yield f"  {name:<22} {size if isinstance(size, str) else f'{size / 1e6:,.1f} MB'}"
    yield "runs here"
    for label, value in found["runs"].items():
        for line in value if isinstance(value, list) else [value]:
            yield f"  {label:<22} {line}"
