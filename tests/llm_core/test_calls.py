import json
from dataclasses import replace

import pytest

from llm_core import tool_choice
from llm_core.calls import ToolCaller, asked_for, asked_of, made_calls
from llm_core.errors import ContextBudgetError, StructuredOutputError
from llm_core.options import read_options
from llm_core.parts import CallPart, TextPart, Usage
from llm_core.prompt import Call, ChatTemplate, Turn
from llm_core.tool_choice import Signs
from llm_core.validation import violation
from llm_core.writing import Writer
from tests.llm_core.test_reply import DEFAULTS

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
    "required": ["city"],
}
NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["a"],
}
WEATHER = {"name": "weather", "description": "The weather.", "parameters": CITY}
DOUBLE = {"name": "double", "description": "Double it.", "parameters": NUMBERS}
CLOCK = {"name": "clock", "description": "The time.", "parameters": {}}


class ByName:
    """A text is close to the tool whose name it holds."""

    names = ("weather", "double", "clock")

    def embed_documents(self, texts):
        return [[float(name in text.lower()) for name in self.names] + [0.01] for text in texts]


@pytest.fixture
def caller(tiny):
    return ToolCaller(tiny, ChatTemplate(tiny.tokenizer), Writer(tiny), ByName())


def run(caller, turns, *tools, **options):
    """The calls of one reply."""
    asked = read_options(DEFAULTS, None, {"max_tokens": 60, "tools": tools, **options})
    if isinstance(turns, str):
        turns = [Turn("user", turns)]
    calls, parts = [], caller.calls(turns, asked, Usage())
    while True:
        try:
            part = next(parts)
        except StopIteration as end:
            assert end.value == len(calls)
            return [(name, json.loads(text)) for name, text in calls]
        if isinstance(part, CallPart):
            assert part.index == len(calls)
            calls.append([part.name, ""])
        else:
            assert part.index == len(calls) - 1
            calls[-1][1] += part.text


@pytest.fixture
def willing(monkeypatch):
    """Whatever the model's signs are, a call is wanted."""
    sure = {"with": tool_choice.Weights(dict.fromkeys(tool_choice.SIGNS, 0.0), 1.0, 0.0)}
    monkeypatch.setattr(tool_choice, "load_weights", lambda: sure)


def names(calls):
    return [name for name, _ in calls]


def test_no_tool_is_called_where_none_may_be(caller, willing):
    assert run(caller, "the weather", WEATHER, tool_choice="none") == []
    assert run(caller, "the weather") == []


def test_a_named_tool_is_called_once_whatever_is_asked(caller):
    calls = run(caller, "double 2 and double 3", WEATHER, DOUBLE, tool_choice="weather")
    assert names(calls) == ["weather"] and calls[0][1]["city"] in ("Oslo", "Rome")


def test_any_calls_the_tool_that_is_closest(caller):
    assert names(run(caller, "what does the clock say?", WEATHER, CLOCK, tool_choice="any")) == [
        "clock"
    ]


def test_a_tool_without_arguments_is_called_with_none(caller):
    assert run(caller, "hello", CLOCK, tool_choice="any") == [("clock", {})]


def test_an_optional_argument_without_a_cue_is_left_out(caller):
    free = {**WEATHER, "parameters": {**CITY, "required": []}}
    assert run(caller, "the weather", free, tool_choice="any") == [("weather", {})]
    assert run(caller, "the weather in Rome", free, tool_choice="any")[0][1].keys() == {"city"}


TOWN = {"type": "object", "properties": {"town": {"const": "Bonn"}}, "required": ["town"]}


@pytest.mark.parametrize("key", ["anyOf", "oneOf", "allOf"])
def test_arguments_that_are_nothing_but_a_choice_of_objects_are_written(caller, key):
    arms = [TOWN] if key == "allOf" else [TOWN, NUMBERS]
    either = {"name": "either", "description": "", "parameters": {key: arms}}
    [(_, given)] = run(caller, "hello", either, tool_choice="any")
    assert violation(given, {key: arms}) is None and given != {}


