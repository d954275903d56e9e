"""What clients may ask: OpenAI's requests, with the fields that mean something here.

Fields that could not change an answer here are taken and ignored; those that would, and are
not supported, are refused by name. Other fields are unknown, so that no misspelling passes.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_DEEPEST = 64  # levels of a request; a schema is walked by recursion
_MOST_INPUTS = 2048  # texts of one request for embeddings, as OpenAI has it
_SEEDS = 2**63
_UNREADABLE = ("image_url", "input_audio", "file")
_UNSUPPORTED = {
    "audio": "this server writes text only",
    "function_call": "use tool_choice",
    "functions": "use tools",
    "logit_bias": "it is not supported",
    "web_search_options": "the models here do not search",
}

Name = Annotated[str, Field(min_length=1, max_length=4096)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
Stop = Annotated[str, Field(min_length=1, max_length=1000)]


class _Strict(BaseModel):
    """Values of the type that is asked for, and no fields besides."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class _Request(_Strict):
    """A body whose every part can be handled: no broken text, no endless number or depth."""

    @model_validator(mode="before")
    @classmethod
    def _sound(cls, body: Any) -> Any:
        for value in _values(body):
            if isinstance(value, str):
                try:
                    value.encode()
                except UnicodeEncodeError:
                    raise ValueError("a text holds half a surrogate pair") from None
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number is too large, or not a number")
        return body


class TextContent(_Strict):
    """A part of a message: text, which is all that models here read."""

    type: Literal["text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, part: Any) -> Any:
        if isinstance(part, dict) and part.get("type") in _UNREADABLE:
            raise ValueError(f"a part of type {part['type']!r} cannot be read: send text only")
        return part


class RefusalContent(_Strict):
    """A part of an assistant's message that declined."""

    type: Literal["refusal"]
    refusal: str


class SystemMessage(_Strict):
    """How the model should behave."""

    role: Literal["system", "developer"]
    content: str | list[TextContent]
    name: str | None = None


class UserMessage(_Strict):
    """What a person said."""

    role: Literal["user"]
    content: str | list[TextContent]
    name: str | None = None


class CalledFunction(_Strict):
    """A call in an earlier reply; `arguments` is JSON text."""

    name: Name
    arguments: str


class ToolCall(_Strict):
    """A call of a tool in an earlier reply."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(_Strict):
    """An earlier reply, as this server gave it."""

    role: Literal["assistant"]
    content: str | list[TextContent | RefusalContent] | None = None
    tool_calls: list[ToolCall] | None = None
    refusal: str | None = None
    name: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None

    @model_validator(mode="after")
    def _says_something(self) -> "AssistantMessage":
        if self.content is None and not self.tool_calls and self.refusal is None:
            raise ValueError("an assistant's message needs content or tool_calls")
        return self


class ToolMessage(_Strict):
    """What a call gave."""

    role: Literal["tool"]
    content: str | list[TextContent]
    tool_call_id: str
    name: str | None = None
    """Of the function, as older clients send it; the call's own name counts."""


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class FunctionTool(_Strict):
    """A function that may be called; `parameters` is the JSON schema of an object."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Strict):
    """A tool on offer."""

    type: Literal["function"]
    function: FunctionTool


class ChosenName(_Strict):
    """The name of the function that must be called."""

    name: Name


class ChosenTool(_Strict):
    """The tool that must be called."""

    type: Literal["function"]
    function: ChosenName


class TextFormat(_Strict):
    """A reply of any form."""

    type: Literal["text"]


class JsonFormat(_Strict):
    """A reply that is some JSON object."""

    type: Literal["json_object"]


class NamedSchema(_Strict):
    """A JSON schema and what it is called."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class SchemaFormat(_Strict):
    """A reply that satisfies a JSON schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class RegexFormat(_Strict):
    """A reply that matches a pattern as a whole (Rust syntax); not in OpenAI's interface."""

    type: Literal["regex"]
    pattern: Annotated[str, Field(min_length=1, max_length=10_000)]


class ChoiceFormat(_Strict):
    """A reply that is one of these texts; not in OpenAI's interface."""

    type: Literal["choice"]
    choices: Annotated[list[Name], Field(min_length=1, max_length=1000)]


class StreamOptions(_Strict):
    """What a stream tells besides the reply."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(_Request):
    """A request for a chat completion.

    `top_k`, `min_p`, `repetition_penalty`, `deterministic` and `copy_from` are not in OpenAI's
    interface. Without a temperature the likeliest token is taken.
    """

    model: Name
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: float | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-_SEEDS, lt=_SEEDS)] | None = None
    n: Literal[1] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: (
        Annotated[
            TextFormat | JsonFormat | SchemaFormat | RegexFormat | ChoiceFormat,
            Field(discriminator="type"),
        ]
        | None
    ) = None
    modalities: list[Literal["text"]] | None = None
    deterministic: bool | None = None
    copy_from: list[str] | None = None
    user: Any = None
    store: Any = None
    metadata: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    prediction: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        for name, mend in _UNSUPPORTED.items():
            if body.get(name):
                raise ValueError(f"{name} cannot be used: {mend}")
        return {name: value for name, value in body.items() if name not in _UNSUPPORTED}

    @field_validator("presence_penalty")
    @classmethod
    def _none(cls, given: float | None) -> float | None:
        if given:
            raise ValueError("it is not supported: use frequency_penalty")
        return given

    @model_validator(mode="after")
    def _agrees(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        return self


class EmbeddingsRequest(_Request):
    """A request for the vectors of texts."""

    model: Name
    input: str | Annotated[list[str], Field(min_length=1, max_length=_MOST_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: Any = None

    @field_validator("input", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        if isinstance(given, list) and any(isinstance(item, int | list) for item in given):
            raise ValueError(
                "token ids cannot be read, as every model numbers tokens its own way: send texts "
                "(in langchain-openai: check_embedding_ctx_length=False)"
            )
        return given


class AdapterRequest(_Request):
    """Which adapter a model answers with from now on; null for none."""

    adapter: Name | None


def _values(body: Any) -> Iterator[Any]:
    """Every key and leaf of a body; raises ValueError where it is nested too deep."""
    waiting = [(body, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"the body is nested more than {_DEEPEST} levels deep")
        if isinstance(value, dict):
            yield from value
            waiting += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        else:
            yield value
