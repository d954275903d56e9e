"""What LangChain's own machinery does with the chat model: caches, copies, configs, events."""

import asyncio
import copy
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from llm_core.chat_model import LocalChatModel
from llm_core.embeddings import LocalEmbeddings
from llm_core.engine import GenerationCancelledError
from llm_core.errors import ModelError
from tests.llm_core.tiny import build_adapter, build_tiny
from tests.tiny_models import write_bert


@pytest.fixture
def model(tiny_folder: Path) -> LocalChatModel:
    return LocalChatModel(model=str(tiny_folder), max_tokens=24, threads=1)


class Counting(BaseCallbackHandler):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.starts = self.ends = self.errors = 0

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.starts += 1

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends += 1

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self.errors += 1


def test_callbacks_hear_of_every_token_and_of_errors(model):
    heard = Counting()
    text = "".join(str(c.content) for c in model.stream("hello", {"callbacks": [heard]}))
    assert "".join(heard.tokens) == text
    assert (heard.starts, heard.ends, heard.errors) == (1, 1, 0)
    with pytest.raises(ModelError):
        model.invoke("word " * 600, {"callbacks": [heard]})
    assert (heard.starts, heard.ends, heard.errors) == (2, 1, 1)


async def test_events_tell_the_stream(model):
    events = [event async for event in model.astream_events("hello", version="v2")]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "on_chat_model_start" and kinds[-1] == "on_chat_model_end"
    text = "".join(
        str(e["data"]["chunk"].content) for e in events if e["event"] == "on_chat_model_stream"
    )
    assert text == model.invoke("hello").content


def test_a_cache_answers_for_the_same_call_alone(tiny_folder, tmp_path):
    class Spy(InMemoryCache):
        found = 0

        def lookup(self, prompt: str, llm_string: str) -> Any:
            value = super().lookup(prompt, llm_string)
            self.found += value is not None
            return value

    cache = Spy()
    model = LocalChatModel(model=str(tiny_folder), max_tokens=8, threads=1, cache=cache)
    first = model.invoke("hello")
    assert model.invoke("hello", cancel=threading.Event()).content == first.content
    assert cache.found == 1
    adapter = build_adapter(tmp_path / "adapter", seed=1)
    for other in ({"max_tokens": 9}, {"stop": ["x"]}, {"seed": 1}, {"adapter": str(adapter)}):
        model.invoke("hello", **other)
    assert cache.found == 1
    model.invoke("hello", adapter=str(adapter))
    assert cache.found == 2
    build_adapter(adapter, seed=2)  # the same folder, other weights
    model.invoke("hello", adapter=str(adapter))
    assert cache.found == 2


def test_the_cache_knows_models_by_their_files(tmp_path):
    cache = InMemoryCache()
    answers = []
    for seed in (1, 2):
        folder = build_tiny(tmp_path, seed=seed)
        model = LocalChatModel(model=str(folder), max_tokens=8, threads=1, cache=cache)
        answers.append(model._get_llm_string())
    assert answers[0] != answers[1]


def test_the_cache_knows_by_which_embeddings_tools_are_chosen(tiny_folder):
    class Hashed:
        def __init__(self, model_hash):
            self.model_hash = model_hash

    tool = {"type": "function", "function": {"name": "now"}}
    models = [LocalChatModel(model=str(tiny_folder), embeddings=Hashed(h)) for h in "aab"]
    first, same, other = (model._get_llm_string(tools=[tool]) for model in models)
    assert first == same != other
    assert len({model._get_llm_string() for model in models}) == 1


def test_the_settings_can_be_written_down_and_read_again(tiny_folder, tmp_path):
    model = LocalChatModel(
        model=str(tiny_folder), temperature=0.5, stop=["x"], cache_dir=tmp_path, seed=4
    )
    again = load(dumpd(model), allowed_objects=[LocalChatModel], valid_namespaces=["llm_core"])
    assert isinstance(again, LocalChatModel)
    assert again.model_dump() == model.model_dump()
    assert again.invoke("a", max_tokens=5).content == model.invoke("a", max_tokens=5).content


