"""What the readers of `tokenizer.json` sections share."""

from collections.abc import Mapping
from typing import Any

import regex

from llm_core.errors import ModelFileError

Section = Mapping[str, Any]


def unknown_kind(what: str, section: Section) -> ModelFileError:
    """The error for a section of a kind that is not implemented."""
    return ModelFileError(
        f"the {what} {section.get('type')!r} of the tokenizer is not one that this reader knows; "
        "the fast tokenizer may"
    )


def compile_pattern(pattern: Section) -> "regex.Pattern[str]":
    """The pattern of a Split or Replace section: `{"Regex": ...}` or `{"String": ...}`."""
    try:
        if "String" in pattern:
            return regex.compile(regex.escape(pattern["String"], special_only=False))
        return regex.compile(pattern["Regex"], regex.MULTILINE)
    except (regex.error, KeyError) as err:
        raise ModelFileError(f"the tokenizer's pattern {pattern!r} is not readable: {err}") from err
