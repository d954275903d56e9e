"""One reply to one conversation: text, JSON under a schema, or tool calls."""

from collections.abc import Generator, Sequence

from llm_core.calls import ToolCaller
from llm_core.constrain import json_guide, substring_guide
from llm_core.copying import CopyBias
from llm_core.engine import Engine
from llm_core.options import CallOptions
from llm_core.parts import Part, TextPart, TokenLogprob, Usage
from llm_core.prompt import ChatTemplate, Turn
from llm_core.stops import StopText
from llm_core.structured import schema_hint, schema_of_format
from llm_core.tool_choice import Embedder
from llm_core.writing import Writer


class Replier:
    """Answers conversations with one engine, within `window` tokens where that is given."""

    def __init__(
        self, engine: Engine, embeddings: Embedder | None = None, window: int | None = None
    ) -> None:
        self.engine = engine
        self.template = ChatTemplate(engine.tokenizer)
        self._writer = Writer(engine, window)
        self.window = self._writer.window
        self._caller = ToolCaller(engine, self.template, self._writer, embeddings)

    def reply(
        self, turns: Sequence[Turn], options: CallOptions, usage: Usage
    ) -> Generator[Part, None, str]:
        """Yield the parts of the reply; returns "stop", "length", "tool_calls" or "repetition".

        `usage` is filled in as tokens are read and written.
        """
        made = yield from self._caller.calls(turns, options, usage)
        if made:
            return "tool_calls"
        return (yield from self._text(turns, options, usage))

    def score(
        self, sequences: Sequence[tuple[list[int], int]], options: CallOptions
    ) -> list[float]:
        """Summed log-probabilities of the last n tokens of each (tokens, n)."""
        return self._writer.score(sequences, options)

    def extract(self, turns: Sequence[Turn], text: str, prefix: str, options: CallOptions) -> str:
        """The run of words of `text` that best completes `prefix`, greedily."""
        tokenizer = self.engine.tokenizer
        limit = options.max_tokens + len(tokenizer.encode(prefix, marks=False))
        guide = substring_guide(prefix, text, tokenizer, limit)
        prompt = self.template.encode(turns)
        parts = self._writer.write(prompt, options, Usage(), guide, max_tokens=limit)
        return "".join(part.text for part in parts)[len(prefix) :].strip()

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
        parts = self._writer.write(self.template.encode(turns), options, usage, guide, bias)
        return (yield from until_stop(parts, () if guide else options.stop))


def until_stop(
    parts: Generator[TextPart, None, str], stops: Sequence[str]
) -> Generator[TextPart, None, str]:
    """The parts up to a stop string; returns the reason for ending.

    A token's log-probability comes with the text it begins in, and not at all where that is
    behind the stop string.
    """
    text = StopText(stops)
    held: list[tuple[int, TokenLogprob]] = []  # with the character at which each begins
    fed = shown = 0
    try:
        while True:
            try:
                part = next(parts)
            except StopIteration as end:
                rest = text.flush()
                if rest or held:
                    yield TextPart(rest, tuple(entry for _, entry in held))
                return str(end.value)
            held += [(fed, entry) for entry in part.logprobs]
            fed += len(part.text)
            now = text.feed(part.text)
            shown += len(now)
            if now:
                yield TextPart(now, tuple(entry for at, entry in held if at < shown))
                held = [(at, entry) for at, entry in held if at >= shown]
            if text.hit is not None:
                return "stop"
    finally:
        parts.close()
