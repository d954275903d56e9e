"""The tool calls of one reply: whether to call, which tools, and with what arguments."""

import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from llm_core.combined import COMBINES, properties_of
from llm_core.constrain import json_guide
from llm_core.copying import CopyBias
from llm_core.cues import with_cues
from llm_core.engine import Engine
from llm_core.errors import ContextBudgetError, StructuredOutputError
from llm_core.options import CallOptions
from llm_core.parts import ArgumentsPart, CallPart, Usage
from llm_core.prompt import ChatTemplate, Turn
from llm_core.prompt_format import REPAIR
from llm_core.requests import Wish, divide
from llm_core.structured import grammar_holds
from llm_core.tool_choice import (
    Chooser,
    Embedder,
    LineVectors,
    Signs,
    default_embedder,
    wants_call,
)
from llm_core.tool_prompts import call_prompt
from llm_core.toolcalls import ANY, AUTO, NONE, ToolSpec
from llm_core.validation import violation
from llm_core.value_lists import siblings, spread
from llm_core.writing import Writer

Parts = Generator[CallPart | ArgumentsPart, None, int]
_MOST_CALLS = 16  # of one reply


class ToolCaller:
    """Makes the calls that a conversation asks for, with the tools of its options.

    Without `embeddings` the default model stands in where it is in `cache_dir`, or in that of
    the settings.
    """

    def __init__(
        self,
        engine: Engine,
        template: ChatTemplate,
        writer: Writer,
        embeddings: Embedder | None,
        cache_dir: Path | None = None,
    ) -> None:
        self._tokenizer = engine.tokenizer
        self._template = template
        self._writer = writer
        self._embeddings = embeddings
        self._cache_dir = cache_dir
        self._kept = LineVectors()

    def calls(self, turns: Sequence[Turn], options: CallOptions, usage: Usage) -> Parts:
        """Yield the calls as they are written; returns how many there are, 0 for an answer.

        No reply holds the same call twice, and where the model may choose it does not repeat
        one made since the person last spoke. Raises StructuredOutputError where arguments do
        not validate, also after one repair.
        """
        wishes = self.wishes(turns, options)
        made = made_calls(turns) if options.tool_choice == AUTO else []
        known = {_key(name, given) for name, given in made}
        count = 0
        for wish in wishes:
            count += yield from self._granted(wish, count, known, turns, options, usage)
            if count >= _MOST_CALLS or (count and not options.parallel_tool_calls):
                break
        return count

    def wishes(self, turns: Sequence[Turn], options: CallOptions) -> list[Wish]:
        """What to call now and the part of the request that asks for it; none for an answer."""
        choice, tools = options.tool_choice, options.tools
        if choice == NONE or not tools:
            return []
        request = asked_of(turns)
        if choice not in (AUTO, ANY):
            return [Wish(request, next(each for each in tools if each.name == choice), False)]
        if choice == ANY and len(tools) == 1 and not options.parallel_tool_calls:
            return [Wish(request, tools[0], False)]
        chooser = self.chooser(options)
        wishes = self._divided(request, chooser, tools)
        if choice == ANY:
            return [wish for wish in wishes if not wish.waits] or wishes[:1]
        if not turns or turns[-1].role != "user":
            return []
        if turns[-1].from_tool:
            wishes = _not_granted(wishes, made_calls(turns))
        else:
            wishes = [wish for wish in wishes if not wish.waits] or wishes
        return [wish for wish in wishes if wants_call(self.signs(turns, wish, chooser))]

    def signs(self, turns: Sequence[Turn], wish: Wish, chooser: Chooser) -> Signs:
        """The signs that a wish wants its tool called."""
        pick = chooser.pick(wish.text, [wish.tool] if wish.tool else [])
        return chooser.signs(asked_for(turns, wish.text), wish.text, pick)

    def chooser(self, options: CallOptions) -> Chooser:
        """What chooses tools under the options of a call."""
        embedder = self._embeddings
        if embedder is None:
            embedder = default_embedder(self._cache_dir)
        score = partial(self._writer.score, options=options)
        return Chooser(self._tokenizer, self._template, score, embedder, self._kept)

    def _divided(self, request: str, chooser: Chooser, tools: Sequence[ToolSpec]) -> list[Wish]:
        """The parts of the request that may each be called for, with their tools."""
        wishes = [Wish(request, None, False)]
        if chooser.sees_closeness:
            wishes = divide(request, tools, partial(chooser.closeness, tools=tools))
        return [
            wish if wish.tool else replace(wish, tool=chooser.pick(wish.text, tools).tool)
            for wish in wishes
        ]

    def _granted(
        self,
        wish: Wish,
        index: int,
        known: set[str],
        turns: Sequence[Turn],
        options: CallOptions,
        usage: Usage,
    ) -> Parts:
        """The calls of one wish; the first is streamed where nothing can speak against it."""
        tool = wish.tool
        if tool is None:
            return 0
        several = options.parallel_tool_calls and options.tool_choice in (AUTO, ANY)
        texts, count = spread(wish.text, tool) if several else [wish.text], 0
        alone = several and len(texts) == 1
        while texts and index + count < _MOST_CALLS:
            pieces = self._arguments(asked_for(turns, texts.pop(0)), tool, options, usage)
            if known:  # of which it may turn out to be one
                whole = "".join(pieces)
                if _key(tool.name, json.loads(whole)) in known:
                    continue
                pieces = iter((whole,))
            written = ""
            for piece in pieces:
                if not written:  # no call is announced before it is known to be made
                    yield CallPart(index + count, tool.name)
                written += piece
                yield ArgumentsPart(index + count, piece)
            known.add(_key(tool.name, json.loads(written)))
            count += 1
            if count == 1 and alone:
                texts = siblings(wish.text, json.loads(written))
        return count

    def _arguments(
        self, turns: Sequence[Turn], tool: ToolSpec, options: CallOptions, usage: Usage
    ) -> Iterator[str]:
        """JSON text for a tool's arguments, asked for once more if it does not validate.

        It comes as it is written where the grammar holds all of the schema, whole otherwise.
        Raises StructuredOutputError where the second is not valid either, or has no room.
        """
        said = "\n".join(turn.text for turn in turns if turn.role == "user" and not turn.from_tool)
        schema = with_cues(tool.parameters, said)
        bare = not schema.get("required") and not properties_of(schema)
        if bare and violation({}, tool.parameters) is None:
            yield "{}"
            return
        combines = any(key in tool.parameters for key in COMBINES)
        certain = not combines and grammar_holds(schema)
        reason = None
        for _ in range(2):
            pieces = self._written(turns, schema, tool, options, usage, reason)
            if certain:
                yield from pieces
                return
            try:
                text = "".join(pieces)
            except ContextBudgetError:
                if reason is None:
                    raise
                break  # no room for a repair
            reason = violation(json.loads(text), tool.parameters)
            if reason is None:
                yield text
                return
        raise StructuredOutputError(f"no valid arguments for the tool {tool.name!r}: {reason}")

    def _written(
        self,
        turns: Sequence[Turn],
        schema: dict[str, Any],
        tool: ToolSpec,
        options: CallOptions,
        usage: Usage,
        reason: str | None,
    ) -> Generator[str, None, None]:
        tokenizer = self._tokenizer
        asked = list(turns)
        if reason is not None:
            asked.append(Turn("user", REPAIR.format(reason=reason)))
        prompt = call_prompt(self._template, tokenizer, asked, tool)
        guide = json_guide(schema, tokenizer, options.max_tokens, lead=" ")
        sources = options.copy_from or tuple(turn.text for turn in turns if turn.role == "user")
        bias = CopyBias(sources, tokenizer, {"properties": properties_of(schema)})
        begun = False
        for part in self._writer.write(prompt, options, usage, guide, bias):
            text = part.text if begun else part.text.lstrip()
            begun = begun or bool(text)
            if text:
                yield text


