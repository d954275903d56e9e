"""From turns of a conversation to token ids, by the chat template of the model."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from llm_core.errors import ModelError, ModelFileError
from llm_core.tokenizer import TextTokenizer

Role = Literal["system", "user", "assistant"]
_SLOT = "\ue000{}\ue001"  # private-use characters stand in for text that names a mark
_SLOTS = re.compile("\ue000([0-9]+)\ue001")
_NAME, _KEY = "deerstalker_probe", "deerstalker_argument"


@dataclass(frozen=True)
class Call:
    """A call of a tool that an earlier turn made."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True)
class Turn:
    """What one side said.

    `text` holds all of it in words, calls and results of tools too. The other fields are the
    same in parts, for templates that know tools: `calls`, and `content` without them; a
    result has the name of its `tool` and the `call_id` it answers.
    """

    role: Role
    text: str
    from_tool: bool = False
    content: str | None = field(default=None, compare=False)
    calls: tuple[Call, ...] = field(default=(), compare=False)
    tool: str = field(default="", compare=False)
    call_id: str = field(default="", compare=False)
    failed: bool = field(default=False, compare=False)


class ChatTemplate:
    """The model's own way of writing a conversation.

    Text that happens to spell a special token, such as `<|im_end|>`, is encoded as ordinary
    characters: a document cannot end its turn and speak as somebody else.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        source = tokenizer.settings.get("chat_template")
        if not isinstance(source, str):
            raise ModelFileError("the model has no chat template, so it cannot hold a conversation")
        self._tokenizer = tokenizer
        self._template, names = _compile(source)
        self._reads_tools = "tools" in names
        marks = sorted(tokenizer.marks, key=len, reverse=True)
        self._reserved = re.compile("|".join([*map(re.escape, marks), _SLOTS.pattern]))
        self._names = {
            key: _name(tokenizer.settings.get(key)) for key in ("bos_token", "eos_token")
        }

    @property
    def knows_tools(self) -> bool:
        """Whether the template itself writes tools and calls, in a form that can be followed."""
        return self._call_start is not None

    def encode(self, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Token ids of the conversation, up to where the assistant's reply begins.

        `tools`, in OpenAI's form, are for a template that knows them.
        """
        messages = _native(turns) if self.knows_tools else _plain(turns)
        return self._encode(self._render, messages, tools)

    def encode_call(
        self, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]], name: str
    ) -> list[int]:
        """The same with the start of a call of `name`, up to the blank before its arguments."""
        if self._call_start is None:
            raise ModelError("the model's chat template does not know tools")
        start = self._call_start.replace(_NAME, name)
        return self.encode(turns, tools) + self._tokenizer.encode(start)

    @cached_property
    def _call_start(self) -> str | None:
        """How the template begins a call of `_NAME`, learnt from one that it writes itself."""
        if not self._reads_tools:
            return None
        asked = [Turn("user", "x")]
        call = Turn("assistant", "", content="", calls=(Call(_NAME, {_KEY: "x"}, "1"),))
        tool = {"name": _NAME, "description": "x", "parameters": {"type": "object"}}
        tools = [{"type": "function", "function": tool}]
        try:
            opening = self._render(_native(asked), tools)
            whole = self._render(_native([*asked, call]), tools, reply=False)
        except ModelError:
            return None
        if not whole.startswith(opening):
            return None
        before, key, _ = whole[len(opening) :].partition(f'"{_KEY}"')
        start = before.rpartition("{")[0].rstrip()
        return start if key and start.count(_NAME) == 1 else None

    def _encode(self, render: Any, messages: Any, tools: Any) -> list[int]:
        reserved: list[str] = []

        def hide(found: re.Match[str]) -> str:
            reserved.append(found.group())
            return _SLOT.format(len(reserved) - 1)

        def clean(value: Any) -> Any:
            if isinstance(value, str):
                return self._reserved.sub(hide, value)
            if isinstance(value, Mapping):
                return {clean(key): clean(part) for key, part in value.items()}
            if isinstance(value, (list, tuple)):
                return [clean(part) for part in value]
            return value

        text = render(clean(messages), clean(tools))
        if not reserved:
            return self._tokenizer.encode(text)
        ids: list[int] = []
        for number, piece in enumerate(_SLOTS.split(text)):
            if number % 2:
                ids += self._tokenizer.encode(reserved[int(piece)], marks=False)
            elif piece:
                ids += self._tokenizer.encode(piece)
        return ids

    def _render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        reply: bool = True,
    ) -> str:
        from jinja2 import TemplateError

        options = {"messages": messages, "add_generation_prompt": reply, **self._names}
        try:
            return str(self._template.render(**options, tools=list(tools) or None))
        except TemplateError as err:
            raise ModelFileError(f"the model's chat template fails: {err}") from err


def _plain(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": turn.text} for turn in merge(turns)]


def _native(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Messages as templates that know tools read them (Hugging Face's form)."""
    messages: list[dict[str, Any]] = []
    numbers: dict[str, str] = {}  # some templates want nine letters and digits
    for turn in merge(turns, tools=True):
        content = turn.text if turn.content is None else turn.content
        if turn.from_tool:
            number = numbers.get(turn.call_id, "call00000")
            result = {"name": turn.tool, "tool_call_id": number, "content": content}
            messages.append({"role": "tool", **result})
            continue
        messages.append({"role": turn.role, "content": content})
        if turn.calls:
            for call in turn.calls:
                numbers[call.id] = f"call{len(numbers):05d}"
            messages[-1]["tool_calls"] = [
                {
                    "type": "function",
                    "id": numbers[call.id],
                    "function": {"name": call.name, "arguments": dict(call.arguments)},
                }
                for call in turn.calls
            ]
    return messages


def merge(turns: Sequence[Turn], *, tools: bool = False) -> list[Turn]:
    """One system turn at the front, and no two turns of the same side in a row.

    With `tools`, calls and results keep turns of their own.
    """
    if not turns:
        raise ModelError("there is no message to answer")
    system = "\n\n".join(turn.text for turn in turns if turn.role == "system")
    merged = [Turn("system", system)] if system else []
    for turn in turns:
        if turn.role == "system":
            continue
        apart = tools and any(part.calls or part.from_tool for part in (turn, *merged[-1:]))
        if merged and merged[-1].role == turn.role and not apart:
            merged[-1] = Turn(turn.role, f"{merged[-1].text}\n\n{turn.text}")
        else:
            merged.append(turn)
    return merged


def _compile(source: str) -> tuple[Any, set[str]]:
    """The template, and the names of the variables that it reads."""
    from jinja2 import TemplateError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    environment.filters["tojson"] = _to_json
    try:
        names = meta.find_undeclared_variables(environment.parse(source))
        return environment.from_string(source), names
    except TemplateError as err:
        raise ModelFileError(f"the model's chat template is broken: {err}") from err


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    # Jinja's own would write "<" and "&" for web pages, which no model was trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    raise ModelError(f"the model's chat template refuses the conversation: {message}")


def _name(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
