"""`/v1/chat/completions`: one request, from its body to the parts of its reply."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from llm_core.options import DEFAULTS, CallOptions, read_options
from llm_core.parts import Part, TextPart, Usage
from llm_core.server.completions import ChatCompletion, Completion
from llm_core.server.conversation import conversation
from llm_core.server.logs import Record
from llm_core.server.models import Models
from llm_core.server.schemas import ChatRequest, ChosenTool, SchemaFormat
from llm_core.server.validity import check_schema

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
        self._finish = ""  # why the reply ended
        self._record = record
        self._models = models
        self._request = request
        self._turns = conversation(request.messages)
        self._options = _options(request, self.cancel)
        self._completion = Completion(request.model, logprobs=bool(request.logprobs))

    def whole(self) -> ChatCompletion:
        """Write the reply and return it in one piece."""
        parts = list(self._parts())
        return self._completion.whole(parts, self._finish, self._usage)

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Write the reply, and yield it in chunks as it is written.

        The first one waits for the first part, so that nothing is sent of a reply that fails.
        """
        made, begun = self._completion, False
        for part in self._parts():
            if not begun:
                begun = True
                yield made.first()
            if not _is_empty(part):
                yield made.piece(part)
        if not begun:
            yield made.first()
        yield made.last(self._finish)
        asked = self._request.stream_options
        if asked is not None and asked.include_usage:
            yield made.accounts(self._usage)

    def _parts(self) -> Iterator[Part]:
        """The parts of the reply; the record hears of the first one and of the end."""
        model, begun = self._request.model, False
        try:
            for part in self._write():
                if not begun:
                    begun = True
                    self._record.first_token(model)
                yield part
        finally:
            self._record.finished(
                model, self._usage.prompt, self._usage.reply, self._finish or None
            )

    def _write(self) -> Iterator[Part]:
        """The parts of the reply; a model that is not in memory is loaded first."""
        chat = self._models.chat(self._request.model)
        options = replace(self._options, adapter=chat.adapter)
        self._finish = yield from chat.replier.reply(self._turns, options, self._usage)


def _is_empty(part: Part) -> bool:
    """Whether a part has nothing to show: the first bytes of a character that goes on."""
    return isinstance(part, TextPart) and not part.text and not part.logprobs


def _options(request: ChatRequest, cancel: threading.Event) -> CallOptions:
    """What the request asks of the chat model; raises ModelError for what cannot be."""
    from llm_core.chat_model import LocalChatModel

    fields = LocalChatModel.model_fields
    defaults = {name: fields[name].default for name in (*DEFAULTS, "stop")}
    stops = [request.stop] if isinstance(request.stop, str) else request.stop
    given = {**_given(request), "model": request.model, "cancel": cancel}
    return read_options(defaults, stops, given)


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
    if isinstance(form, SchemaFormat):
        check_schema(form.json_schema.schema_, "response_format.json_schema.schema")
    if form is not None:
        given["response_format"] = form.model_dump(by_alias=True, exclude_none=True)
    return {name: value for name, value in given.items() if value is not None}
