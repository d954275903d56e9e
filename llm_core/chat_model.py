"""`LocalChatModel`: a LangChain chat model that runs in this process, with no server and no key.

Streaming, stop strings, token budgets, tool calls and structured output all work on the
plain weights: replies that must have a form are decoded under a grammar.

    from llm_core import LocalChatModel
    LocalChatModel().invoke("What is a carbuncle?")
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, run_in_executor
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, PrivateAttr

from llm_core.cancel import Cancel
from llm_core.chunks import PROVIDER, last_chunk, part_chunk
from llm_core.errors import ModelError
from llm_core.messages import as_messages, to_turns
from llm_core.options import DEFAULTS, CallOptions, read_options
from llm_core.parts import Usage
from llm_core.structured_output import structured_runnable
from llm_core.tool_forms import openai_tool
from llm_core.toolcalls import tool_choice_of, tools_of


class _Table(dict[Any, Any]):
    """What copies of a model share, and what is not written down with it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Table":
        return self

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Table, ()


class LocalChatModel(BaseChatModel):
    """A chat model in this process.

    Every field but the last five may be overridden per call. A call may also give `tools`,
    `tool_choice`, `parallel_tool_calls`, `response_format` (JSON, a pattern or choices, see
    `llm_core.reply_format`), `logprobs` and `top_logprobs` (told in `response_metadata` as
    OpenAI does), `copy_from` (texts whose words are preferred in JSON values) and `cancel` (a
    threading.Event that ends the call within one token). Stop strings end free text alone: a
    reply that has a form, and a call of a tool, are always whole.
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

    _repliers: dict[Any, Any] = PrivateAttr(default_factory=_Table)
    _hashes: dict[Any, Any] = PrivateAttr(default_factory=_Table)

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

    @property
    def model_hash(self) -> str:
        """The hash of the model's files."""
        return self._hash_of(self.model)

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
        """The size of the prompt that these messages become; 0 without any."""
        from llm_core.tool_prompts import offer_prompt

        if not messages:
            return 0
        template = self._replier(self.model).template
        turns = to_turns(messages)
        if not tools:
            return len(template.encode(turns))
        specs = tools_of([openai_tool(tool) for tool in tools])
        return len(offer_prompt(template, turns, specs))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools: "auto" (the default) decides, "any" or a name must call, "none" never.

        Raises ModelError for what is no tool, and for a choice that is not on offer.
        """
        converted = [openai_tool(tool) for tool in tools]
        choice = tool_choice_of(tool_choice, tools_of(converted))
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

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain may write this model down; its weights are not part of that."""
        return True

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Settings that have to change their form to be written as JSON."""
        return {} if self.cache_dir is None else {"cache_dir": str(self.cache_dir)}

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    def _resolve_model_profile(self) -> ModelProfile | None:
        # Agents then ask for `response_format`, rather than for a tool that stands for it.
        return ModelProfile(
            text_inputs=True,
            text_outputs=True,
            tool_calling=True,
            tool_choice=True,
            structured_output=True,
        )

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The key of LangChain's caches, which changes when the files of the model do."""
        kwargs.pop("cancel", None)
        files = [self._hash_of(kwargs.get("model") or self.model)]
        if adapter := kwargs.get("adapter") or self.adapter:
            from llm_core.store import sha256_of

            files += [sha256_of(file) for file in sorted(Path(adapter).glob("adapter_*"))]
        if kwargs.get("tools"):
            files.append(self._embeddings_name())
        return "---".join([super()._get_llm_string(stop, **kwargs), *files])

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
        options = self._options(stop, kwargs)
        if not messages:
            raise ModelError("there is no message to answer")
        usage = Usage()
        parts = self._replier(options.model).reply(to_turns(messages), options, usage)
        try:
            while True:
                try:
                    part = next(parts)
                except StopIteration as end:
                    yield last_chunk(options.model, str(end.value), usage)
                    return
                yield part_chunk(part)
        finally:
            parts.close()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 (same)
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # Unlike the inherited method, a reader that goes away ends the work in its thread.
        cancel = Cancel(kwargs.pop("cancel", None))
        chunks = self._stream(messages, stop, cancel=cancel, **kwargs)
        ended = False
        try:
            while (chunk := await run_in_executor(None, next, chunks, None)) is not None:
                yield chunk
            ended = True
        finally:
            if not ended:
                cancel.set()

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
        cancel = Cancel(kwargs.pop("cancel", None))
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

    def _hash_of(self, name: str) -> str:
        from llm_core.loading import model_hash, resolve

        folder = resolve(name, self._cache_dir())
        if folder not in self._hashes:
            self._hashes[folder] = model_hash(folder)
        return str(self._hashes[folder])

    def _embeddings_name(self) -> str:
        """What stands for the embeddings that help to choose tools."""
        from llm_core.tool_choice import default_embedder, embedder_name

        used = self.embeddings
        if used is None:
            used = default_embedder(self.cache_dir)
        if id(used) not in self._hashes:
            self._hashes[id(used)] = used, embedder_name(used)  # held, so that its id stays its own
        return str(self._hashes[id(used)][1])

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
            found = Replier(engine, self.embeddings, self.window, self.cache_dir)
            self._repliers[(name, *settled)] = found
        return found
