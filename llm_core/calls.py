"""The tool calls of one reply: whether to call, which tool, and with what arguments."""

import json
from collections.abc import Generator, Sequence
from functools import partial

from llm_core.constrain import json_guide
from llm_core.copying import CopyBias
from llm_core.engine import Engine
from llm_core.errors import StructuredOutputError
from llm_core.options import CallOptions
from llm_core.parts import ArgumentsPart, CallPart, Usage
from llm_core.prompt import ChatTemplate, Turn
from llm_core.structured import grammar_holds, violation
from llm_core.tool_choice import Embedder, pick_tool, wants_call
from llm_core.tool_prompts import call_prompt
from llm_core.toolcalls import ANY, AUTO, NONE, ToolSpec
from llm_core.writing import Writer


class ToolCaller:
    """Makes the calls that a conversation asks for, with the tools of its options."""

    def __init__(
        self, engine: Engine, template: ChatTemplate, writer: Writer, embeddings: Embedder | None
    ) -> None:
        self._tokenizer = engine.tokenizer
        self._template = template
        self._writer = writer
        self._embeddings = embeddings

    def calls(
        self, turns: Sequence[Turn], options: CallOptions, usage: Usage
    ) -> Generator[CallPart | ArgumentsPart, None, int]:
        """Yield the calls as they are written; returns how many there are, 0 for an answer.

        Raises StructuredOutputError where arguments do not validate, also after one repair.
        """
        tool = self._tool_to_call(turns, options)
        if tool is None:
            return 0
        yield CallPart(0, tool.name)
        for text in self._arguments(turns, tool, options, usage):
            yield ArgumentsPart(0, text)
        return 1

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
        score = partial(self._writer.score, options=options)
        pick = pick_tool(request, tools, score, self._tokenizer)
        if choice == AUTO and not wants_call(
            turns, request, tools, pick, score, self._template, self._tokenizer, self._embeddings
        ):
            return None
        return pick.tool

    def _arguments(
        self, turns: Sequence[Turn], tool: ToolSpec, options: CallOptions, usage: Usage
    ) -> Generator[str, None, None]:
        """JSON text for a tool's arguments, asked for once more if it does not validate.

        It comes as it is written where the grammar holds all of the schema, whole otherwise.
        """
        reason = None
        for _ in range(2):
            pieces = self._written(turns, tool, options, usage, reason)
            if grammar_holds(tool.parameters):
                yield from pieces
                return
            text = "".join(pieces)
            reason = violation(json.loads(text), tool.parameters)
            if reason is None:
                yield text
                return
        raise StructuredOutputError(f"no valid arguments for the tool {tool.name!r}: {reason}")

    def _written(
        self,
        turns: Sequence[Turn],
        tool: ToolSpec,
        options: CallOptions,
        usage: Usage,
        reason: str | None,
    ) -> Generator[str, None, None]:
        tokenizer = self._tokenizer
        asked = list(turns)
        if reason is not None:
            asked.append(Turn("user", f"The last call was not valid: {reason}"))
        prompt = call_prompt(self._template, tokenizer, asked, tool)
        guide = json_guide(tool.parameters, tokenizer, options.max_tokens, lead=" ")
        sources = options.copy_from or tuple(turn.text for turn in turns if turn.role == "user")
        bias = CopyBias(sources, tokenizer)
        begun = False
        for part in self._writer.write(prompt, options, usage, guide, bias):
            text = part.text if begun else part.text.lstrip()
            begun = begun or bool(text)
            if text:
                yield text


def _asks(turns: Sequence[Turn]) -> bool:
    """Whether a person spoke last: after a tool's result the model answers."""
    return bool(turns) and turns[-1].role == "user" and not turns[-1].from_tool
