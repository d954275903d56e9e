"""`with_structured_output`: objects of a schema as the results of a LangChain runnable.

A reply that does not give an object is asked for once more, with the reason, and then refused.
Streams are growing objects: each is the one before with more of its text, the last is whole.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.utils import AddableDict

from llm_core.errors import ContextBudgetError
from llm_core.messages import as_messages, content_text
from llm_core.structured import InvalidReplyError, ReplyParser, json_schema_of, repair_request

METHODS = ("function_calling", "json_schema", "json_mode")


def structured_runnable(
    model: BaseChatModel, schema: Any, *, method: str, include_raw: bool, **options: Any
) -> "StructuredOutput":
    """A runnable whose every result satisfies `schema`, or that raises InvalidReplyError."""
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown: use one of {', '.join(METHODS)}")
    if schema is None and method != "json_mode":
        raise ValueError(f"method {method!r} needs a schema")
    wanted = {"type": "object"} if schema is None else json_schema_of(schema)
    name = wanted.get("title", "reply")
    bound = model.bind(
        response_format={"type": "json_schema", "json_schema": {"name": name, "schema": wanted}},
        ls_structured_output_format={"kwargs": {"method": method}, "schema": wanted},
        **options,
    )
    return StructuredOutput(bound, ReplyParser(schema, wanted), include_raw)


class StructuredOutput(RunnableLambda[LanguageModelInput, Any]):
    """Objects out of the replies of `model`; with `include_raw` a dict with the reply too.

    Where tools are bound as well and one is called, there is no object: the result is None.

    With `include_raw` a stream is the reply in chunks and then the object; as the reply has been
    shown before it can fail, it is not repaired.
    """

    def __init__(
        self, model: Runnable[LanguageModelInput, AIMessage], parser: ReplyParser, include_raw: bool
    ) -> None:
        super().__init__(self._ask, self._ask_async, name="StructuredOutput")
        self._model = model
        self._parser = parser
        self._include_raw = include_raw

    def transform(
        self,
        input: Iterator[LanguageModelInput],  # noqa: A002 (named by the base class)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """The object as it grows."""
        grow: Any = self._grow  # called with the config by its name
        yield from self._transform_stream_with_config(input, grow, config, **kwargs)

    async def atransform(
        self,
        input: AsyncIterator[LanguageModelInput],  # noqa: A002 (same)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """The object as it grows."""
        grow: Any = self._grow_async
        async for item in self._atransform_stream_with_config(input, grow, config, **kwargs):
            yield item

    def _ask(self, question: LanguageModelInput, config: RunnableConfig, **options: Any) -> Any:
        asking = _Asking(self._parser, question)
        while asking.open:
            try:
                asking.answer(self._model.invoke(asking.question, config, **options))
            except (InvalidReplyError, ContextBudgetError) as error:
                asking.fail(error)
        return asking.result(self._include_raw)

    async def _ask_async(
        self, question: LanguageModelInput, config: RunnableConfig, **options: Any
    ) -> Any:
        asking = _Asking(self._parser, question)
        while asking.open:
            try:
                asking.answer(await self._model.ainvoke(asking.question, config, **options))
            except (InvalidReplyError, ContextBudgetError) as error:
                asking.fail(error)
        return asking.result(self._include_raw)

    def _grow(
        self, questions: Iterator[LanguageModelInput], config: RunnableConfig, **options: Any
    ) -> Iterator[Any]:
        growing = _Growing(self._parser, self._include_raw, _joined(list(questions)))
        try:
            for chunk in self._model.stream(growing.question, config, **options):
                yield from growing.feed(chunk)
            growing.end()
            if growing.open:
                growing.answer(self._model.invoke(growing.question, config, **options))
        except (InvalidReplyError, ContextBudgetError) as error:
            growing.fail(error)
        yield from growing.last()

    async def _grow_async(
        self, questions: AsyncIterator[LanguageModelInput], config: RunnableConfig, **options: Any
    ) -> AsyncIterator[Any]:
        question = _joined([part async for part in questions])
        growing = _Growing(self._parser, self._include_raw, question)
        try:
            async for chunk in self._model.astream(growing.question, config, **options):
                for item in growing.feed(chunk):
                    yield item
            growing.end()
            if growing.open:
                growing.answer(await self._model.ainvoke(growing.question, config, **options))
        except (InvalidReplyError, ContextBudgetError) as error:
            growing.fail(error)
        for item in growing.last():
            yield item


class _Asking:
    """What one question has come to: at most two replies, and what they hold.

    While `open`, `question` is to be asked.
    """

    def __init__(self, parser: ReplyParser, question: LanguageModelInput) -> None:
        self.question = question
        self.open = True
        self._parser = parser
        self._raw: BaseMessage | None = None
        self._parsed: Any = None
        self._error: InvalidReplyError | None = None

    def answer(self, raw: BaseMessage) -> None:
        """Take a reply; the first one that is wrong gives another question.

        A call of a tool is no object, and no mistake either.
        """
        repaired = self._raw is not None
        self._raw, self._error = raw, None
        if isinstance(raw, AIMessage) and raw.tool_calls:
            self.open = False
            return
        try:
            self._parsed = self._parser.whole(content_text(raw.content))
        except InvalidReplyError as error:
            self._error = error
            request = HumanMessage(repair_request(str(error)))
            self.question = [*as_messages(self.question), raw, request]
        self.open = self._error is not None and not repaired

    def fail(self, error: InvalidReplyError | ContextBudgetError) -> None:
        """Take a reply that the model could not repair itself, or that has no room for a repair.

        Raises the error where the question itself has no room.
        """
        if isinstance(error, InvalidReplyError):
            self._raw, self._error = AIMessage(error.reply), error
        elif self._error is None:
            raise error
        self.open = False

    def result(self, include_raw: bool) -> Any:
        """The object; raises InvalidReplyError where there is none and no raw reply is wanted."""
        if include_raw:
            parsed = None if self._error else self._parsed
            return {"raw": self._raw, "parsed": parsed, "parsing_error": self._error}
        if self._error is not None:
            raise self._error
        return self._parsed


class _Growing(_Asking):
    """The same where the first reply comes in chunks, and objects are made of its beginnings."""

    def __init__(
        self, parser: ReplyParser, include_raw: bool, question: LanguageModelInput
    ) -> None:
        super().__init__(parser, question)
        self._include_raw = include_raw
        self._chunks: list[AIMessageChunk] = []
        self._text = ""
        self._shown: Any = None

    def feed(self, chunk: BaseMessage) -> Iterator[Any]:
        """Read on; the object where it has grown."""
        assert isinstance(chunk, AIMessageChunk), "models stream chunks"
        self._chunks.append(chunk)
        if self._include_raw:
            yield AddableDict(raw=chunk)
            return
        if more := content_text(chunk.content):
            self._text += more
            part = self._parser.part(self._text)
            if part is not None and part != self._shown:
                self._shown = part
                yield part

    def end(self) -> None:
        """Take the reply that the chunks are."""
        first, *others = self._chunks
        self.answer(add_ai_message_chunks(first, *others))
        self.open = self.open and not self._include_raw

    def last(self) -> Iterator[Any]:
        """The whole object, unless it has been shown already."""
        whole = self.result(self._include_raw)
        if self._include_raw:
            yield AddableDict(parsed=whole["parsed"], parsing_error=whole["parsing_error"])
        elif whole != self._shown or type(whole) is not type(self._shown):
            yield whole


def _joined(parts: list[Any]) -> Any:
    """One input, which a chain may have streamed in parts."""
    question = parts[0]
    for part in parts[1:]:
        question = question + part
    return question
