"""From turns of a conversation to token ids, by the chat template of the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm_core.errors import ModelError, ModelFileError
from llm_core.tokenizer import TextTokenizer

Role = Literal["system", "user", "assistant"]
_SLOT = "\ue000{}\ue001"  # private-use characters stand in for content that names a mark


@dataclass(frozen=True)
class Turn:
    """What one side said."""

    role: Role
    text: str
    from_tool: bool = False


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
        self._template = _compile(source)
        self._names = {
            key: _name(tokenizer.settings.get(key)) for key in ("bos_token", "eos_token")
        }

    def encode(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of the conversation, up to where the assistant's reply begins."""
        turns = merge(turns)
        if not any(mark in turn.text for turn in turns for mark in self._tokenizer.marks):
            return self._tokenizer.encode(self._render(turns))
        slots = [_SLOT.format(number) for number in range(len(turns))]
        rest = self._render(
            [Turn(turn.role, slot) for turn, slot in zip(turns, slots, strict=True)]
        )
        ids: list[int] = []
        for turn, slot in zip(turns, slots, strict=True):
            before, _, rest = rest.partition(slot)
            ids += self._tokenizer.encode(before)
            ids += self._tokenizer.encode(turn.text, marks=False)
        return ids + self._tokenizer.encode(rest)

    def _render(self, turns: Sequence[Turn]) -> str:
        from jinja2 import TemplateError

        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        options = {"messages": messages, "add_generation_prompt": True, **self._names}
        try:
            return str(self._template.render(**options))
        except TemplateError as err:
            raise ModelFileError(f"the model's chat template fails: {err}") from err


def merge(turns: Sequence[Turn]) -> list[Turn]:
    """One system turn at the front, and no two turns of the same side in a row."""
    if not turns:
        raise ModelError("there is no message to answer")
    system = "\n\n".join(turn.text for turn in turns if turn.role == "system")
    merged = [Turn("system", system)] if system else []
    for turn in turns:
        if turn.role == "system":
            continue
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, f"{merged[-1].text}\n\n{turn.text}")
        else:
            merged.append(turn)
    return merged


def _compile(source: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(source)
    except TemplateError as err:
        raise ModelFileError(f"the model's chat template is broken: {err}") from err


def _refuse(message: str) -> None:
    raise ModelError(f"the model's chat template refuses the conversation: {message}")


def _name(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
