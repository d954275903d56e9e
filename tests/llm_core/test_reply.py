import json
import math
from pathlib import Path
from typing import Any

import pytest

from llm_core.calls import ToolCaller
from llm_core.engine import Engine
from llm_core.errors import ModelError
from llm_core.options import read_options
from llm_core.parts import CallPart, TextPart, Usage
from llm_core.prompt import Turn
from llm_core.reply import Replier
from tests.llm_core.fake_backend import FakeBackend
from tests.llm_core.tiny import TOOL_TEMPLATE, build_tiny

DEFAULTS = {
    "model": "fake",
    "adapter": None,
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "max_tokens": 300,
    "seed": None,
    "deterministic": False,
    "repetition_guard": True,
    "stop": None,
}


@pytest.fixture
def looping(tiny_folder: Path) -> Replier:
    """A model whose next token depends on the last one alone."""
    engine = Engine(tiny_folder, backend=FakeBackend(memory=1))
    engine.tokenizer.end_ids = []
    return Replier(engine)


def reply(replier: Replier, **options: Any) -> tuple[str, str, int]:
    """The text, why it ended, and its tokens."""
    usage = Usage()
    parts = replier.reply([Turn("user", "hello")], read_options(DEFAULTS, None, options), usage)
    text = ""
    while True:
        try:
            part = next(parts)
        except StopIteration as end:
            return text, str(end.value), usage.reply
        assert isinstance(part, TextPart)
        text += part.text


def test_free_text_that_repeats_itself_ends_and_says_so(looping):
    whole, finish, tokens = reply(looping, repetition_guard=False)
    assert (finish, tokens) == ("length", 300)
    cut, finish, tokens = reply(looping)
    assert finish == "repetition" and 48 <= tokens < 300
    assert whole.startswith(cut)


def test_sampling_options_reach_the_engine(looping):
    plain = reply(looping, max_tokens=30)[0]
    assert reply(looping, max_tokens=30, frequency_penalty=1000.0)[0] != plain
    hot = {"temperature": 1.0, "seed": 3, "max_tokens": 30}
    assert reply(looping, **hot)[0] != plain
    assert reply(looping, **hot, min_p=0.999)[0] == plain  # only the best token is left


def parts(replier: Replier, **options: Any) -> list[TextPart]:
    turns = [Turn("user", "hello")]
    return list(replier.reply(turns, read_options(DEFAULTS, None, options), Usage()))


def test_the_probability_of_each_token_comes_with_its_text(tiny):
    replier = Replier(tiny)
    asked = {"logprobs": True, "top_logprobs": 3, "max_tokens": 20}
    told = [entry for part in parts(replier, **asked) for entry in part.logprobs]
    assert len(told) == 20
    text = "".join(part.text for part in parts(replier, **asked))
    pieces = b"".join(entry.piece for entry in told).decode(errors="replace")
    assert pieces.startswith(text) and len(text) > 10  # the last character may be half written
    for entry in told:
        assert len(entry.top) == 3 and entry.top[0] == (entry.piece, entry.logprob)  # greedy
        assert entry.logprob < 0
        assert [value for _, value in entry.top] == sorted((v for _, v in entry.top), reverse=True)
    assert not any(part.logprobs for part in parts(replier, max_tokens=20))
    alone = [e for p in parts(replier, logprobs=True, max_tokens=20) for e in p.logprobs]
    assert [e.logprob for e in alone] == [e.logprob for e in told]
    assert not any(entry.top for entry in alone)


def test_tokens_behind_a_stop_string_have_no_probability(tiny):
    replier = Replier(tiny)
    whole = parts(replier, logprobs=True, max_tokens=20)
    text = "".join(part.text for part in whole)
    stop = text[len(text) // 2 :][:6]
    cut = read_options(DEFAULTS, [stop], {"logprobs": True, "max_tokens": 20})
    shown = list(replier.reply([Turn("user", "hello")], cut, Usage()))
    pieces = b"".join(entry.piece for part in shown for entry in part.logprobs)
    kept = "".join(part.text for part in shown)
    assert kept == text[: text.index(stop)]
    assert kept.encode() in pieces.decode(errors="replace").encode()
    assert stop not in pieces.decode(errors="replace")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"n": 2}, "n must be 1"),
        ({"top_logprobs": 21, "logprobs": True}, "from 0 to 20, not 21"),
        ({"top_logprobs": 2}, "needs logprobs=True"),
        ({"max_tokens": 0}, "at least 1, not 0"),
        ({"copy_from": "x"}, "list of texts"),
        ({"max_tokens": "9"}, "max_tokens must be a whole number, not '9'"),
        ({"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        ({"temperature": -1}, "temperature must be at least 0, not -1"),
        ({"top_p": 0}, "top_p must be above 0"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"temperature": math.nan}, "temperature must be finite, not nan"),
        ({"frequency_penalty": math.inf}, "frequency_penalty must be finite, not inf"),
        ({"copy_from": [1]}, "list of texts"),
        ({"model": 3}, "model must be a name"),
        ({"cancel": True}, "cancel must be a threading.Event"),
    ],
)
def test_options_that_cannot_hold_are_named(options, reason):
    with pytest.raises(ModelError, match=reason):
        read_options(DEFAULTS, None, options)
    assert read_options(DEFAULTS, None, {"n": 1, "parallel_tool_calls": False})


def test_one_stop_string_is_a_list_of_one():
    assert read_options(DEFAULTS, "ab", {}).stop == ("ab",)
    assert read_options({**DEFAULTS, "stop": "ab"}, None, {}).stop == ("ab",)
    assert read_options({**DEFAULTS, "stop": ["ab"]}, [], {}).stop == ()
    with pytest.raises(ModelError, match="stop must be a list of texts, not \\[1\\]"):
        read_options(DEFAULTS, [1], {})


def test_a_template_that_knows_tools_has_them_in_calls_and_in_answers(tmp_path, monkeypatch):
    engine = Engine(build_tiny(tmp_path, template=TOOL_TEMPLATE), threads=1)
    read: list[str] = []
    generate = engine.generate

    def watched(prompt: Any, **options: Any) -> Any:
        read.append(engine.tokenizer.tables.decode_str(list(prompt)))
        return generate(prompt, **options)

    monkeypatch.setattr(engine, "generate", watched)
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = {"name": "count_geese", "description": "Count.", "parameters": number}
    asked = {"tools": [tool], "max_tokens": 30}

    forced = read_options(DEFAULTS, None, {**asked, "tool_choice": "count_geese"})
    made = list(Replier(engine).reply([Turn("user", "hello")], forced, Usage()))
    assert made[0] == CallPart(0, "count_geese")
    assert isinstance(json.loads("".join(part.text for part in made[1:]))["n"], int)
    assert read[0].endswith('<tool_call>\n{"name": "count_geese", "arguments":')

    monkeypatch.setattr(ToolCaller, "calls", lambda *_: iter(()))
    free = read_options(DEFAULTS, None, asked)
    assert list(Replier(engine).reply([Turn("user", "hello")], free, Usage()))
    assert '"description": "Count."' in read[-1] and read[-1].endswith("assistant\n")
