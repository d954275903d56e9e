"""Embeddings, as the official client asks for them."""

from collections.abc import Sequence
from typing import Any, cast

import httpx
import numpy as np
import openai
import pytest

from llm_core.embeddings import LocalEmbeddings
from llm_core.server.embeddings import EmbeddingsJob
from llm_core.server.logs import Record
from llm_core.server.models import Embedder, Models
from llm_core.server.schemas import EmbeddingsRequest

TEXTS = ["the blue carbuncle", "a goose"]


def test_vectors_are_those_of_the_model_in_the_order_of_the_texts(
    client: openai.OpenAI, models: Models
):
    made = client.embeddings.create(model="tiny-bert", input=TEXTS)  # the client asks for base64
    expected = models.embedder("tiny-bert").embeddings.embed_array(TEXTS)
    assert [entry.index for entry in made.data] == [0, 1]
    assert np.array_equal(np.array([entry.embedding for entry in made.data], "f4"), expected)


def test_numbers_and_base64_hold_the_same_vector(client: openai.OpenAI):
    plain = client.embeddings.create(model="tiny-bert", input=TEXTS[0], encoding_format="float")
    coded = client.embeddings.create(model="tiny-bert", input=TEXTS[0])
    assert plain.data[0].embedding == coded.data[0].embedding
    assert plain.usage.prompt_tokens == plain.usage.total_tokens > len("the blue carbuncle") // 2


def test_many_texts_have_the_vectors_that_each_has_alone(client: openai.OpenAI):
    texts = [f"number {'x' * (n % 7)} text" for n in range(70)]
    made = client.embeddings.create(model="tiny-bert", input=texts)
    assert [entry.index for entry in made.data] == list(range(70))
    alone = client.embeddings.create(model="tiny-bert", input=texts[69])
    assert np.allclose(made.data[69].embedding, alone.data[0].embedding, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "together"), [("goose", 32), ("goose " * 500, 2), ("x" * 9999, 1)]
)
def test_a_client_that_hung_up_costs_no_more_than_the_texts_in_work(text: str, together: int):
    class Leaving:
        dimension = 2

        def embed_array(self, texts: list[str]) -> Any:
            job.cancel.set()
            return np.zeros((len(texts), 2))

    counted: list[str] = []

    def count(texts: Sequence[str]) -> int:
        counted.extend(texts)
        return len(texts)

    held = Embedder(cast("LocalEmbeddings", Leaving()), count)
    models = Models({}, {"e": "e"}, open_embeddings=lambda _: held)
    job = EmbeddingsJob(models, EmbeddingsRequest(model="e", input=[text] * 100), Record())
    assert len(job.whole().data) == len(counted) == together


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input": [1, 2]}, "token ids cannot be read"),
        ({"input": [[1, 2], [3]]}, "check_embedding_ctx_length=False"),
        ({"input": []}, "at least 1 item"),
        ({"input": 5}, "valid string"),
        ({"dimensions": 5}, "have 32 numbers"),
        ({"encoding_format": "hex"}, "'float' or 'base64'"),
        ({"model": "tiny"}, "is a model for chat, not for embeddings"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    http: httpx.Client, fields: dict[str, object], reason: str
):
    answer = http.post("/v1/embeddings", json={"model": "tiny-bert", "input": "x", **fields})
    assert answer.status_code == 400 and reason in answer.json()["error"]["message"]
