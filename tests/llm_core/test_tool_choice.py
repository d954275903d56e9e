from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from llm_core import LocalChatModel, LocalEmbeddings
from llm_core.prompt import ChatTemplate, Turn
from llm_core.settings import load_settings
from llm_core.tool_choice import (
    SIGNS,
    UNSEEN,
    Chooser,
    LineVectors,
    Pick,
    Signs,
    default_embedder,
    embedder_name,
    load_weights,
    probability,
    wants_call,
)
from llm_core.toolcalls import ToolSpec

NUMBER = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
WEATHER = ToolSpec("get_weather", "Get the weather.", {"type": "object", "properties": {}})
ADD = ToolSpec("math.add", "Add numbers.", NUMBER)
TIME = ToolSpec("now", "Tell the time.", {"type": "object", "properties": {}})


class ScriptedScores:
    """Scores by what the decoded sequence contains."""

    def __init__(self, tokenizer, **scores):
        self.tokenizer, self.scores, self.seen = tokenizer, scores, []

    def __call__(self, sequences):
        texts = [self.tokenizer.tables.decode_str(tokens) for tokens, _ in sequences]
        self.seen += texts
        return [next(v for k, v in self.scores.items() if k in text) for text in texts]


class WordVectors:
    """One axis a word: texts are close that share words."""

    words = ("weather", "add", "time", "sum", "rain")

    def __init__(self):
        self.asked = []

    def embed_documents(self, texts):
        self.asked += texts
        return [[float(word in text.lower()) for word in self.words] + [0.1] for text in texts]


def chooser(tiny, scores, embedder=None):
    return Chooser(tiny.tokenizer, ChatTemplate(tiny.tokenizer), scores, embedder)


def test_without_embeddings_the_tool_that_makes_the_request_likeliest_is_picked(tiny):
    scores = ScriptedScores(tiny.tokenizer, weather=-9.0, math=-3.0)
    assert chooser(tiny, scores).pick("sum it", [WEATHER, ADD]) == Pick(ADD, None)
    assert all(text.endswith("Request: sum it") for text in scores.seen)


def test_a_tool_that_is_much_closer_is_picked_without_asking_the_model(tiny):
    scores = ScriptedScores(tiny.tokenizer)
    found = chooser(tiny, scores, WordVectors()).pick("the weather?", [ADD, WEATHER, TIME])
    assert found.tool == WEATHER and found.closeness > 0.9
    assert scores.seen == []


def test_between_tools_that_are_as_close_the_model_decides(tiny):
    other = ToolSpec("weather_history", "Past weather.", {"type": "object", "properties": {}})
    scores = ScriptedScores(tiny.tokenizer, history=-3.0, get=-9.0)
    found = chooser(tiny, scores, WordVectors()).pick("the weather?", [WEATHER, ADD, other])
    assert found.tool == other
    assert len(scores.seen) == 2  # not the one that is far off


def test_texts_are_embedded_once(tiny):
    vectors = WordVectors()
    chosen = chooser(tiny, ScriptedScores(tiny.tokenizer), vectors)
    for _ in range(2):
        chosen.pick("weather", [WEATHER, ADD])
    assert len(vectors.asked) == len(set(vectors.asked)) == 3


def test_the_tools_of_the_next_request_are_not_embedded_again(tiny):
    kept, first, other = LineVectors(), WordVectors(), WordVectors()
    scores = ScriptedScores(tiny.tokenizer)

    def close(embedder, text, *tools):
        made = Chooser(tiny.tokenizer, ChatTemplate(tiny.tokenizer), scores, embedder, kept)
        return made.closeness([text], tools).tolist()

    before = close(first, "weather", WEATHER, ADD)
    assert close(first, "weather", WEATHER, ADD) == before
    close(first, "rain", TIME)
    assert first.asked == [
        *("weather", WEATHER.line(), ADD.line()),
        *("weather", "rain", TIME.line()),
    ]
    assert close(other, "weather", WEATHER, ADD) == before  # of its own making
    assert other.asked == ["weather", WEATHER.line(), ADD.line()]


def test_only_the_vectors_that_were_used_last_are_kept():
    kept, embedder = LineVectors(most=2), WordVectors()
    assert kept.known(embedder, ["a"]) == {}
    kept.keep(embedder, {"a": np.ones(1), "b": np.ones(1)})
    assert kept.known(embedder, ["a"]) == {"a": np.ones(1)}
    kept.keep(embedder, {"c": np.ones(1)})
    assert kept.known(embedder, ["a", "b", "c"]).keys() == {"a", "c"}
    assert kept.known(WordVectors(), ["a", "c"]) == {}


