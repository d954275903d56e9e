"""A byte-level BPE tokenizer.json as the tokenizer keys of a GGUF file."""

import json
from pathlib import Path
from typing import Any, NoReturn

from llm_core.errors import ModelFileError
from llm_core.formats.vocabulary import COMPOSED, CONTROL, NORMAL, PATTERNS, UNUSED, USER
from llm_core.tokenizer import read_settings

_ENDS = (
    ("bos_token", "bos"),
    ("eos_token", "eos"),
    ("unk_token", "unknown"),
    ("pad_token", "padding"),
)


def tokenizer_metadata(folder: Path, config: dict[str, Any], size: int) -> dict[str, Any]:
    """The `tokenizer.ggml` keys for the tokenizer of a model folder with `size` logits.

    Raises `ModelFileError` for a tokenizer that is not byte-level BPE or whose words are
    cut in a way GGUF has no name for.
    """
    path = folder / "tokenizer.json"
    content = _checked(path)
    model, settings = content["model"], read_settings(folder)
    if model["type"] != "BPE" or model["byte_fallback"]:
        _refuse(path, "is not byte-level BPE")
    tokens, kinds = _tokens(path, content, size)
    ids = {token: index for index, token in enumerate(tokens)}
    found: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": _pre_tokenizer(path, content),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
    }
    for name, key in _ENDS:
        index = _end(settings, config, name, ids)
        if index is not None:
            found[f"tokenizer.ggml.{key}_token_id"] = index
    found["tokenizer.ggml.add_bos_token"] = content.get("post_processor") is not None and any(
        "SpecialToken" in step for step in _single(content["post_processor"])
    )
    found["tokenizer.ggml.add_space_prefix"] = False
    text = settings.get("chat_template")
    if isinstance(text, str):
        found["tokenizer.chat_template"] = text
    return found


def _checked(path: Path) -> dict[str, Any]:
    """A tokenizer.json in the one form that the library of that name writes."""
    from tokenizers import Tokenizer

    try:
        content: dict[str, Any] = json.loads(Tokenizer.from_file(str(path)).to_str())
    except Exception as error:  # tokenizers raises bare Exception for a damaged file
        raise ModelFileError(f"{path} cannot be read as a tokenizer ({error})") from error
    return content


def _refuse(path: Path, what: str) -> NoReturn:
    raise ModelFileError(f"{path} {what}, which cannot be written to GGUF; use safetensors")


def _tokens(path: Path, content: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """All tokens by id and their kinds; ids that no token has are filled up to `size`."""
    added = {entry["id"]: entry for entry in content["added_tokens"]}
    by_id = {index: token for token, index in content["model"]["vocab"].items()}
    by_id |= {index: entry["content"] for index, entry in added.items()}
    if by_id and max(by_id) >= size:
        _refuse(path, f"has the token id {max(by_id)}, beyond the {size} of config.json")
    tokens = [by_id.get(index, f"[PAD{index}]") for index in range(size)]
    kinds = [NORMAL if index in by_id else UNUSED for index in range(size)]
    for index, entry in added.items():
        kinds[index] = CONTROL if entry.get("special") else USER
    return tokens, kinds


def _pre_tokenizer(path: Path, content: dict[str, Any]) -> str:
    """GGUF's name for the way words are cut."""
    step = content.get("pre_tokenizer") or {}
    steps = step.get("pretokenizers", []) if step.get("type") == "Sequence" else [step]
    shape = [_shape(step) for step in steps]
    normalizer = content.get("normalizer")
    known: dict[str, list[tuple[object, ...]]] = {
        "smollm": [("Digits", True), ("ByteLevel", False, True)],
        "gpt-2": [("ByteLevel", False, True)],
    }
    for name, pattern in PATTERNS.items():
        known[name] = [("Split", pattern, "Isolated", False), ("ByteLevel", False, False)]
    for name, wanted in known.items():
        composed = None if normalizer is None else normalizer.get("type")
        if shape == wanted and composed == ("NFC" if name in COMPOSED else None):
            return name
    _refuse(path, "cuts words in a way that has no name there")


def _shape(step: dict[str, Any]) -> tuple[object, ...]:
    """What decides how one pre-tokenizer cuts."""
    match step.get("type"):
        case "Digits":
            return "Digits", step.get("individual_digits")
        case "ByteLevel":
            return "ByteLevel", step.get("add_prefix_space"), step.get("use_regex", True)
        case "Split":
            pattern = step.get("pattern", {}).get("Regex")
            return "Split", pattern, step.get("behavior"), step.get("invert", False)
    return (step.get("type"),)


def _single(processor: dict[str, Any]) -> list[dict[str, Any]]:
    """The template of one text in a post-processor, empty where there is none."""
    inner = processor.get("processors", [processor])
    found: list[dict[str, Any]] = [step for one in inner for step in one.get("single", [])]
    return found


def _end(
    settings: dict[str, Any], config: dict[str, Any], name: str, ids: dict[str, int]
) -> int | None:
    """The id of a special token: by the tokenizer's settings, else by config.json."""
    token = settings.get(name)
    text = token.get("content") if isinstance(token, dict) else token
    if isinstance(text, str) and text in ids:
        return ids[text]
    value = config.get(f"{name}_id")
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, int) else None
