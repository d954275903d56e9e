import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage

from llm_core.chat_model import LocalChatModel
from llm_core.engine import GenerationCancelledError
from llm_core.errors import ContextBudgetError, ModelError, ModelNotFoundError


@pytest.fixture
def model(tiny_folder: Path) -> LocalChatModel:
    return LocalChatModel(model=str(tiny_folder), max_tokens=24, threads=1)


def test_a_reply_says_what_it_cost_and_why_it_ended(model, tiny_folder):
    reply = model.invoke("hello")
    usage = reply.usage_metadata
    assert usage["input_tokens"] == model.get_num_tokens_from_messages([HumanMessage("hello")])
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens"] == 24
    assert reply.response_metadata == {
        "model_name": str(tiny_folder),
        "model_provider": "deerstalker",
        "finish_reason": "length",
    }


def test_the_stream_is_the_reply_in_pieces(model):
    chunks = list(model.stream("hello"))
    whole = model.invoke("hello")
    assert "".join(str(chunk.content) for chunk in chunks) == whole.content
    assert len(chunks) > 5
    assert chunks[-1].chunk_position == "last"
    joined = chunks[0]
    for chunk in chunks[1:]:
        joined += chunk
    assert joined.usage_metadata == whole.usage_metadata


def test_a_stop_string_ends_the_text_before_it(model):
    text = str(model.invoke("hello").content)
    stop = text[5:9]
    reply = model.invoke("hello", stop=[stop])
    assert reply.content == text[: text.index(stop)]
    assert reply.response_metadata["finish_reason"] == "stop"
    streamed = "".join(str(c.content) for c in model.stream("hello", stop=[stop]))
    assert streamed == reply.content
    constructed = model.model_copy(update={"stop": [stop]})
    assert constructed.invoke("hello").content == reply.content


def test_one_seed_gives_one_reply_and_options_hold_for_one_call(model):
    hot = {"temperature": 1.5, "top_p": 0.9, "top_k": 50}
    assert model.invoke("a", seed=3, **hot).content == model.invoke("a", seed=3, **hot).content
    assert model.invoke("a", seed=3, **hot).content != model.invoke("a", seed=4, **hot).content
    assert model.invoke("a", max_tokens=2).usage_metadata["output_tokens"] == 2
    assert model.invoke("a").usage_metadata["output_tokens"] == 24


def test_deterministic_mode_repeats_itself(model):
    question = "long " * 60
    first = model.invoke(question, deterministic=True)
    again = model.invoke(question, deterministic=True)
    assert again.content == first.content


def test_an_unknown_option_is_named(model):
    with pytest.raises(ModelError, match="does not know the option 'tempreature'"):
        model.invoke("a", tempreature=1)


def test_an_unknown_model_is_named():
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        LocalChatModel(model="no-such-model").invoke("a")


def test_the_window_is_kept(model, tiny_folder):
    with pytest.raises(ContextBudgetError, match="window is 512"):
        model.invoke("word " * 600)
    with pytest.raises(ContextBudgetError, match="window is 40"):
        LocalChatModel(model=str(tiny_folder), window=40).invoke("hello", max_tokens=30)
    assert model.context_window == 512


def test_the_configuration_is_json_and_makes_the_same_model(model):
    settings = json.loads(json.dumps(model.configuration()))
    assert LocalChatModel(**settings).configuration() == model.configuration()
    assert LocalChatModel(**settings).invoke("a").content == model.invoke("a").content


def test_cancelling_ends_the_call(model):
    cancel = threading.Event()
    stream = model.stream("hello", max_tokens=300, cancel=cancel)
    next(stream)
    cancel.set()
    with pytest.raises(GenerationCancelledError):
        list(stream)


async def test_a_cancelled_task_frees_the_model(model):
    task = asyncio.create_task(model.ainvoke("hello", max_tokens=400))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.2)
    working = [t for t in threading.enumerate() if "asyncio" in t.name and busy(t)]
    assert working == []