def asked_of(turns: Sequence[Turn]) -> str:
    """What the person said last."""
    spoken = (turn.text for turn in reversed(turns) if turn.role == "user" and not turn.from_tool)
    return next(spoken, turns[-1].text if turns else "")


def asked_for(turns: Sequence[Turn], text: str) -> list[Turn]:
    """The conversation with `text` in the place of what the person said last."""
    places = [at for at, turn in enumerate(turns) if turn.role == "user" and not turn.from_tool]
    if not places:
        return list(turns)
    said = replace(turns[places[-1]], text=text)
    return [*turns[: places[-1]], said, *turns[places[-1] + 1 :]]


def made_calls(turns: Sequence[Turn]) -> list[tuple[str, Any]]:
    """Names and arguments of the calls made since the person last spoke."""
    made: list[tuple[str, Any]] = []
    for turn in turns:
        if turn.role == "user" and not turn.from_tool:
            made = []
        made += [(call.name, dict(call.arguments)) for call in turn.calls]
    return made


def _not_granted(wishes: Sequence[Wish], made: Sequence[tuple[str, Any]]) -> list[Wish]:
    """The wishes that no call was made for yet, by the names of the tools."""
    left = Counter(name for name, _ in made)
    open_ = []
    for wish in wishes:
        name = wish.tool.name if wish.tool else ""
        if left[name]:
            left[name] -= 1
        else:
            open_.append(wish)
    return open_


def _key(name: str, arguments: Any) -> str:
    return json.dumps([name, arguments], sort_keys=True)
