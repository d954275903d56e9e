"""`LocalChatModel`: a LangChain chat model that runs in this process, with no server and no key.

Streaming, stop strings, token budgets, tool calls and structured output all work on the
plain weights: replies that must have a form are decoded under a grammar.

    from llm_core import LocalChatModel
    LocalChatModel().invoke("What is a carbuncle?")
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, run_in_executor
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr

from llm_core.messages import as_messages, to_turns
from llm_core.options import DEFAULTS, CallOptions, read_options
from llm_core.parts import CallPart, Part, TextPart
from llm_core.structured_output import structured_runnable
from llm_core.toolcalls import ToolSpec, tool_choice_of

PROVIDER = "deerstalker"


class LocalChatModel(BaseChatModel):
    """A chat model in this process.

    Every field but the last five may be overridden per call, as may `tools`, `tool_choice`,
    `response_format`, `copy_from` (texts whose words are preferred in JSON values) and
    `cancel` (a threading.Event that ends the call within one token).
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: str = "smollm2-135m"
    adapter: str | None = None
    """The folder of a low-rank adapter (PEFT format) that the replies are written with."""
    temperature: float = Field(default=0.0, ge=0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, lt=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    frequency_penalty: float = 0.0
    max_tokens: int = Field(default=256, ge=1)
    stop: list[str] | None = None
    seed: int | None = None
    deterministic: bool = False
    repetition_guard: bool = True
    """Whether free text that has become a loop ends, with the finish reason "repetition"."""
    window: int | None = Field(default=None, ge=16)
    """Tokens of prompt and reply together, where fewer are wanted than the model has."""
    cache_dir: Path | None = None
    threads: int | None = Field(default=None, ge=1)
    dtype: Literal["auto", "bfloat16", "float32"] | None = None
    embeddings: Any = Field(default=None, exclude=True, repr=False)
    """An embedding model that helps to decide whether a tool is called; optional."""

    _repliers: dict[tuple[Any, ...], Any] = PrivateAttr(default_factory=dict)

    def score(
        self, prompt: LanguageModelInput, continuations: Sequence[str], **kwargs: Any
    ) -> list[float]:
        """Summed natural-log probability of each continuation as the reply to `prompt`."""
        options = self._options(None, kwargs)
        replier = self._replier(options.model)
        ids = replier.template.encode(to_turns(as_messages(prompt)))
        tails = [replier.engine.tokenizer.encode(text, marks=False) for text in continuations]
        sequences = [(ids + tail, len(tail)) for tail in tails]
        return list(replier.score(sequences, options))

    def score_prompts(
        self, prompts: Sequence[LanguageModelInput], continuation: str, **kwargs: Any
    ) -> list[float]:
        """Summed natural-log probability of one continuation as the reply to each prompt."""
        options = self._options(None, kwargs)
        replier = self._replier(options.model)
        tail = replier.engine.tokenizer.encode(continuation, marks=False)
        heads = [replier.template.encode(to_turns(as_messages(prompt))) for prompt in prompts]
        sequences = [(head + tail, len(tail)) for head in heads]
        return list(replier.score(sequences, options))

    def extract(
        self,
        prompt: LanguageModelInput,
        text: str,
        prefix: str = "",
        max_tokens: int = 24,
        **kwargs: Any,
    ) -> str:
        """The contiguous run of words of `text` that the model replies with, greedily.

        `prefix` is put before it in the reply and left out of the result.
        """
        fixed = {"temperature": 0.0, "max_tokens": max_tokens}
        options = self._options(None, {**kwargs, **fixed})
        turns = to_turns(as_messages(prompt))
        return str(self._replier(options.model).extract(turns, text, prefix, options))

    @property
    def context_window(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        return int(self._replier(self.model).window)

    @cached_property
    def model_hash(self) -> str:
        """The hash of the model's files."""
        from llm_core.loading import model_hash, resolve

        return model_hash(resolve(self.model, self._cache_dir()))

    def configuration(self) -> dict[str, Any]:
        """The settings as JSON values; `LocalChatModel(**settings)` is the same model again."""
        names = (*DEFAULTS, "stop", "window", "cache_dir", "threads", "dtype")
        return self.model_dump(mode="json", include=set(names))

    def get_token_ids(self, text: str) -> list[int]:
        """The token ids of a text, without a chat template."""
        ids: list[int] = self._replier(self.model).engine.tokenizer.encode(text, marks=False)
        return ids

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """The size of the prompt that these messages become."""
        from llm_core.toolcalls import offer_turns

        turns = to_turns(messages)
        if tools:
            specs = [ToolSpec.of(convert_to_openai_tool(tool)) for tool in tools]
            turns = offer_turns(turns, specs)
        return len(self._replier(self.model).template.encode(turns))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools: "auto" (the default) decides, "any" or a name must call, "none" never."""
        converted = [convert_to_openai_tool(tool) for tool in tools]
        choice = tool_choice_of(tool_choice, [ToolSpec.of(tool) for tool in converted])
        return self.bind(tools=converted, tool_choice=choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["function_calling", "json_schema", "json_mode"] = "json_schema",
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Replies as objects of `schema`: valid, or InvalidReplyError after one repair."""
        kwargs.pop("strict", None)  # every reply is strict
        return structured_runnable(self, schema, method=method, include_raw=include_raw, **kwargs)

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*DEFAULTS, "stop", "window", "dtype")}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = PROVIDER
        params["ls_model_name"] = kwargs.get("model") or self.model
        return params

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 (given by the base)
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        from llm_core.parts import Usage

        options = self._options(stop, kwargs)
        usage = Usage()
        parts = self._replier(options.model).reply(to_turns(messages), options, usage)
        while True:
            try:
                part = next(parts)
            except StopIteration as end:
                yield _last_chunk(options.model, str(end.value), usage.prompt, usage.reply)
                return
            yield part_chunk(part)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 (same)
        **kwargs: Any,
    ) -> ChatResult:
        # Unlike the inherited method, a cancelled task also ends the work in its thread.
        cancel = kwargs.pop("cancel", None) or threading.Event()
        try:
            return await run_in_executor(
                None, self._generate, messages, stop, None, cancel=cancel, **kwargs
            )
        except asyncio.CancelledError:
            cancel.set()
            raise

    def _options(self, stop: Sequence[str] | None, kwargs: dict[str, Any]) -> CallOptions:
        defaults = {name: getattr(self, name) for name in (*DEFAULTS, "stop")}
        return read_options(defaults, stop, kwargs)

    def _cache_dir(self) -> Path:
        from llm_core.settings import load_settings

        return self.cache_dir or load_settings().cache_dir

    def _replier(self, name: str) -> Any:
        """What answers under a model's name; loads the model on first use."""
        # Copies of this object share the table, and may differ in any of these.
        settled = (self.cache_dir, self.dtype, self.threads, self.window, id(self.embeddings))
        found = self._repliers.get((name, *settled))
        if found is None:
            from llm_core.engine import open_engine
            from llm_core.loading import resolve
            from llm_core.reply import Replier
            from llm_core.settings import load_settings

            settings = load_settings()
            engine = open_engine(
                resolve(name, self._cache_dir()),
                self.dtype,
                self.threads or settings.threads,
                settings,
            )
            found = Replier(engine, self.embeddings, self.window)
            self._repliers[(name, *settled)] = found
        return found


def _last_chunk(model: str, finish: str, prompt: int, reply: int) -> ChatGenerationChunk:
    message = AIMessageChunk(
        content="",
        chunk_position="last",
        response_metadata={
            "model_name": model,
            "model_provider": PROVIDER,
            "finish_reason": finish,
        },
        usage_metadata=UsageMetadata(
            input_tokens=prompt, output_tokens=reply, total_tokens=prompt + reply
        ),
    )
    return ChatGenerationChunk(message=message, generation_info={"finish_reason": finish})


def part_chunk(part: Part) -> ChatGenerationChunk:
    """A part of a reply as LangChain streams it; the first one of a call carries its id."""
    if isinstance(part, TextPart):
        return ChatGenerationChunk(message=AIMessageChunk(content=part.text))
    if isinstance(part, CallPart):
        call_id = f"call_{uuid4().hex[:24]}"
        call = tool_call_chunk(name=part.name, args="", id=call_id, index=part.index)
    else:
        call = tool_call_chunk(args=part.text, index=part.index)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))
