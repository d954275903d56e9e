import json
import re
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field, field_validator, model_validator
from typing_extensions import TypedDict

from llm_core.chat_model import LocalChatModel
from llm_core.errors import ContextBudgetError, ModelError, StructuredOutputError
from llm_core.reply_format import read_format
from llm_core.structured import (
    InvalidReplyError,
    ReplyParser,
    grammar_holds,
    json_schema_of,
    schema_hint,
    violation,
)

FLAG = {"type": "object", "properties": {"flag": {"type": "boolean"}}, "required": ["flag"]}
HOT: dict[str, Any] = {"temperature": 2.0, "max_tokens": 90}


class Part(BaseModel):
    kind: Literal["gem", "bird"]
    size: float | None = None


class Find(BaseModel):
    """What was found."""

    name: str = Field(description="its name", max_length=12)
    count: int = Field(ge=0, le=99)
    parts: list[Part] = Field(max_length=2)


class FindDict(TypedDict):
    """What was found."""

    name: Annotated[str, ..., "its name"]
    ok: bool


class Never(BaseModel):
    """A model that no reply satisfies."""

    flag: bool

    @field_validator("flag")
    @classmethod
    def refuse(cls, value: bool) -> bool:
        raise ValueError(f"never right: {value}")


@pytest.fixture
def model(tiny_folder: Path) -> LocalChatModel:
    return LocalChatModel(model=str(tiny_folder), max_tokens=90, threads=1)


def test_every_reply_is_an_object_of_the_pydantic_model(model):
    for seed in range(8):
        found = model.with_structured_output(Find).invoke("x", seed=seed, **HOT)
        assert isinstance(found, Find)


def test_typed_dicts_and_json_schemas_give_valid_dicts(model):
    for schema in (FindDict, json_schema_of(FindDict), Find.model_json_schema()):
        for method in ("function_calling", "json_schema", "json_mode"):
            chain = model.with_structured_output(schema, method=method)
            found = chain.invoke("x", seed=1, **HOT)
            assert isinstance(found, dict)
            assert violation(found, json_schema_of(schema)) is None


class Tree(BaseModel):
    """A tree."""

    leaf: bool
    boughs: "list[Tree]" = Field(max_length=1)


def test_a_schema_may_refer_to_itself(model):
    assert schema_hint(json_schema_of(Tree)).endswith("these keys: leaf, boughs.")
    for seed in range(4):
        found = model.with_structured_output(Tree).invoke("x", seed=seed, **HOT)
        assert isinstance(found, Tree)


@pytest.mark.parametrize(
    "schema",
    [
        {"title": "n", "type": "array", "items": {"type": "integer"}, "maxItems": 3},
        {
            "title": "n",
            "type": "object",
            "additionalProperties": {"type": "null"},
            "maxProperties": 2,
        },
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}},
        {"title": "n", "enum": ["red", "green"]},
        {"name": "n", "description": "d", "parameters": FLAG},
        {"type": "function", "function": {"name": "n", "parameters": FLAG}},
    ],
)
def test_a_schema_of_any_shape_is_kept_whole(model, schema):
    inner = schema.get("function", schema).get("parameters", schema)
    for seed in range(2):
        found = model.with_structured_output(schema).invoke("x", seed=seed, **HOT)
        assert violation(found, inner) is None


