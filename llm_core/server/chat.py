"""`/v1/chat/completions`: one request, from its body to the parts of its reply."""

import json
import threading
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llm_core.errors import StructuredOutputError
from llm_core.options import DEFAULTS, CallOptions, read_options
from llm_core.parts import Part, TextPart, Usage
from llm_core.prompt import Turn
from llm_core.server.completions import ChatCompletion, Completion
from llm_core.server.conversation import conversation
from llm_core.server.logs import Record
from llm_core.server.models import Models
from llm_core.server.schemas import ChatRequest, ChosenTool, SchemaFormat, TextFormat
from llm_core.server.validity import check_schema
from llm_core.structured import grammar_holds, violation

if TYPE_CHECKING:
    from llm_core.reply import Replier

# Fields that the chat model knows by the same name.
_SAME = (
    *("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty"),
    *("seed", "logprobs", "top_logprobs", "parallel_tool_calls", "deterministic", "copy_from"),
)


class ChatJob:
    """One request for a reply; raises ModelError where it cannot be served.

    `cancel` ends the reply within one token; `record` is told of the first and of them all.
    """

    def __init__(self, models: Models, request: ChatRequest, record: Record) -> None:
        models.require(request.model, "chat")
        self.cancel = threading.Event()
        self._usage = Usage()
        self._record = record
        self._models = models
        self._request = request
        self._turns = conversation(request.messages)
        self._given = _given(request)
        self._schema = _schema(request)
        self._completion = Completion(request.model, logprobs=bool(request.logprobs))

    def whole(self) -> ChatCompletion:
        """Write the reply and return it in one piece."""
        parts, finish = _collected(self._watched())
        return self._completion.whole(parts, finish, self._usage)

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Write the reply, and yield it in chunks as it is written.

        The first one waits for the first part, so that nothing is sent of a reply that fails.
        """
        writing, made = self._watched(), self._completion
        finish = None
        begun = False
        while finish is None:
            try:
                part: Part | None = next(writing)
            except StopIteration as end:
                part, finish = None, str(end.value)
            if not begun:
                begun = True
                yield made.first()
            if part is not None and not _is_empty(part):
                yield made.piece(part)
        yield made.last(finish)
        asked = self._request.stream_options
        if asked is not None and asked.include_usage:
            yield made.accounts(self._usage)

    def _watched(self) -> Generator[Part, None, str]:
        """The parts of the reply; the record hears of the first one and of the end."""
        model, writing, reason = self._request.model, self._write(), None
        begun = False
        try:
            while True:
                try:
                    part = next(writing)
                except StopIteration as end:
                    reason = str(end.value)
                    return reason
                if not begun:
                    begun = True
                    self._record.first_token(model)
                yield part
        finally:
            self._record.finished(model, self._usage.prompt, self._usage.reply, reason)

    def _write(self) -> Generator[Part, None, str]:
        """The parts of the reply; one that breaks its schema is asked for once more."""
        chat = self._models.chat(self._request.model)
        stop = self._request.stop
        stops = [stop] if isinstance(stop, str) else stop
        given = {**self._given, "adapter": chat.adapter, "cancel": self.cancel}
        options = read_options(_defaults(self._request.model), stops, given)
        if self._schema is None or grammar_holds(self._schema):
            return (yield from chat.replier.reply(self._turns, options, self._usage))
        return (yield from self._checked(chat.replier, options, self._schema))

    def _checked(
        self, replier: "Replier", options: CallOptions, schema: dict[str, Any]
    ) -> Generator[Part, None, str]:
        turns, reason = self._turns, None
        for _ in range(2):
            parts, finish = _collected(replier.reply(turns, options, self._usage))
            text = "".join(part.text for part in parts if isinstance(part, TextPart))
            if finish != "tool_calls":
                reason = violation(json.loads(text), schema)
            if reason is None:
                yield from parts
                return finish
            again = f"That reply is not valid: {reason[:400]}. Answer again, correctly."
            turns = [*turns, Turn("assistant", text), Turn("user", again)]
        raise StructuredOutputError(f"no valid reply, also when asked again: {reason}")


def _collected(writing: Generator[Part, None, str]) -> tuple[list[Part], str]:
    """All parts of a reply, and why it ended."""
    parts: list[Part] = []
    while True:
        try:
            parts.append(next(writing))
        except StopIteration as end:
            return parts, str(end.value)


def _is_empty(part: Part) -> bool:
    """Whether a part has nothing to show: the first bytes of a character that goes on."""
    return isinstance(part, TextPart) and not part.text and not part.logprobs


def _given(request: ChatRequest) -> dict[str, Any]:
    """The request's options under the names that the chat model knows."""
    given = {name: getattr(request, name) for name in _SAME}
    given["max_tokens"] = request.max_completion_tokens or request.max_tokens
    if request.tools:
        given["tools"] = [tool.model_dump(exclude_none=True) for tool in request.tools]
    for number, tool in enumerate(request.tools or ()):
        place = f"tools.{number}.function.parameters"
        check_schema(tool.function.parameters or {}, place)
    choice = request.tool_choice
    given["tool_choice"] = choice.function.name if isinstance(choice, ChosenTool) else choice
    form = request.response_format
    if form is not None and not isinstance(form, TextFormat):
        given["response_format"] = form.model_dump(by_alias=True, exclude_none=True)
    return {name: value for name, value in given.items() if value is not None}


def _schema(request: ChatRequest) -> dict[str, Any] | None:
    """The schema that the reply must satisfy, where one is given."""
    form = request.response_format
    if not isinstance(form, SchemaFormat):
        return None
    schema = form.json_schema.schema_ or {"type": "object"}
    check_schema(schema, "response_format.json_schema.schema")
    return schema


def _defaults(model: str) -> Mapping[str, Any]:
    """What counts where a request says nothing: the defaults of the chat model."""
    from llm_core.chat_model import LocalChatModel

    fields = LocalChatModel.model_fields
    return {**{name: fields[name].default for name in (*DEFAULTS, "stop")}, "model": model}