ODD = {"type": "object", "properties": {"flag": {"type": "boolean"}}, "required": ["flag"]}


@pytest.fixture
def odd(monkeypatch):
    """A tool with a rule that no grammar holds, which what is `written` breaks or does not."""
    rules = {**ODD, "not": {"properties": {"flag": {"const": True}}}}

    def make(caller, *written):
        texts = iter(written)

        def write(prompt, *_):
            text = next(texts)
            if text is None:
                raise ContextBudgetError("no room")
            yield TextPart(text, ())

        monkeypatch.setattr(caller._writer, "write", write)
        return {"name": "odd", "description": "", "parameters": rules}

    return make


def test_a_call_is_announced_once_its_arguments_are_known_to_be_valid(caller, odd):
    asked = {"max_tokens": 60, "tool_choice": "odd"}
    tool = odd(caller, '{"flag": true}', '{"flag": true}')
    options = read_options(DEFAULTS, None, {**asked, "tools": [tool]})
    parts = caller.calls([Turn("user", "hello")], options, Usage())
    with pytest.raises(StructuredOutputError, match="no valid arguments for the tool 'odd'"):
        next(parts)
    tool = odd(caller, '{"flag": true}', '{"flag": false}')
    assert run(caller, "hello", tool, tool_choice="odd") == [("odd", {"flag": False})]


def test_arguments_whose_repair_has_no_room_are_refused_for_what_is_wrong_with_them(caller, odd):
    tool = odd(caller, '{"flag": true}', None)
    with pytest.raises(StructuredOutputError, match="should not be valid under"):
        run(caller, "hello", tool, tool_choice="odd")
    with pytest.raises(ContextBudgetError):
        run(caller, "hello", odd(caller, None), tool_choice="odd")


def test_every_part_of_a_request_is_called_for(caller, willing):
    request = "Tell me the weather in Oslo. Then double 4."
    assert names(run(caller, request, WEATHER, DOUBLE)) == ["weather", "double"]
    alone = run(caller, request, WEATHER, DOUBLE, parallel_tool_calls=False)
    assert names(alone) == ["weather"]


def test_no_reply_holds_the_same_call_twice(caller, willing):
    calls = run(caller, "Show the clock in Oslo. Then show the clock in Rome.", CLOCK, WEATHER)
    assert calls == [("clock", {})]


def test_each_value_of_a_list_gets_a_call(caller, monkeypatch):
    written = iter(['{"a": 4}', '{"a": 5}', '{"a": 6}'])
    asked = []

    def arguments(turns, *_):
        asked.append(turns[-1].text)
        yield next(written)

    monkeypatch.setattr(caller, "_arguments", arguments)
    calls = run(caller, "double 4, 5 and 6 now", DOUBLE, tool_choice="any")
    assert [given["a"] for _, given in calls] == [4, 5, 6]
    assert asked == ["double 4 now", "double 5 now", "double 6 now"]


def test_a_list_that_one_call_may_hold_is_shared_out_where_it_holds_one_value(caller, monkeypatch):
    pair = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    both = {**DOUBLE, "parameters": {"type": "object", "properties": pair, "required": ["a", "b"]}}
    written = iter(['{"a": 4, "b": 1}', '{"a": 5, "b": 1}'])
    monkeypatch.setattr(caller, "_arguments", lambda *_: iter([next(written)]))
    calls = run(caller, "double 4 and 5", both, tool_choice="any")
    assert [given["a"] for _, given in calls] == [4, 5]


def test_one_call_at_most_is_given_the_whole_list(caller, monkeypatch):
    asked = []

    def arguments(turns, *_):
        asked.append(turns[-1].text)
        yield '{"a": 4}'

    monkeypatch.setattr(caller, "_arguments", arguments)
    for choice in ({"tool_choice": "any", "parallel_tool_calls": False}, {"tool_choice": "double"}):
        assert len(run(caller, "double 4, 5 and 6 now", DOUBLE, CLOCK, **choice)) == 1
    assert asked == ["double 4, 5 and 6 now"] * 2


