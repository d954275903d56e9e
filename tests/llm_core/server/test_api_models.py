"""Models and adapters by name: listed, loaded, unloaded, switched."""

import threading
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_core.errors import ModelError, ModelFileError
from llm_core.server.errors import RequestError, UnknownModelError
from llm_core.server.models import AdapterOffer, Models
from tests.llm_core.server.test_api_chat import HELLO


def reply(http: httpx.Client, model: str) -> str:
    body = {"model": model, "messages": HELLO, "max_tokens": 12}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_the_list_has_every_model_and_adapter(client: openai.OpenAI):
    found = {model.id: model for model in client.models.list()}
    assert found.keys() == {"tiny", "tiny-bert", "tiny-writer"}
    assert found["tiny"].object == "model" and found["tiny"].created > 0
    assert client.models.retrieve("tiny-writer").model_dump()["parent"] == "tiny"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")


def test_a_model_is_unloaded_and_loaded_again(http: httpx.Client):
    first = reply(http, "tiny")
    assert http.post("/v1/models/tiny/unload").json()["loaded"] is False
    assert http.get("/v1/models/tiny").json()["loaded"] is False
    assert http.post("/v1/models/tiny/load").json()["loaded"] is True
    http.post("/v1/models/tiny/unload")
    assert reply(http, "tiny") == first  # loaded by being asked for
    assert http.get("/v1/models/tiny").json()["loaded"] is True


def test_an_adapter_answers_under_its_own_name_and_when_switched_to(http: httpx.Client):
    bare, adapted = reply(http, "tiny"), reply(http, "tiny-writer")
    assert bare != adapted
    switched = http.put("/v1/models/tiny/adapter", json={"adapter": "tiny-writer"})
    assert switched.json()["adapter"] == "tiny-writer"
    assert reply(http, "tiny") == adapted
    assert http.put("/v1/models/tiny/adapter", json={"adapter": None}).json()["adapter"] is None
    assert reply(http, "tiny") == bare


@pytest.mark.parametrize("adapter", ["nobody", "/etc/passwd", "tiny"])
def test_only_an_adapter_on_offer_can_be_switched_to(http: httpx.Client, adapter: str):
    answer = http.put("/v1/models/tiny/adapter", json={"adapter": adapter})
    assert answer.status_code == 400 and "it has tiny-writer" in answer.json()["error"]["message"]


def test_an_adapter_that_does_not_load_leaves_the_one_in_use(models: Models, tmp_path: Path):
    chat = models.chat("tiny").replier
    offers = {"broken": AdapterOffer(tmp_path, "one")}
    own = Models({"one": "one"}, adapters=offers, open_chat=lambda _: chat)
    with pytest.raises(ModelFileError, match="cannot be read"):
        own.use_adapter("one", "broken")
    assert own.card("one").adapter is None and own.chat("one").adapter is None


def test_a_model_is_loaded_once_by_many_who_ask_at_the_same_time(models: Models):
    chat, opened, together = models.chat("tiny").replier, [], threading.Barrier(4)

    def open_chat(source: str) -> Any:
        opened.append(source)
        return chat

    own = Models({"one": "folder"}, open_chat=open_chat)
    assert not own.ready

    def ask() -> None:
        together.wait()
        own.chat("one")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == ["folder"] and own.ready


def test_names_must_differ_and_adapters_need_their_model(tmp_path: Path):
    with pytest.raises(ModelError, match="two models are named 'one'"):
        Models({"one": "a"}, {"one": "b"})
    with pytest.raises(ModelError, match="is for 'two', not offered here"):
        Models({"one": "a"}, adapters={"writer": AdapterOffer(tmp_path, "two")})


def test_a_name_of_the_wrong_kind_is_refused(models: Models):
    with pytest.raises(RequestError, match="is a model for embeddings, not for chat"):
        models.chat("tiny-bert")
    with pytest.raises(UnknownModelError, match="there is no model 'x' here"):
        models.embedder("x")


def test_a_server_is_ready_when_a_model_is_loaded(http: httpx.Client):
    assert http.get("/ready").json() == {"status": "ready"}
    assert http.get("/health").json() == {"status": "ok"}