@pytest.mark.parametrize("again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_copies_carry_the_settings_and_never_the_weights(model, again):
    text = model.invoke("hello").content
    model.embeddings = LocalEmbeddings("no-such-model")
    assert len(pickle.dumps(model)) < 10_000
    twin = again(model)
    assert twin.model_dump() == model.model_dump()
    assert isinstance(twin.embeddings, LocalEmbeddings)
    assert twin.invoke("hello").content == text


def test_embeddings_are_pickled_without_their_weights(tmp_path):
    model = LocalEmbeddings(str(write_bert(tmp_path)), batch_tokens=64)
    vector = model.embed_query("a goose")
    data = pickle.dumps(model)
    assert len(data) < 2_000
    twin = pickle.loads(data)
    assert twin.embed_query("a goose") == vector and twin.batch_tokens == 64


def test_a_fallback_answers_when_the_model_cannot(model):
    broken = LocalChatModel(model="no-such-model")
    chain = broken.with_fallbacks([model])
    assert chain.invoke("hello").content == model.invoke("hello").content
    short = model.model_copy(update={"window": 20})
    chain = short.with_fallbacks([model])
    assert chain.invoke("word " * 40).content == model.invoke("word " * 40).content


def test_fields_can_be_configured_for_a_call(model):
    flexible = model.configurable_fields(
        max_tokens=ConfigurableField(id="length"), temperature=ConfigurableField(id="heat")
    )
    cut = flexible.invoke("hello", {"configurable": {"length": 3}})
    assert cut.usage_metadata["output_tokens"] == 3
    assert flexible.invoke("hello").usage_metadata["output_tokens"] == 24
    other = model.configurable_alternatives(
        ConfigurableField(id="which"), short=model.model_copy(update={"max_tokens": 2})
    )
    reply = other.invoke("hello", {"configurable": {"which": "short"}})
    assert reply.usage_metadata["output_tokens"] == 2


def test_another_model_can_answer_one_call(model, tmp_path):
    folder = str(build_tiny(tmp_path, seed=5))
    reply = model.invoke("hello", model=folder)
    assert reply.response_metadata["model_name"] == folder
    assert reply.content == LocalChatModel(model=folder, max_tokens=24).invoke("hello").content
    assert reply.content != model.invoke("hello").content
    assert model.bind(model=folder).invoke("hello").content == reply.content


def test_messages_are_trimmed_by_the_tokens_that_the_model_counts(model):
    history = [SystemMessage("Be brief."), *(HumanMessage(f"word {n} " * 9) for n in range(8))]
    kept = trim_messages(
        history, max_tokens=200, token_counter=model, strategy="last", include_system=True
    )
    assert kept[0] == history[0] and kept[-1] == history[-1] and len(kept) < len(history)
    assert model.get_num_tokens_from_messages(kept) <= 200
    assert model.get_num_tokens("word") == len(model.get_token_ids("word"))


def test_tools_count_as_tokens_of_the_prompt(model):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    history = [HumanMessage("hello")]
    plain = model.get_num_tokens_from_messages(history)
    assert model.get_num_tokens_from_messages(history, tools=[add]) > plain + 20


def test_no_messages_are_no_tokens_and_no_question(model):
    assert model.get_num_tokens_from_messages([]) == 0
    history = [HumanMessage("word " * 50), AIMessage("u"), HumanMessage("q")]
    assert trim_messages(history, max_tokens=30, token_counter=model, strategy="first") == []
    for asked in ({}, {"response_format": {"type": "json_object"}}):
        with pytest.raises(ModelError, match="no message to answer"):
            model.invoke([], **asked)


class Tree(BaseModel):
    """A tree."""

    leaf: bool
    boughs: "list[Tree]" = Field(max_length=1)


class Forest(BaseModel):
    """A wood."""

    first: Tree


@tool(args_schema=Forest)
def plant(first: Tree) -> str:
    """Plant a wood."""
    return str(first)


@pytest.mark.parametrize(("offered", "form"), [(Tree, Tree), (Forest, Forest), (plant, Forest)])
def test_arguments_of_a_tool_may_refer_to_themselves(tmp_path, offered, form):
    model = LocalChatModel(model=str(build_tiny(tmp_path, window=1024)), threads=1)
    bound = model.bind_tools([offered], tool_choice="any", parallel_tool_calls=False)
    for seed in range(4):
        [call] = bound.invoke("x", max_tokens=90, temperature=2.0, seed=seed).tool_calls
        form.model_validate(call["args"])
        assert call["name"] in ("Tree", "Forest", "plant")


def test_log_probabilities_are_told_as_openai_does(model):
    reply = model.invoke("hello", logprobs=True, top_logprobs=2)
    told = reply.response_metadata["logprobs"]["content"]
    assert len(told) == 24
    assert {key for entry in told for key in entry} == {
        *("token", "bytes", "logprob", "top_logprobs"),
    }
    assert all(bytes(e["bytes"]).decode(errors="replace") == e["token"] for e in told)
    assert all(len(e["top_logprobs"]) == 2 for e in told)
    joined = None
    for chunk in model.stream("hello", logprobs=True, top_logprobs=2):
        joined = chunk if joined is None else joined + chunk
    assert joined.response_metadata == reply.response_metadata
    assert "logprobs" not in model.invoke("hello").response_metadata


def test_usage_is_told_once(model):
    told = [c.usage_metadata for c in model.stream("hello") if c.usage_metadata]
    assert len(told) == 1


def watch(
    model: LocalChatModel, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0
) -> list[int]:
    """Grows with every forward pass of the model, each of which takes `seconds` longer."""
    backend = model._replier(model.model).engine.backend
    seen: list[int] = []
    forward = backend.forward

    def slowly(*args: Any, **options: Any) -> Any:
        seen.append(1)
        time.sleep(seconds)
        return forward(*args, **options)

    monkeypatch.setattr(backend, "forward", slowly)
    return seen


@pytest.fixture
def passes(model, monkeypatch) -> list[int]:
    return watch(model, monkeypatch)


async def test_a_reader_who_goes_away_ends_the_stream_within_a_token(model, passes):
    async for _ in model.astream("hello", max_tokens=400):
        break
    await asyncio.sleep(0.05)
    done = len(passes)
    await asyncio.sleep(0.2)
    assert len(passes) <= done + 1 < 100


async def test_a_cancelled_stream_ends_within_a_token(model, passes):
    async def read() -> None:
        async for _ in model.astream("hello", max_tokens=400):
            pass

    task = asyncio.create_task(read())
    while not passes:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    done = len(passes)
    await asyncio.sleep(0.2)
    assert len(passes) <= done + 1 < 200


async def test_the_event_of_a_call_ends_it_without_blocking_others(model):
    cancel = threading.Event()
    task = asyncio.create_task(model.ainvoke("hello", max_tokens=400, cancel=cancel))
    await asyncio.sleep(0.02)
    cancel.set()
    with pytest.raises(GenerationCancelledError):
        await task
    assert (await model.ainvoke("hello")).content == model.invoke("hello").content


async def test_who_leaves_a_call_does_not_set_the_event_that_others_share(model, passes):
    shared = threading.Event()
    bound = model.bind(cancel=shared, max_tokens=400)
    stream = bound.astream("hello")
    await anext(stream)
    await stream.aclose()
    task = asyncio.create_task(bound.ainvoke("hello"))
    seen = len(passes)
    while len(passes) == seen:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not shared.is_set()
    assert (await bound.ainvoke("hello", max_tokens=4)).content
    shared.set()
    with pytest.raises(GenerationCancelledError):
        await bound.ainvoke("hello")


async def test_a_batch_is_the_replies_one_by_one(model):
    questions = [f"hello {n}" for n in range(5)]
    alone = [model.invoke(question).content for question in questions]
    assert [reply.content for reply in model.batch(questions)] == alone
    assert [reply.content for reply in await model.abatch(questions)] == alone
    mixed = model.batch(["hello 0", "word " * 600], return_exceptions=True)
    assert mixed[0].content == alone[0] and isinstance(mixed[1], ModelError)


def test_a_batch_shares_passes_and_changes_no_reply(kernel_folder, monkeypatch):
    model = LocalChatModel(model=str(kernel_folder), max_tokens=40, repetition_guard=False)
    passes = watch(model, monkeypatch, seconds=0.003)  # as a real model's, others queue meanwhile
    questions = [f"hello {n}" for n in range(6)]
    alone = [model.invoke(question).content for question in questions]
    in_turn = len(passes)
    model._replier(model.model).engine.forget()
    assert [reply.content for reply in model.batch(questions)] == alone
    assert len(passes) - in_turn < 0.8 * in_turn


def test_a_chain_streams_through(model):
    chain = ChatPromptTemplate.from_messages([("system", "s"), ("human", "{q}")]) | model
    assert len(list(chain.stream({"q": "hello"}))) > 5
    assert isinstance(chain.invoke({"q": "hello"}), AIMessage)


def test_agents_are_told_what_the_model_can_do(model):
    assert model.profile["structured_output"] and model.profile["tool_calling"]
