"""The application: OpenAI's routes, and a few of our own for models and the server's state.

Nothing is global: the models, the gate and the settings come from the caller, who also puts
the guard around the app that asks for tokens and counts requests.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from llm_core.server import errors
from llm_core.server.chat import ChatJob
from llm_core.server.completions import ChatCompletion
from llm_core.server.embeddings import EmbeddingsJob, VectorList
from llm_core.server.gate import Gate
from llm_core.server.logs import record_of
from llm_core.server.models import ModelCard, Models
from llm_core.server.schemas import AdapterRequest, ChatRequest, EmbeddingsRequest
from llm_core.server.stream import Events, Workshop

if TYPE_CHECKING:
    from llm_core.server.settings import ServerSettings

_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
}


class ModelList(BaseModel):
    """Every model on offer."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class State(BaseModel):
    """Whether the server lives, or can take requests."""

    status: str


def create_app(models: Models, gate: Gate, settings: "ServerSettings") -> FastAPI:
    """The application over these models; each request for a reply holds a slot of `gate`."""
    pool = ThreadPoolExecutor(gate.slots, thread_name_prefix="reply")
    app = FastAPI(
        title="Deerstalker",
        summary="Language models of this machine behind OpenAI's interface.",
        docs_url=None,
        redoc_url=None,
        responses={"4XX": {"model": errors.ErrorBody}, "5XX": {"model": errors.ErrorBody}},
    )
    errors.install(app)
    _add_work(app, models, Workshop(gate, pool, settings.timeout))
    _add_models(app, models)
    _add_state(app, models, gate)
    return app


def _add_work(app: FastAPI, models: Models, workshop: Workshop) -> None:
    @app.post(
        "/v1/chat/completions", response_model=ChatCompletion, responses=_EVENTS, tags=["chat"]
    )
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """Answer a conversation, with a text, calls of tools, or JSON under a schema."""
        # In a thread: to look through a large schema takes seconds.
        job = await run_in_threadpool(ChatJob, models, body, record_of(request.scope))
        if body.stream:
            return Events(workshop, job.chunks, job.cancel)
        made = await workshop.answer(request.scope, request.receive, job.whole, job.cancel)
        return JSONResponse(made.model_dump())

    @app.post("/v1/embeddings", response_model=VectorList, tags=["embeddings"])
    async def embeddings(request: Request, body: EmbeddingsRequest) -> Response:
        """Embed texts; what is beyond the model's window of tokens is left out."""
        job = EmbeddingsJob(models, body, record_of(request.scope))
        made = await workshop.answer(request.scope, request.receive, job.whole, job.cancel)
        return JSONResponse(made.model_dump())


def _add_models(app: FastAPI, models: Models) -> None:
    @app.get("/v1/models", tags=["models"])
    async def list_models() -> ModelList:
        """Every model and adapter on offer, loaded or not."""
        return ModelList(data=models.cards())

    @app.post("/v1/models/{model:path}/load", tags=["models"])
    async def load_model(model: str) -> ModelCard:
        """Load a model now rather than at its first request."""
        return await run_in_threadpool(models.load, model)

    @app.post("/v1/models/{model:path}/unload", tags=["models"])
    async def unload_model(model: str) -> ModelCard:
        """Let go of a model's memory; it is loaded again when it is next asked for."""
        return await run_in_threadpool(models.unload, model)

    @app.put("/v1/models/{model:path}/adapter", tags=["models"])
    async def use_adapter(model: str, body: AdapterRequest) -> ModelCard:
        """Have a model answer with an adapter from now on, or with none."""
        return await run_in_threadpool(models.use_adapter, model, body.adapter)

    @app.get("/v1/models/{model:path}", tags=["models"])
    async def get_model(model: str) -> ModelCard:
        """One model or adapter."""
        return models.card(model)


def _add_state(app: FastAPI, models: Models, gate: Gate) -> None:
    @app.get("/health", tags=["server"])
    async def health() -> State:
        """Whether the server lives."""
        return State(status="ok")

    @app.get("/ready", tags=["server"])
    async def ready() -> State:
        """Whether requests are taken: a model is loaded, and the server is not stopping."""
        if gate.draining:
            raise errors.NotReadyError("the server is shutting down")
        if not models.ready:
            raise errors.NotReadyError("no model is loaded yet")
        return State(status="ready")
