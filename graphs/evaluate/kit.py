"""The parts that the measured systems are built from; `real_kit` gives the real ones."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from graphs.budget import CallMeter
from graphs.evaluate.plan import Plan
from graphs.evaluate.systems import ChainSystem, QuotingSystem, ResearchSystem, System
from graphs.settings import load_settings
from graphs.wiring import ResearchOptions, Wire

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

    from graphs.console import Progress


class OpenEmbeddings(Protocol):
    """Gives the embedding model of a plan."""

    def __call__(self, options: ResearchOptions) -> "Embeddings": ...


class OpenModel(Protocol):
    """Gives the chat model of a plan and its identity."""

    def __call__(
        self, options: ResearchOptions, *, cancel: threading.Event
    ) -> "tuple[BaseChatModel, str]": ...


@dataclass(frozen=True)
class Kit:
    """How to build a team, an embedding model and a chat model."""

    wire: Wire
    open_embeddings: OpenEmbeddings
    open_model: OpenModel


def real_kit() -> Kit:
    """The parts that a research run uses."""
    from graphs.wiring import wire_research

    return Kit(wire_research, _open_embeddings, _open_model)


def options_of(plan: Plan) -> ResearchOptions:
    """What the parts are opened with."""
    docs = plan.documents()
    return ResearchOptions(
        docs=docs,
        index=plan.index() or load_settings().index_dir(docs),
        model=plan.model,
        base_url=plan.base_url,
        embeddings=plan.embeddings,
        seed=plan.seed,
    )


def build_index(plan: Plan, kit: Kit, progress: "Progress") -> None:
    """Bring the index of the corpus up to date, so that no measured question waits for it."""
    from retrievers.pipeline import open_library

    options = options_of(plan)
    open_library(_index(options), options.docs, kit.open_embeddings(options), progress).close()


def build_system(
    name: str, plan: Plan, kit: Kit, cancel: threading.Event
) -> tuple[System, Mapping[str, Any]]:
    """The system `name` (ours, quoting, baseline) over the plan's corpus, and its manifest."""
    if name == "ours":
        return _ours(plan, kit, cancel)
    from graphs.wiring import versions
    from retrievers.pipeline import open_library

    options = options_of(plan)
    embeddings = kit.open_embeddings(options)
    library = open_library(_index(options), options.docs, embeddings)
    manifest = {**library.manifest(), "versions": versions(), "seed": plan.seed}
    if name == "quoting":
        return QuotingSystem(library, embeddings), manifest
    model, identity = kit.open_model(options, cancel=cancel)
    return ChainSystem(library, embeddings, model), {**manifest, "model": identity}


def _index(options: ResearchOptions) -> Path:
    if options.index is None:
        raise AssertionError("options_of names the index")
    return options.index


def _ours(plan: Plan, kit: Kit, cancel: threading.Event) -> tuple[System, Mapping[str, Any]]:
    from graphs.research import build_research_graph
    from retrievers.corpus import Corpus

    options, meter = options_of(plan), CallMeter()
    wired = kit.wire(options, console=None, meter=meter, cancel=cancel)
    graph = build_research_graph(
        wired.team,
        limits=load_settings().limits(),
        manifest=lambda: wired.manifest,
        meter=meter,
        cancel=cancel,
    )
    corpus = Corpus(_index(options))
    return ResearchSystem(graph, corpus.get, plan.seed), wired.manifest


def _open_embeddings(options: ResearchOptions) -> "Embeddings":
    from llm_core.embeddings import LocalEmbeddings
    from llm_core.settings import load_settings as load_model_settings

    places = load_model_settings()
    return LocalEmbeddings(options.embeddings, cache_dir=places.cache_dir, threads=places.threads)


def _open_model(
    options: ResearchOptions, *, cancel: threading.Event
) -> "tuple[BaseChatModel, str]":
    from graphs.models import ModelChoice, build_chat_model
    from llm_core.settings import load_settings as load_model_settings

    choice = ModelChoice(
        name=options.model,
        base_url=options.base_url,
        seed=options.seed,
        cache_dir=load_model_settings().cache_dir,
        api_key=load_settings().openai_api_key,
    )
    return build_chat_model(choice, meter=CallMeter(), cancel=cancel)
