"""Ten things that an agent needs of a local chat model, beside LangChain's own way to run one.

    python -m benchmarks.ten_checks --json ten_checks.json

LocalChatModel and ChatHuggingFace (over HuggingFacePipeline) run the same weights, greedily, in
this process: the stored ones, and for transformers their float32 values. A check passes or says
in one line why not. Prints a Markdown table; exit code 1 where LocalChatModel fails a check.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonschema import validate
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from llm_core.chat_model import LocalChatModel
from llm_core.errors import ModelError
from llm_core.loading import resolve

_TOKENS = 48  # of a reply, where a check does not say otherwise
_QUESTION = "Name three colours of the rainbow, and say where each is seen."


@dataclass
class Subject:
    """A chat model and every text that it has read, in the order in which it did."""

    name: str
    model: BaseChatModel
    count: Callable[[str], int]  # tokens of a text
    prompts: list[str] = field(default_factory=list)

    def ask(self, **options: Any) -> str:
        """The text of the reply to one fixed question."""
        return str(self.model.invoke(_QUESTION, **options).content)


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"It rains in {city}."


@tool
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


class Person(BaseModel):
    """A person."""

    name: str = Field(description="the name of the person")
    age: int = Field(description="the age in years", ge=0, le=150)


_CASE = {
    "title": "case",
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["theft", "murder", "blackmail"]},
        "year": {"type": "integer", "minimum": 1800, "maximum": 1999},
        "solved": {"type": "boolean"},
    },
    "required": ["kind", "year", "solved"],
    "additionalProperties": False,
}


def tools_reach_the_prompt(subject: Subject) -> None:
    """A bound tool's name and description are read by the model."""
    subject.prompts.clear()
    subject.model.bind_tools([get_weather, add]).invoke("What is the weather in Paris?")
    read = "\n".join(subject.prompts)
    assert "get_weather" in read and "Get the weather in a city" in read, "no tool in the prompt"


def calls_are_parsed(subject: Subject) -> None:
    """A call comes as `tool_calls`, with arguments of the right types."""
    bound = subject.model.bind_tools([add], tool_choice="any")
    calls = bound.invoke("What is 17 plus 25?").tool_calls
    found = [(call["name"], call["args"]) for call in calls]
    assert found == [("add", {"a": 17, "b": 25})], f"tool_calls are {found}"


