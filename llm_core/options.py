"""What one call to the chat model may ask for, read from LangChain's keyword arguments."""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType
from typing import Any

from llm_core.errors import ModelError
from llm_core.reply_format import ReplyFormat, read_format
from llm_core.toolcalls import ToolSpec, tool_choice_of, tools_of

# Accepted for other providers' sake, and true or void here: every reply is strict.
_VOID = {"strict", "stream_usage", "ls_structured_output_format"}
_MOST_TOP = 20  # as OpenAI's interface has it
# Fields of the chat model that a call may override.
DEFAULTS = (
    "model",
    "adapter",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "frequency_penalty",
    "max_tokens",
    "seed",
    "deterministic",
    "repetition_guard",
)
_WHOLE = ("max_tokens", "top_k", "seed", "top_logprobs", "n")
_NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty")
_KNOWN = {
    *DEFAULTS,
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "logprobs",
    "top_logprobs",
    "n",
    "response_format",
    "schema_hint",
    "copy_from",
    "cancel",
}


@dataclass(frozen=True)
class CallOptions:
    """The settings of one call, defaults filled in."""

    model: str
    adapter: str | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    frequency_penalty: float
    max_tokens: int
    seed: int | None
    deterministic: bool
    repetition_guard: bool
    stop: tuple[str, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    response_format: ReplyFormat | None = None
    schema_hint: bool = True
    copy_from: tuple[str, ...] | None = None
    cancel: threading.Event | None = None


def read_options(
    defaults: Mapping[str, Any], stop: Sequence[str] | None, kwargs: Mapping[str, Any]
) -> CallOptions:
    """Join a call's arguments with the model's; raises ModelError for what is unknown."""
    unknown = kwargs.keys() - _KNOWN - _VOID
    if unknown:
        raise ModelError(
            f"the local chat model does not know the option {sorted(unknown)[0]!r}; "
            f"it knows {', '.join(sorted(_KNOWN))}"
        )
    given = {key: value for key, value in kwargs.items() if key in _KNOWN and value is not None}
    values = {**defaults, **given}
    tools = tools_of(values.pop("tools", ()))
    values["tool_choice"] = tool_choice_of(values.get("tool_choice"), tools)
    values["response_format"] = read_format(values.get("response_format"))
    values["stop"] = defaults["stop"] or () if stop is None else stop
    if isinstance(values["stop"], str):
        values["stop"] = [values["stop"]]
    for name in ("stop", "copy_from"):
        if name in values:
            values[name] = _texts(name, values[name])
    _check(values)
    options = CallOptions(tools=tools, **values)
    _check_sampling(options)
    return options


def _texts(name: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(text, str) for text in given):
        raise ModelError(f"{name} must be a list of texts, not {given!r}")
    return tuple(given)


def _check(values: dict[str, Any]) -> None:
    for name in _WHOLE + _NUMBERS:
        value = values.get(name)
        kinds = Integral if name in _WHOLE else Real
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            kind = "a whole number" if name in _WHOLE else "a number"
            raise ModelError(f"{name} must be {kind}, not {value!r}")
        if name in _NUMBERS and value is not None and not math.isfinite(value):
            raise ModelError(f"{name} must be finite, not {value!r}")
    if not isinstance(values["model"], str):
        raise ModelError(f"model must be a name or a path as text, not {values['model']!r}")
    if not isinstance(values.get("cancel"), (threading.Event, NoneType)):
        raise ModelError("cancel must be a threading.Event")
    if values["max_tokens"] < 1:
        raise ModelError(f"max_tokens must be at least 1, not {values['max_tokens']}")
    if values.pop("n", 1) != 1:
        raise ModelError("n must be 1: ask again, with another seed, for another reply")
    top = values.get("top_logprobs", 0)
    if not 0 <= top <= _MOST_TOP:
        raise ModelError(f"top_logprobs must be from 0 to {_MOST_TOP}, not {top}")
    if top and not values.get("logprobs"):
        raise ModelError(f"top_logprobs={top} needs logprobs=True")


def _check_sampling(options: CallOptions) -> None:
    from llm_core.writing import sampling_of  # here, as it needs torch

    try:
        sampling_of(options)
    except ValueError as err:
        raise ModelError(str(err)) from None
