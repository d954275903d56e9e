"""One reply to one conversation: text, JSON under a schema, or a tool call."""

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

from llm_core.constrain import GrammarGuide, json_guide, substring_guide
from llm_core.copying import CopyBias
from llm_core.engine import Engine
from llm_core.errors import StructuredOutputError
from llm_core.options import CallOptions
from llm_core.prompt import ChatTemplate, Turn
from llm_core.sampling import Sampling
from llm_core.stops import StopText
from llm_core.structured import schema_hint, schema_of_format, violation
from llm_core.tool_choice import Embedder, pick_tool, wants_call
from llm_core.toolcalls import ANY, AUTO, NONE, ToolSpec, call_prefix, call_turns


@dataclass
class Usage:
    """Tokens read and written for one reply."""

    prompt: int = 0
    reply: int = 0


@dataclass(frozen=True)
class TextPart:
    """A piece of the reply's text."""

    text: str


@dataclass(frozen=True)
class ToolCallPart:
    """A whole tool call; `arguments` is JSON text that satisfies the tool's schema."""

    name: str
    arguments: str


Part = TextPart | ToolCallPart


class Replier:
    """Answers conversations with one engine, within `window` tokens where that is given."""

    def __init__(
        self, engine: Engine, embeddings: Embedder | None = None, window: int | None = None
    ) -> None:
        self.engine = engine
        self.window = min(engine.window, window or engine.window)
        self.template = ChatTemplate(engine.tokenizer)
        self._embeddings = embeddings

    def reply(
        self, turns: Sequence[Turn], options: CallOptions, usage: Usage
    ) -> Generator[Part, None, str]:
        """Yield the parts of the reply; returns "stop", "length" or "tool_calls".

        `usage` is filled in as tokens are read and written.
        """
        tool = self._tool_to_call(turns, options)
        if tool is not None:
            yield ToolCallPart(tool.name, self._arguments(turns, tool, options, usage))
            return "tool_calls"
        return (yield from self._text(turns, options, usage))

    def score(
        self, sequences: Sequence[tuple[list[int], int]], options: CallOptions
    ) -> list[float]:
        """Summed log-probabilities of the last n tokens of each (tokens, n)."""
        for tokens, _ in sequences:
            self.engine.check_budget(len(tokens), 0, self.window)
        return self.engine.score_sequences(
            sequences,
            deterministic=options.deterministic,
            cancel=options.cancel,
            adapter=self.engine.adapter(options.adapter),
        )

    def extract(self, turns: Sequence[Turn], text: str, prefix: str, options: CallOptions) -> str:
        """The run of words of `text` that best completes `prefix`, greedily."""
        tokenizer = self.engine.tokenizer
        limit = options.max_tokens + len(tokenizer.encode(prefix, marks=False))
        guide = substring_guide(prefix, text, tokenizer, limit)
        prompt = self.template.encode(turns)
        pieces = self._run(prompt, options, Usage(), guide, None, limit)
        return "".join(pieces)[len(prefix) :].strip()

    def _tool_to_call(self, turns: Sequence[Turn], options: CallOptions) -> ToolSpec | None:
        choice, tools = options.tool_choice, options.tools
        if choice == NONE or not tools:
            return None
        if choice not in (AUTO, ANY):
            return next(tool for tool in tools if tool.name == choice)
        if choice == ANY and len(tools) == 1:
            return tools[0]
        if choice == AUTO and not _asks(turns):
            return None
        request = next((turn.text for turn in reversed(turns) if turn.role == "user"), "")
        score = partial(self.score, options=options)
        tokenizer = self.engine.tokenizer
        pick = pick_tool(request, tools, score, tokenizer)
        if choice == AUTO and not wants_call(
            turns, request, tools, pick, score, self.template, tokenizer, self._embeddings
        ):
            return None
        return pick.tool

    def _arguments(
        self, turns: Sequence[Turn], tool: ToolSpec, options: CallOptions, usage: Usage
    ) -> str:
        """JSON text for a tool's arguments, asked for once more if it does not validate."""
        tokenizer = self.engine.tokenizer
        sources = options.copy_from or tuple(turn.text for turn in turns if turn.role == "user")
        reason = None
        for _ in range(2):
            asked = list(call_turns(turns, tool))
            if reason is not None:
                asked.append(Turn("user", f"The last call was not valid: {reason}"))
            prompt = self.template.encode(asked) + tokenizer.encode(call_prefix(tool))
            guide = json_guide(tool.parameters, tokenizer, options.max_tokens, lead=" ")
            bias = CopyBias(sources, tokenizer)
            text = "".join(self._run(prompt, options, usage, guide, bias)).strip()
            reason = violation(json.loads(text), tool.parameters)
            if reason is None:
                return text
        raise StructuredOutputError(f"no valid arguments for the tool {tool.name!r}: {reason}")

    def _text(
        self, turns: Sequence[Turn], options: CallOptions, usage: Usage
    ) -> Generator[Part, None, str]:
        tokenizer = self.engine.tokenizer
        guide = bias = None
        if options.response_format is not None:
            schema = schema_of_format(options.response_format)
            guide = json_guide(schema, tokenizer, options.max_tokens)
            turns = [*turns, Turn("user", schema_hint(schema))] if options.schema_hint else turns
        if options.copy_from:
            bias = CopyBias(options.copy_from, tokenizer)
        pieces = self._run(self.template.encode(turns), options, usage, guide, bias)
        stops = StopText(() if guide else options.stop)
        finish = yield from _through(stops, pieces)
        return finish

    def _run(
        self,
        prompt: list[int],
        options: CallOptions,
        usage: Usage,
        guide: GrammarGuide | None,
        bias: CopyBias | None,
        max_tokens: int | None = None,
    ) -> Generator[str, None, str]:
        """Yield text as tokens complete it; returns the engine's reason for ending."""
        engine = self.engine
        limit = max_tokens or options.max_tokens
        engine.check_budget(len(prompt), limit, self.window)
        steps = engine.generate(
            prompt,
            max_tokens=limit,
            sampling=_sampling(options),
            stop_ids=engine.tokenizer.end_ids,
            guide=guide,
            logits_bias=bias,
            cancel=options.cancel,
            deterministic=options.deterministic,
            adapter=engine.adapter(options.adapter),
            guard_loops=options.repetition_guard and guide is None,
        )
        usage.prompt += len(prompt)
        text = engine.tokenizer.stream()
        try:
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    return str(end.value)
                usage.reply += 1
                yield text.feed(step.token)
        finally:
            steps.close()


def _through(stops: StopText, pieces: Generator[str, None, str]) -> Generator[Part, None, str]:
    """Text parts up to a stop string; returns the reason for ending."""
    try:
        while True:
            try:
                shown = stops.feed(next(pieces))
            except StopIteration as end:
                if rest := stops.flush():
                    yield TextPart(rest)
                return str(end.value)
            if shown:
                yield TextPart(shown)
            if stops.hit is not None:
                return "stop"
    finally:
        pieces.close()


def _sampling(options: CallOptions) -> Sampling:
    return Sampling(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        min_p=options.min_p,
        repetition_penalty=options.repetition_penalty,
        frequency_penalty=options.frequency_penalty,
    )


def _asks(turns: Sequence[Turn]) -> bool:
    """Whether a person spoke last: after a tool's result the model answers."""
    return bool(turns) and turns[-1].role == "user" and not turns[-1].from_tool
