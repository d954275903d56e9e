import json
import warnings

import pytest

from llm_core import prompt_format
from llm_core.adapters import CONFIG_NAME, load_adapter
from llm_core.constrain import json_guide
from llm_core.prompt_format import FORMAT_KEY, FORMAT_VERSION, format_hash, format_name
from llm_core.sampling import Sampling
from tests.llm_core.tiny import build_adapter

# The words are frozen: raise FORMAT_VERSION together with this hash.
FROZEN = (1, "cce26a9739fdac9a")


def test_the_words_are_those_that_adapters_were_trained_on():
    assert (FORMAT_VERSION, format_hash()) == FROZEN


def test_another_word_is_another_hash(monkeypatch):
    before = format_hash()
    format_hash.cache_clear()
    monkeypatch.setattr(prompt_format, "REPAIR", "No: {reason}")
    try:
        assert format_hash() != before
    finally:
        format_hash.cache_clear()


def test_the_grammars_write_json_with_these_separators(tiny):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    }
    guide = json_guide(schema, tiny.tokenizer, 100)
    sampling = Sampling(temperature=1.0, seed=1)
    prompt = tiny.tokenizer.encode("count")
    steps = tiny.generate(prompt, max_tokens=100, sampling=sampling, stop_ids=(), guide=guide)
    text = tiny.tokenizer.decode([step.token for step in steps])
    separators = (prompt_format.ITEM_SEPARATOR, prompt_format.KEY_SEPARATOR)
    assert text == json.dumps(json.loads(text), separators=separators)


@pytest.fixture
def adapter(tmp_path):
    return build_adapter(tmp_path)


def carry(folder, name):
    path = folder / CONFIG_NAME
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, FORMAT_KEY: name}))


def test_an_adapter_of_this_format_or_of_none_loads_in_silence(adapter):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_adapter(adapter)
        carry(adapter, format_name())
        load_adapter(adapter)
    assert not caught


def test_an_adapter_of_another_format_says_so(adapter):
    carry(adapter, "0:abc")
    with pytest.warns(UserWarning, match="trained for the tool prompts '0:abc'"):
        load_adapter(adapter)
