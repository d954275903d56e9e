"""One reply to one conversation: text, JSON under a schema, or tool calls."""

from collections.abc import Generator, Sequence
from pathlib import Path

from llm_core.calls import ToolCaller
from llm_core.constrain import substring_guide
from llm_core.copying import CopyBias
from llm_core.engine import Engine
from llm_core.errors import ContextBudgetError
from llm_core.options import CallOptions
from llm_core.parts import Part, TextPart, TokenLogprob, Usage
from llm_core.prompt import ChatTemplate, Turn
from llm_core.reply_format import JsonFormat, ReplyFormat
from llm_core.stops import StopText
from llm_core.structured import InvalidReplyError, repair_request
from llm_core.tool_choice import Embedder
from llm_core.tool_prompts import offer_prompt
from llm_core.tool_results import with_facts
from llm_core.toolcalls import NONE
from llm_core.writing import Writer


class Replier:
    """Answers conversations with one engine, within `window` tokens where that is given.

    `embeddings`, or else the default model in `cache_dir`, help to choose among tools.
    """

    def __init__(
        self,
        engine: Engine,
        embeddings: Embedder | None = None,
        window: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self.engine = engine
        self.template = ChatTemplate(engine.tokenizer)
        self._writer = Writer(engine, window)
        self.window = self._writer.window
        self._caller = ToolCaller(engine, self.template, self._writer, embeddings, cache_dir)

    def reply(
        self, turns: Sequence[Turn], options: CallOptions, usage: Usage
    ) -> Generator[Part, None, str]:
        """Yield the parts of the reply; returns "stop", "length", "tool_calls" or "repetition".

        `usage` is filled in as tokens are read and written. Raises StructuredOutputError where
        a second reply does not have the form that was asked for either.
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
        form = options.response_format
        if form is not None:
            return (yield from self._formed(form, turns, options, usage))
        if options.tools and options.tool_choice != NONE and self.template.knows_tools:
            prompt = offer_prompt(self.template, turns, options.tools)
        else:
            # Without a template for them, a small model would rather repeat tools than answer.
            prompt = self.template.encode(self._told(turns))
        parts = self._writer.write(prompt, options, usage, bias=self._bias(options))
        return (yield from until_stop(parts, options.stop))

    def _formed(
        self, form: ReplyFormat, turns: Sequence[Turn], options: CallOptions, usage: Usage
    ) -> Generator[Part, None, str]:
        """A reply that has a form; it is shown as it is written where it is certain to.

        Stop strings, which would cut it off, do not count. Raises InvalidReplyError where a
        second reply has not got the form either.
        """
        asked = self._told(turns, ask=False)
        if options.schema_hint and (hint := form.hint()):
            asked.append(Turn("user", hint))
        text, reason = "", None
        for _ in range(2):
            guide = form.guide(self.engine.tokenizer, options.max_tokens)
            prompt = self.template.encode(asked)
            parts = self._writer.write(prompt, options, usage, guide, self._bias(options))
            if not isinstance(form, JsonFormat) or form.certain:
                return (yield from parts)
            try:
                written, finish = _collected(parts)
            except ContextBudgetError:
                if reason is None:
                    raise
                break  # no room for a repair
            text = "".join(part.text for part in written)
            reason = form.fault(text)
            if reason is None:
                yield from written
                return finish
            asked += [Turn("assistant", text), Turn("user", repair_request(reason))]
        raise InvalidReplyError(str(reason), text)

    def _told(self, turns: Sequence[Turn], *, ask: bool = True) -> list[Turn]:
        """The conversation, with results as facts for a template that does not know tools."""
        return list(turns) if self.template.knows_tools else with_facts(turns, ask=ask)

    def _bias(self, options: CallOptions) -> CopyBias | None:
        if not options.copy_from:
            return None
        return CopyBias(options.copy_from, self.engine.tokenizer)


def _collected(parts: Generator[TextPart, None, str]) -> tuple[list[TextPart], str]:
    """All parts of a text, and why it ended."""
    written = []
    while True:
        try:
            written.append(next(parts))
        except StopIteration as end:
            return written, str(end.value)


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
