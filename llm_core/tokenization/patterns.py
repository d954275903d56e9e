"""The splitting patterns of published byte-level models, as data."""

from typing import Any

from llm_core.errors import ModelFileError

Section = dict[str, Any]  # a part of a tokenizer.json

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")  # each digit by itself

_BYTES: Section = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
BYTE_DECODER: Section = _BYTES | {"use_regex": True}
_DIGITS: Section = {"type": "Digits", "individual_digits": True}


def _split(pattern: str) -> Section:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


_STEPS: dict[str, list[Section]] = {
    "gpt2": [_BYTES | {"use_regex": True}],
    "smollm": [_DIGITS, _BYTES | {"use_regex": True}],
    "llama3": [_split(LLAMA3), _BYTES | {"use_regex": False}],
    "qwen2": [_split(QWEN2), _BYTES | {"use_regex": False}],
}
PRE_TOKENIZERS = tuple(_STEPS)


def pre_tokenizer_section(name: str) -> Section:
    """The `pre_tokenizer` of a byte-level model: gpt2, smollm, llama3 or qwen2."""
    if name not in _STEPS:
        raise ModelFileError(
            f"the pre-tokenizer {name!r} is not known; give one of {', '.join(PRE_TOKENIZERS)}"
        )
    return {"type": "Sequence", "pretokenizers": [dict(step) for step in _STEPS[name]]}