def test_vectors_are_kept_from_several_threads_at_once():
    kept, embedder = LineVectors(most=8), WordVectors()

    def use(number):
        for step in range(300):
            line = str((number + step) % 16)
            found = kept.known(embedder, [line])
            if found and found[line] != float(line):
                return False
            kept.keep(embedder, {line: np.float64(line)})
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))
    assert len(kept.known(embedder, list(map(str, range(16))))) == 8


def test_embedders_are_told_apart_by_their_weights_or_else_by_class_and_model():
    class Hashed(WordVectors):
        model_hash = "abc"

    class Named(WordVectors):
        def __init__(self, model):
            super().__init__()
            self.model = model

    assert embedder_name(Hashed()) == "abc"
    names = [None, WordVectors(), Hashed(), Named("a"), Named("b")]
    assert len(set(map(embedder_name, names))) == len(names)
    assert embedder_name(Named("a")) == embedder_name(Named("a"))


def test_the_signs_of_a_call_are_read_from_request_and_tool(tiny):
    scores = ScriptedScores(tiny.tokenizer, **{"call this": -2.5, "math": -9.0, "none": -50.0})
    turns = [Turn("user", "add"), Turn("assistant", "what?"), Turn("user", "the sum")]
    chosen = chooser(tiny, scores, WordVectors())
    signs = chosen.signs(turns, "the sum", Pick(ADD, 0.5))
    assert signs.gain == 20.0  # bounded
    assert signs.opening == -2.5
    assert signs.lacking == 1.0  # it names no number
    assert signs.closeness == 0.5 and 0.5 < signs.context < 1
    opened = next(text for text in scores.seen if "call this" in text)
    assert "what?" not in opened and ADD.signature() in opened


def test_without_embeddings_two_signs_are_missing(tiny):
    scores = ScriptedScores(tiny.tokenizer, **{"call this": -2.5, "math": -9.0, "none": -8.0})
    signs = chooser(tiny, scores).signs([Turn("user", "add 2")], "add 2", Pick(ADD, None))
    assert signs == Signs(None, None, -1.0, -2.5, 0.0)
    assert len(signs.vector()) == len(UNSEEN)


@pytest.mark.parametrize("seen", [True, False])
def test_strong_signs_call_and_weak_ones_do_not(seen):
    strong = Signs(0.8 if seen else None, 0.8 if seen else None, 20.0, -1.0, 0.0)
    weak = Signs(0.0 if seen else None, 0.0 if seen else None, -5.0, -9.0, 1.0)
    assert wants_call(strong) and not wants_call(weak)
    assert probability(strong) > 0.5 > probability(weak)


def test_every_sign_has_a_weight_of_the_sign_that_it_should_have():
    for name, names in (("with", SIGNS), ("without", UNSEEN)):
        weights = load_weights()[name].weights
        assert weights.keys() == set(names)
        assert weights["lacking"] < 0 < min(w for key, w in weights.items() if key != "lacking")


@pytest.mark.model
def test_the_default_embedder_is_shared_and_found_once_it_is_there(monkeypatch, tmp_path):
    with monkeypatch.context() as empty:
        empty.setenv("DEERSTALKER_CACHE_DIR", str(tmp_path))
        assert default_embedder() is None
    found = default_embedder()
    assert found is not None and found is default_embedder()
    assert default_embedder(tmp_path) is None
    assert default_embedder(load_settings().cache_dir) is found


@pytest.mark.model
def test_a_chat_model_looks_for_the_default_embedder_in_its_own_cache(tiny_folder, tmp_path):
    offered = {"tools": [{"type": "function", "function": {"name": "now"}}]}
    keys = []
    for own in (None, tmp_path):
        model = LocalChatModel(model=str(tiny_folder), cache_dir=own)
        replier = model._replier(model.model)
        assert replier._caller.chooser(model._options(None, {})).sees_closeness == (own is None)
        keys.append(
            [
                part in model._get_llm_string(**offered)
                for part in (LocalEmbeddings().model_hash, "no embed")
            ]
        )
    assert keys == [[True, False], [False, True]]