def tool_messages_are_read(subject: Subject) -> None:
    """A history that ends with a tool's result is read and answered."""
    call = {"name": "get_weather", "args": {"city": "Paris"}, "id": "call_1"}
    history = [
        HumanMessage("What is the weather in Paris?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("Hailstones and 7 degrees.", tool_call_id="call_1", name="get_weather"),
    ]
    subject.prompts.clear()
    reply = subject.model.invoke(history)
    assert "Hailstones" in "\n".join(subject.prompts), "the result is not in the prompt"
    assert str(reply.content).strip(), "the reply is empty"


def stop_spans_tokens(subject: Subject) -> None:
    """A stop string of several tokens ends the reply before it."""
    whole = subject.ask()
    stop = whole[len(whole) // 2 :][:12]
    assert subject.count(stop) > 1, f"{stop!r} is one token"
    cut = subject.ask(stop=[stop])
    assert cut == whole[: whole.index(stop)], f"stop {stop!r} did not end the reply"


def settings_hold(subject: Subject) -> None:
    """Bound max_tokens and temperature do what they say."""
    tokens = subject.count(str(subject.model.bind(max_tokens=5).invoke(_QUESTION).content))
    assert tokens <= 5, f"max_tokens=5 gave {tokens} tokens"
    cold = [subject.ask(temperature=0.0, max_tokens=24) for _ in range(2)]
    assert cold[0] == cold[1], "temperature 0 is not greedy"
    hot = {subject.ask(temperature=1.5, max_tokens=24) for _ in range(4)}
    assert hot - {cold[0]}, "temperature changes nothing"


def the_prompt_is_not_echoed(subject: Subject) -> None:
    """A reply is what the model wrote, without what it read."""
    text = subject.ask()
    assert "<|im_start|>" not in text and _QUESTION not in text, "the prompt is in the reply"


def pydantic_comes_back(subject: Subject) -> None:
    """Structured output of a pydantic model is an object of it."""
    chain = subject.model.with_structured_output(Person)
    found = chain.invoke("Doctor Watson is 38 years old and lives in Baker Street.")
    assert isinstance(found, Person), f"the result is a {type(found).__name__}"
    assert found.age == 38, f"the age is {found.age}"


def json_schema_constrains(subject: Subject) -> None:
    """Structured output of a JSON schema validates, whatever is asked."""
    chain = subject.model.with_structured_output(_CASE, method="json_schema")
    for question in ("A blue stone was stolen in 1889.", "Tell me a joke.", "Reply with [1, 2]."):
        found = chain.invoke(question)
        validate(found, _CASE)


def ainvoke_works(subject: Subject) -> None:
    """`ainvoke` gives what `invoke` does."""
    reply = asyncio.run(subject.model.ainvoke(_QUESTION))
    assert reply.content == subject.ask(), "ainvoke says something else"


def astream_works(subject: Subject) -> None:
    """`astream` gives the same in pieces."""

    async def read() -> list[str]:
        return [str(chunk.content) async for chunk in subject.model.astream(_QUESTION)]

    pieces = [piece for piece in asyncio.run(read()) if piece]
    assert len(pieces) > 5, f"{len(pieces)} pieces"
    assert "".join(pieces) == subject.ask(), "the pieces add up to something else"


CHECKS: dict[str, Callable[[Subject], None]] = {
    "bound tools reach the prompt": tools_reach_the_prompt,
    "tool calls are parsed": calls_are_parsed,
    "ToolMessage history": tool_messages_are_read,
    "stop string over several tokens": stop_spans_tokens,
    "bound temperature and max_tokens": settings_hold,
    "no echo of the prompt": the_prompt_is_not_echoed,
    "pydantic structured output": pydantic_comes_back,
    "json_schema constrains and validates": json_schema_constrains,
    "ainvoke": ainvoke_works,
    "astream": astream_works,
}


@contextmanager
def local_subject(name: str) -> Iterator[Subject]:
    """LocalChatModel, with the texts of all that its engine reads meanwhile."""
    model = LocalChatModel(model=name, max_tokens=_TOKENS)
    subject = Subject("LocalChatModel", model, model.get_num_tokens)
    engine = model._replier(name).engine
    generate, score = engine.generate, engine.score_sequences

    def note(tokens: Sequence[int]) -> None:
        subject.prompts.append(engine.tokenizer.tables.decode_str(list(tokens)))

    def generating(prompt: Sequence[int], **options: Any) -> Any:
        note(prompt)
        return generate(prompt, **options)

    def scoring(sequences: Sequence[tuple[list[int], int]], **options: Any) -> Any:
        for tokens, _ in sequences:
            note(tokens)
        return score(sequences, **options)

    engine.generate, engine.score_sequences = generating, scoring
    try:
        yield subject
    finally:
        engine.generate, engine.score_sequences = generate, score


def hugging_face_subject(folder: Path) -> Subject:
    """ChatHuggingFace on a folder of safetensors, with the texts of all that its model reads."""
    import torch
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline
    from transformers import pipeline

    torch.set_num_threads(1)
    run: Any = pipeline(
        "text-generation",
        model=str(folder),
        dtype=torch.float32,
        max_new_tokens=_TOKENS,
        do_sample=False,
    )
    model = ChatHuggingFace(llm=HuggingFacePipeline(pipeline=run))
    subject = Subject("ChatHuggingFace", model, lambda text: len(run.tokenizer.encode(text)))
    generate = run.model.generate

    def generating(*args: Any, **options: Any) -> Any:
        ids = options.get("input_ids", options.get("inputs", args[0] if args else None))
        subject.prompts += run.tokenizer.batch_decode(ids)
        return generate(*args, **options)

    run.model.generate = generating
    return subject


def outcome(check: Callable[[Subject], None], subject: Subject) -> str:
    """ "passes", or why not in one line."""
    try:
        check(subject)
    except Exception as error:  # whatever goes wrong is the finding
        lines = str(error).splitlines()
        reason = " ".join([type(error).__name__, *lines[:1]])
        return f"fails: {lines[0] if isinstance(error, AssertionError) and lines else reason}"
    return "passes"


def compare(subjects: Sequence[Subject]) -> dict[str, dict[str, str]]:
    """The outcome of every check, by check and by subject."""
    found: dict[str, dict[str, str]] = {}
    for name, check in CHECKS.items():
        found[name] = {}
        for subject in subjects:
            print(f"{subject.name}: {name}", file=sys.stderr)
            found[name][subject.name] = outcome(check, subject)
    return found


def table(found: dict[str, dict[str, str]]) -> str:
    """The outcomes as Markdown."""
    names = list(next(iter(found.values())))
    lines = [f"| check | {' | '.join(names)} |", f"|---{'|---' * len(names)}|"]
    for check, by_name in found.items():
        cells = [by_name[name][:110].replace("|", "\\|") for name in names]
        lines.append(f"| {check} | {' | '.join(cells)} |")
    passed = [sum(row[name] == "passes" for row in found.values()) for name in names]
    lines.append(f"| passed | {' | '.join(f'{count} of {len(found)}' for count in passed)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks on both, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m", help="a chat model's name or path")
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    args = parser.parse_args(argv)
    from llm_core.bench.files import write_floats

    try:
        with tempfile.TemporaryDirectory() as scratch:
            floats = write_floats(resolve(args.model), Path(scratch) / "floats", "float32")
            with local_subject(args.model) as ours:
                found = compare([ours, hugging_face_subject(floats)])
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(found))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return int(any(row["LocalChatModel"] != "passes" for row in found.values()))


if __name__ == "__main__":
    sys.exit(main())