def busy(thread: threading.Thread) -> bool:
    """Whether a pool thread is inside our engine."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_filename.endswith("llm_core/engine.py"):
            return True
        frame = frame.f_back
    return False


async def test_async_replies_are_the_same(model):
    assert (await model.ainvoke("hello")).content == model.invoke("hello").content
    pieces = [str(chunk.content) async for chunk in model.astream("hello")]
    assert "".join(pieces) == model.invoke("hello").content


def test_scores_order_continuations_alike_alone_and_together(model):
    tails = ["red", "green goose", "[1, 2, 3]"]
    together = model.score("hello", tails)
    alone = [model.score("hello", [tail])[0] for tail in tails]
    assert together == pytest.approx(alone, abs=0.3)  # bfloat16 rounds by shape
    assert model.score_prompts(["hello", "hello there"], tails[0])[0] == pytest.approx(
        alone[0], abs=0.3
    )


def test_an_extract_is_part_of_the_text(model):
    text = "The blue carbuncle was hidden in the crop of a goose."
    found = model.extract([HumanMessage("Where?")], text, prefix="It was in")
    assert found and found in text
    assert model.extract("Where?", text, max_tokens=6) in text


def calls(reply: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in reply.tool_calls]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def say_nothing() -> str:
    """Say nothing."""
    return ""


def test_a_named_tool_is_called_with_valid_arguments(model):
    bound = model.bind_tools([add, say_nothing], tool_choice="add")
    for seed in range(5):
        reply = bound.invoke("sum", temperature=2.0, seed=seed, max_tokens=60)
        [(name, args)] = calls(reply)
        assert name == "add" and {type(value) for value in args.values()} == {int}
        assert reply.response_metadata["finish_reason"] == "tool_calls"


def test_any_calls_one_of_the_tools_and_none_calls_nothing(model):
    tools = [add, say_nothing]
    assert (
        len(model.bind_tools(tools, tool_choice="any").invoke("x", max_tokens=80).tool_calls) == 1
    )
    assert not model.bind_tools(tools, tool_choice="none").invoke("x").tool_calls
    assert calls(model.bind_tools([say_nothing], tool_choice=True).invoke("x")) == [
        ("say_nothing", {})
    ]


def test_a_streamed_call_adds_up_to_the_call(model):
    bound = model.bind_tools([add], tool_choice="any")
    chunks = list(bound.stream("x", max_tokens=60))
    joined: Any = chunks[0]
    for chunk in chunks[1:]:
        joined += chunk
    assert isinstance(joined, AIMessageChunk)
    assert calls(joined) == calls(bound.invoke("x", max_tokens=60))
    assert joined.tool_calls[0]["id"]


def test_after_the_result_of_a_tool_the_model_answers(model):
    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "1"}
    history = [
        HumanMessage("1+2?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("3", tool_call_id="1"),
    ]
    reply = model.bind_tools([add]).invoke(history)
    assert reply.content and not reply.tool_calls


def test_a_choice_that_no_tool_has_is_named(model):
    with pytest.raises(ModelError, match="'subtract', but the tools are: add"):
        model.bind_tools([add], tool_choice="subtract")
    with pytest.raises(ModelError, match="at least one tool"):
        model.bind_tools([], tool_choice="any")


def test_help_of_the_class_needs_no_torch():
    code = "import sys, llm_core.chat_model; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.model
def test_the_first_token_comes_soon_after_the_process_starts():
    code = (
        "import time\n"
        "from llm_core import LocalChatModel\n"
        "next(LocalChatModel(max_tokens=4, threads=1).stream('Hello!'))\n"
        "print(time.process_time())"
    )
    # Processor seconds on one thread, the best of three: other programs share the cores.
    times: list[float] = []
    while len(times) < 3 and (not times or times[-1] >= 8):
        out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(float(out.stdout))
    assert min(times) < 8


@pytest.mark.model
def test_the_real_model_answers_extracts_and_ranks(chat_model):
    assert "Paris" in str(chat_model.invoke("Name the capital of France.").content)
    text = "Henry Baker lost the goose in Goodge Street."
    question = [HumanMessage(f"{text}\nWhere did Henry Baker lose the goose?")]
    assert "Goodge Street" in chat_model.extract(question, text, prefix="He lost it in")
    likely, unlikely = chat_model.score(question, ["In Goodge Street.", "Photosynthesis."])
    assert likely > unlikely
    about, other = chat_model.score_prompts(
        [f"Write a question about: {text}", "Write a question about: Water boils at 100 degrees."],
        "Where did Henry Baker lose the goose?",
    )
    assert about > other


@pytest.mark.model
def test_the_real_model_calls_a_fitting_tool_and_talks_otherwise(chat_model):
    def get_weather(location: str) -> str:
        """Get the weather at a location."""
        return location

    bound = chat_model.bind_tools([get_weather, add])
    reply = bound.invoke("What is the weather in San Francisco, CA?")
    [(name, args)] = calls(reply)
    assert name == "get_weather" and "San Francisco" in args["location"]
    assert not bound.invoke("Who wrote the play Hamlet?", max_tokens=24).tool_calls
    forced = chat_model.bind_tools([get_weather, add], tool_choice="any")
    assert calls(forced.invoke("What is 17 plus 25?")) == [("add", {"a": 17, "b": 25})]
