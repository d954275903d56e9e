from pathlib import Path
from typing import Any

import pytest

from llm_core.engine import Engine
from llm_core.options import read_options
from llm_core.parts import TextPart, Usage
from llm_core.prompt import Turn
from llm_core.reply import Replier
from tests.llm_core.fake_backend import FakeBackend

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