def test_pydantic_one_models_are_built(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pydantic.v1 import BaseModel as OldModel

        class Old(OldModel):
            """An old model."""

            n: int
            tag: str = "none"

        assert isinstance(model.with_structured_output(Old).invoke("x"), Old)


def test_json_mode_without_a_schema_gives_some_object(model):
    found = model.with_structured_output(None, method="json_mode").invoke("x", **HOT, seed=2)
    assert isinstance(found, dict)


def test_the_raw_reply_can_be_kept(model):
    out = model.with_structured_output(Find, include_raw=True).invoke("x")
    assert isinstance(out["parsed"], Find) and out["parsing_error"] is None
    assert Find.model_validate_json(out["raw"].content) == out["parsed"]


def test_a_reply_is_asked_for_once_more_and_then_refused(model, monkeypatch):
    asked = []
    monkeypatch.setattr(
        LocalChatModel, "_generate", noting(asked, LocalChatModel._generate), raising=True
    )
    with pytest.raises(StructuredOutputError, match="never right") as caught:
        model.with_structured_output(Never).invoke("x")
    assert isinstance(caught.value, OutputParserException)
    assert str(caught.value).splitlines() == [str(caught.value)]
    assert str(caught.value).startswith("the reply is not a valid Never: flag: Value error, never")
    assert [len(messages) for messages in asked] == [1, 3]
    assert "not valid" in asked[1][-1].content


def noting(asked: list[Any], inner: Any) -> Any:
    def generate(self: Any, messages: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(messages)
        return inner(self, messages, *args, **kwargs)

    return generate


def test_with_the_raw_reply_the_error_is_returned(model):
    out = model.with_structured_output(Never, include_raw=True).invoke("x")
    assert out["parsed"] is None
    assert isinstance(out["parsing_error"], StructuredOutputError)


def test_what_a_grammar_cannot_express_is_still_checked(model):
    schema = {
        "title": "odd",
        "type": "object",
        "properties": {"flag": {"type": "boolean", "not": {"enum": [True, False]}}},
        "required": ["flag"],
    }
    with pytest.raises(StructuredOutputError, match=r"\$\.flag"):
        model.with_structured_output(schema).invoke("x")


def test_a_prompt_template_may_come_before_it(model):
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | model.with_structured_output(
        Find
    )
    assert isinstance(chain.invoke({"q": "x"}), Find)
    assert {type(item) for item in chain.stream({"q": "x"})} == {Find}


async def test_it_works_without_blocking(model):
    chain = model.with_structured_output(Find)
    found = await chain.ainvoke("x")
    assert isinstance(found, Find)
    assert [item async for item in chain.astream("x")][-1] == found


def test_a_streamed_dict_grows_to_the_whole_one(model):
    chain = model.with_structured_output(Find.model_json_schema())
    items = list(chain.stream("x", seed=1, **HOT))
    assert items[-1] == chain.invoke("x", seed=1, **HOT)
    assert len(items) > 5 and items[0] == {}
    names = [item.get("name", "") for item in items]
    assert all(later.startswith(name) for name, later in pairwise(names))
    assert list(items[-1]) == ["name", "count", "parts"]


def test_a_streamed_pydantic_model_is_valid_at_every_step(model):
    class Note(BaseModel):
        """A note."""

        text: str = Field(max_length=30)
        tags: list[str] = Field(default=[], max_length=2)

    items = list(model.with_structured_output(Note).stream("x", seed=1, **HOT))
    assert len(items) > 3 and all(isinstance(item, Note) for item in items)
    assert all(len(a.text) <= len(b.text) for a, b in pairwise(items))


def test_a_validator_may_count_on_what_is_not_written_yet():
    class Pair(BaseModel):
        """Two flags that differ."""

        first: bool
        second: bool = False

        @model_validator(mode="before")
        @classmethod
        def differ(cls, data: dict[str, Any]) -> dict[str, Any]:
            return {**data, "second": not data["first"], "told": data["second"]}

    parser = ReplyParser(Pair, json_schema_of(Pair))
    assert parser.part('{"first": true, ') is None
    assert parser.part('{"first": true, "second": false') == Pair(first=True, second=False)


def test_the_stream_with_the_raw_reply_adds_up_to_the_result(model):
    chain = model.with_structured_output(Find, include_raw=True)
    whole = None
    for item in chain.stream("x"):
        whole = item if whole is None else whole + item
    expected = chain.invoke("x")
    assert (whole["parsed"], whole["parsing_error"]) == (expected["parsed"], None)
    assert whole["raw"].content == expected["raw"].content


def test_a_streamed_reply_that_fails_is_repaired_or_refused(model):
    stream = model.with_structured_output(Never).stream("x")
    with pytest.raises(StructuredOutputError, match="never right"):
        list(stream)
    [*_, last] = model.with_structured_output(Never, include_raw=True).stream("x")
    assert last["parsed"] is None and isinstance(last["parsing_error"], StructuredOutputError)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reply_with_no_room_for_its_repair_tells_its_own_fault(model, streamed):
    chain = model.model_copy(update={"window": 80}).with_structured_output(Never)
    with pytest.raises(InvalidReplyError, match="never right"):
        _ = list(chain.stream("x", max_tokens=20)) if streamed else chain.invoke("x", max_tokens=20)
    with pytest.raises(ContextBudgetError):
        _ = list(chain.stream("x", max_tokens=79)) if streamed else chain.invoke("x", max_tokens=79)


def test_a_called_tool_stands_for_no_object(model):
    tools = [{"name": "f", "description": "d", "parameters": FLAG}]
    asked = {"tools": tools, "tool_choice": "any"}
    out = model.with_structured_output(Find, include_raw=True, **asked).invoke("x")
    assert [call["name"] for call in out["raw"].tool_calls] == ["f"]
    assert out["parsed"] is None and out["parsing_error"] is None
    assert model.with_structured_output(Find, **asked).invoke("x") is None
    [*_, last] = model.with_structured_output(Find, include_raw=True, **asked).stream("x")
    assert last == {"parsed": None, "parsing_error": None}


class Once(BaseModel):
    """Refuses the first object that is made of it."""

    flag: bool

    @field_validator("flag")
    @classmethod
    def refuse_once(cls, value: bool) -> bool:
        REFUSED.append(value)
        if len(REFUSED) == 1:
            raise ValueError("not yet")
        return value


REFUSED: list[bool] = []


@pytest.mark.parametrize("streamed", [False, True])
def test_a_repaired_reply_is_a_result(model, streamed):
    REFUSED.clear()
    chain = model.with_structured_output(Once)
    found = [*chain.stream("x")][-1] if streamed else chain.invoke("x")
    assert isinstance(found, Once) and len(REFUSED) > 1


def test_response_format_alone_gives_json_text(model):
    wanted = {"type": "json_schema", "json_schema": {"name": "f", "schema": json_schema_of(Find)}}
    reply = model.invoke([HumanMessage("x")], response_format=wanted)
    Find.model_validate_json(str(reply.content))
    assert isinstance(
        json.loads(str(model.invoke("x", response_format={"type": "json_object"}).content)), dict
    )


def test_a_reply_has_the_pattern_or_is_one_of_the_choices(model):
    for seed in range(4):
        hot = {**HOT, "seed": seed}
        pattern = {"type": "regex", "pattern": "[0-9]{3}-[a-f]{2}"}
        reply = model.invoke("x", response_format=pattern, **hot)
        assert re.fullmatch("[0-9]{3}-[a-f]{2}", str(reply.content))
        choices = {"type": "choice", "choices": ["red", "green goose"]}
        assert model.invoke("x", response_format=choices, **hot).content in choices["choices"]
    assert model.invoke("x", response_format={"type": "text"}).content == model.invoke("x").content


ODD = {
    "type": "object",
    "properties": {"flag": {"type": "boolean", "not": {"const": True}}},
    "required": ["flag"],
}


def test_what_the_grammar_does_not_hold_is_asked_for_twice_and_never_shown_unchecked(model):
    wanted = {"type": "json_schema", "json_schema": {"name": "f", "schema": ODD}}
    seen = set()
    for seed in range(12):
        try:
            reply = model.invoke("x", response_format=wanted, seed=seed, **HOT)
            seen.add(json.loads(str(reply.content))["flag"])
        except InvalidReplyError as error:
            assert json.loads(error.reply) == {"flag": True} and "$.flag" in str(error)
            seen.add("refused")
    assert seen == {False, "refused"}


def test_a_form_outlasts_stop_strings_and_a_window_without_room_for_its_repair(model):
    wanted = {"type": "json_schema", "json_schema": {"name": "f", "schema": ODD}}
    small = model.model_copy(update={"window": 90})
    seen = set()
    for seed in range(8):
        hot = {**HOT, "max_tokens": 20, "seed": seed, "stop": ["flag"]}
        try:
            reply = small.invoke("x", response_format=wanted, **hot)
            seen.add(json.loads(str(reply.content))["flag"])
        except InvalidReplyError as error:
            seen.add(json.loads(error.reply)["flag"])
    assert seen == {False, True}
    with pytest.raises(ContextBudgetError):
        small.invoke("x", response_format=wanted, max_tokens=89)


@pytest.mark.parametrize(
    ("schema", "holds"),
    [
        (Find.model_json_schema(), True),
        (json_schema_of(FindDict), True),
        ({"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"const": 1}}}, True),
        (True, True),
        (ODD, False),
        ({"type": "string", "format": "email"}, False),
        ({"type": "array", "items": {"type": "number", "multipleOf": 0.1}}, False),
        ({"type": "integer", "enum": [1, 5], "minimum": 3}, False),
        ({"$ref": "#/$defs/n", "maximum": 3, "$defs": {"n": {"type": "integer"}}}, False),
        ("string", False),
    ],
)
def test_the_grammar_is_said_to_hold_what_it_enforces_alone(schema, holds):
    assert grammar_holds(schema) is holds


@pytest.mark.parametrize(
    "bad",
    [{"type": "xml"}, {"type": "json_schema"}, {"type": "regex"}, {"type": "choice"}, "json", {}],
)
def test_an_unknown_format_is_named(bad):
    with pytest.raises(ModelError, match="response_format must be"):
        read_format(bad)


def test_unknown_methods_and_missing_schemas_are_refused(model):
    with pytest.raises(ValueError, match="'magic' is unknown"):
        model.with_structured_output(Find, method="magic")
    with pytest.raises(ValueError, match="needs a schema"):
        model.with_structured_output(None)


def test_the_hint_names_keys_and_their_meaning():
    hint = schema_hint(json_schema_of(Find))
    assert hint == "Answer with one JSON object with these keys: name (its name), count, parts."
    assert schema_hint({"type": "object"}) == "Answer with one JSON object."
