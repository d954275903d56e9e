"""Four ways to make a small model call tools, as the BFCL benchmark compares them."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.bfcl_rows import Call, Row
from llm_core.calls import ToolCaller, asked_of
from llm_core.chat_model import LocalChatModel
from llm_core.constrain import json_guide
from llm_core.copying import CopyBias
from llm_core.engine import Engine, open_engine
from llm_core.errors import ModelError
from llm_core.loading import resolve
from llm_core.options import DEFAULTS, CallOptions, read_options
from llm_core.parts import CallPart, Usage
from llm_core.prompt import ChatTemplate
from llm_core.settings import load_settings
from llm_core.tool_choice import probability, wants_call
from llm_core.toolcalls import ToolSpec, offer_turns
from llm_core.validation import violation
from llm_core.writing import Writer

MOST_TOKENS = 256  # of one call; several calls in one list get twice that
_MOST_CALLS = 8


@dataclass(frozen=True)
class Outcome:
    """What a system did with a row.

    `wants` is the probability that a call is wanted and `free` whether the system would call
    if it need not, both None for systems that cannot tell; `steps` are tokens written.
    """

    calls: list[Call]
    finished: bool
    valid: bool
    wants: float | None = None
    free: bool | None = None
    steps: int = 0


@dataclass
class Bench:
    """The model with what the systems are made of."""

    engine: Engine
    options: Callable[..., CallOptions]
    limit: int
    template: ChatTemplate = field(init=False)
    writer: Writer = field(init=False)
    caller: ToolCaller = field(init=False)

    def __post_init__(self) -> None:
        self.template = ChatTemplate(self.engine.tokenizer)
        self.writer = Writer(self.engine)
        self.caller = ToolCaller(self.engine, self.template, self.writer, None)

    @classmethod
    def open(
        cls, model: str, adapter: str | None, threads: int | None, limit: int = MOST_TOKENS
    ) -> "Bench":
        """The bench of a model, by the person's settings; raises ModelError.

        `limit` is the most tokens of one call.
        """
        settings = load_settings()
        engine = open_engine(resolve(model, settings.cache_dir), None, threads, settings)
        chat = LocalChatModel(model=model, adapter=adapter, max_tokens=limit)
        defaults = {name: getattr(chat, name) for name in (*DEFAULTS, "stop")}
        return cls(engine, lambda **given: read_options(defaults, None, given), limit)


def free(bench: Bench, row: Row) -> Outcome:
    """The tools in the prompt, a free reply, and whatever JSON can be found in it."""
    options = bench.options()
    prompt = bench.template.encode(offer_turns(row.turns, row.tools))
    usage = Usage()
    text = "".join(part.text for part in bench.writer.write(prompt, options, usage))
    calls = list(found_calls(text))
    return Outcome(calls, usage.reply < bench.limit, _valid(calls, row.tools), steps=usage.reply)


def constrained(bench: Bench, row: Row, *, copying: bool = False) -> Outcome:
    """The tools in the prompt and a reply under the grammar of a call; it cannot but call.

    In categories of several calls a row the grammar is that of a list of calls.
    """
    limit = bench.limit * (2 if row.wants_many else 1)
    schema = call_schema(row.tools, many=row.wants_many)
    guide = json_guide(schema, bench.engine.tokenizer, limit)
    said = [turn.text for turn in row.turns if turn.role == "user"]
    bias = CopyBias(said, bench.engine.tokenizer) if copying else None
    options, usage = bench.options(max_tokens=limit), Usage()
    prompt = bench.template.encode(offer_turns(row.turns, row.tools))
    text = "".join(part.text for part in bench.writer.write(prompt, options, usage, guide, bias))
    calls = list(found_calls(text))
    return Outcome(calls, bool(calls), _valid(calls, row.tools), steps=usage.reply)


def ours(bench: Bench, row: Row) -> Outcome:
    """Tool choice, parts, cues and soft copying, as `LocalChatModel` makes calls.

    Rows that want a call are told to call, and asked besides whether they would have.
    """
    if not row.tools:
        return Outcome([], True, True, wants=0.0, free=False)
    usage = Usage()
    options = bench.options(tools=[_openai(tool) for tool in row.tools], tool_choice="any")
    chooser = bench.caller.chooser(options)
    signs = chooser.signs(
        row.turns, asked_of(row.turns), chooser.pick(asked_of(row.turns), row.tools)
    )
    wants, would = probability(signs), wants_call(signs)
    if not row.wants_call:
        return Outcome([], True, True, wants, would)
    names: list[str] = []
    texts: list[str] = []
    for part in bench.caller.calls(row.turns, options, usage):
        if isinstance(part, CallPart):
            names.append(part.name)
            texts.append("")
        else:
            texts[-1] += part.text
    calls = [Call(name, json.loads(text)) for name, text in zip(names, texts, strict=True)]
    return Outcome(calls, bool(calls), _valid(calls, row.tools), wants, would, usage.reply)


def copy(bench: Bench, row: Row) -> Outcome:
    """As `constrained`, with a bonus on tokens that keep copying the person's words."""
    return constrained(bench, row, copying=True)


SYSTEMS: dict[str, Callable[[Bench, Row], Outcome]] = {
    "free": free,
    "constrained": constrained,
    "copy": copy,
    "ours": ours,
}
FORCED = ("constrained", "copy")  # these always call, so rows that want none are not run


def attempt(system: Callable[[Bench, Row], Outcome], bench: Bench, row: Row) -> Outcome:
    """What a system does with a row; a refusal, such as too long a prompt, is no call."""
    try:
        return system(bench, row)
    except ModelError as error:
        print(f"{row.id}: {error}", file=sys.stderr)
        return Outcome([], False, False)


def call_schema(tools: Sequence[ToolSpec], *, many: bool) -> dict[str, Any]:
    """The JSON schema of a call of one of the tools, or of a list of such calls."""
    forms = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": tool.parameters},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    one = {"anyOf": forms} if len(forms) > 1 else forms[0]
    return {"type": "array", "items": one, "minItems": 1, "maxItems": _MOST_CALLS} if many else one


def found_calls(text: str) -> list[Call]:
    """Every JSON object in a text that has a name and arguments, in order."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (start := re.compile(r"[{\[]").search(text, at)) is not None:
        try:
            value, at = decoder.raw_decode(text, start.start())
        except ValueError:
            at = start.start() + 1
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and isinstance(each.get("name"), str):
                given = each.get("arguments", each.get("parameters"))
                if isinstance(given, dict):
                    found.append(Call(each["name"], given))
    return found


def _valid(calls: Sequence[Call], tools: Sequence[ToolSpec]) -> bool:
    """Whether there are calls, and each satisfies the schema of one of the tools."""
    by_name = {tool.name: tool for tool in tools}
    return bool(calls) and all(
        call.name in by_name
        and violation(call.arguments, closed(by_name[call.name].parameters)) is None
        for call in calls
    )


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tool's arguments that admits no argument it does not name."""
    return {"additionalProperties": False, **schema}


def _openai(tool: ToolSpec) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