def after(request, *calls):
    """A conversation in which these calls were made and answered."""
    made = tuple(Call(name, given) for name, given in calls)
    results = [Turn("user", f"{name} returned 8", from_tool=True) for name, _ in calls]
    return [Turn("user", request), Turn("assistant", "...", calls=made), *results]


def test_after_a_result_the_model_answers(caller, willing):
    assert run(caller, after("the weather?", ("weather", {"city": "Oslo"})), WEATHER) == []


def test_a_part_that_needs_a_result_is_called_for_after_it(caller, willing):
    request = "Tell me the weather in Oslo. Then double the result 4."
    assert names(run(caller, request, WEATHER, DOUBLE)) == ["weather"]
    turns = after(request, ("weather", {"city": "Oslo"}))
    assert names(run(caller, turns, WEATHER, DOUBLE)) == ["double"]
    both = after(request, ("weather", {"city": "Oslo"}), ("double", {"a": 4}))
    assert run(caller, both, WEATHER, DOUBLE) == []


def test_a_call_that_was_made_is_not_made_again(caller, willing):
    request = "Show the clock in Oslo. Then show the weather and the clock for the result."
    turns = after(request, ("weather", {"city": "Oslo"}))
    assert ("clock", {}) in run(caller, turns, WEATHER, CLOCK)
    turns = after(request, ("clock", {}), ("weather", {"city": "Oslo"}))
    assert ("clock", {}) not in run(caller, turns, WEATHER, CLOCK)


def test_in_auto_the_signs_decide(caller, monkeypatch):
    seen = []

    def decide(signs: Signs) -> bool:
        seen.append(signs)
        return signs.closeness > 0.5

    monkeypatch.setattr("llm_core.calls.wants_call", decide)
    assert names(run(caller, "the weather in Rome", WEATHER)) == ["weather"]
    assert run(caller, "I am fine", WEATHER) == []
    assert len(seen) == 2


def test_tools_are_embedded_once_for_all_requests(tiny):
    class Counting(ByName):
        asked = ()

        def embed_documents(self, texts):
            self.asked = [*self.asked, *texts]
            return super().embed_documents(texts)

    words = Counting()
    caller = ToolCaller(tiny, ChatTemplate(tiny.tokenizer), Writer(tiny), words)
    for request in ("the weather", "double 2"):
        assert run(caller, request, WEATHER, DOUBLE, tool_choice="any")
    assert sorted(words.asked) == [
        *("double 2", "double: Double it. (a)", "the weather", "weather: The weather. (city)")
    ]


def test_nothing_is_called_after_the_model_itself_spoke(caller, willing):
    turns = [Turn("user", "the weather"), Turn("assistant", "one moment")]
    assert run(caller, turns, WEATHER) == []


def test_the_last_request_is_found_and_replaced():
    turns = [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c", from_tool=True)]
    assert asked_of(turns) == "a"
    assert asked_for(turns, "x") == [replace(turns[0], text="x"), *turns[1:]]
    assert asked_of([]) == ""


def test_calls_since_the_person_last_spoke_are_counted():
    turns = [*after("a", ("f", {})), Turn("user", "b"), *after("c", ("g", {"x": 1}))]
    assert made_calls(turns) == [("g", {"x": 1})]


def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    raise NotImplementedError(city)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    raise NotImplementedError(a, b)


@pytest.mark.model
def test_a_sum_that_is_asked_for_besides_gets_a_call_of_its_own(chat_model):
    model = chat_model.bind_tools([get_weather, add])
    calls = model.invoke("What is the weather in Paris, and what is 3 plus 4?").tool_calls
    found = [(call["name"], call["args"]) for call in calls]
    assert found == [("get_weather", {"city": "Paris"}), ("add", {"a": 3, "b": 4})]
