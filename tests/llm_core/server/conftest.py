"""One server over the tiny random model for the whole session, and clients of it."""

from collections.abc import Iterator

import httpx
import openai
import pytest
from fastapi import FastAPI

from llm_core.engine import Engine
from llm_core.reply import Replier
from llm_core.server.app import create_app
from llm_core.server.gate import Gate
from llm_core.server.models import AdapterOffer, Models
from llm_core.server.settings import ServerSettings
from tests.llm_core.server.live import serving
from tests.llm_core.tiny import build_adapter, build_tiny
from tests.tiny_models import write_bert


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = build_tiny(tmp_path_factory.mktemp("wide"), window=2048)
    tiny = Engine(folder, threads=1)
    adapter = build_adapter(tmp_path_factory.mktemp("served"))
    offers = {"tiny-writer": AdapterOffer(adapter, "tiny")}
    bert = write_bert(tmp_path_factory.mktemp("bert"))
    found = Models(
        {"tiny": "tiny"},
        {"tiny-bert": str(bert)},
        offers,
        open_chat=lambda _: Replier(tiny),
    )
    found.load("tiny")
    return found


@pytest.fixture(scope="session")
def app(models: Models) -> FastAPI:
    return create_app(models, Gate(slots=2, queue=64), ServerSettings())


@pytest.fixture(scope="session")
def address(app: FastAPI) -> Iterator[str]:
    with serving(app) as url:
        yield url


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client
