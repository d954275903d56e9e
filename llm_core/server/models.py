"""The models that a server offers by name: found, loaded, unloaded, and with which adapter."""

import gc
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel

from llm_core.errors import ModelError
from llm_core.server.errors import RequestError, UnknownModelError
from llm_core.settings import Settings, load_settings

if TYPE_CHECKING:
    from llm_core.embeddings import LocalEmbeddings
    from llm_core.reply import Replier

Kind = Literal["chat", "embeddings"]
T = TypeVar("T")


class AdapterOffer(NamedTuple):
    """A low-rank adapter that may be asked for by name: its folder, and the model it is for."""

    folder: Path
    base: str


@dataclass(frozen=True)
class Chat:
    """A loaded chat model, and the folder of the adapter that it answers with."""

    replier: "Replier"
    adapter: str | None


@dataclass(frozen=True)
class Embedder:
    """A loaded embedding model, and how many tokens texts have for it."""

    embeddings: "LocalEmbeddings"
    count: Callable[[Sequence[str]], int]


class ModelCard(BaseModel):
    """What clients are told of a model; `parent` and `adapter` name an adapter's place."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "deerstalker"
    kind: Kind
    loaded: bool
    parent: str | None = None
    adapter: str | None = None


@dataclass
class _Place:
    """One model: what it is made from, and what is in memory of it."""

    kind: Kind
    source: str
    adapter: str | None = None
    held: Any = None
    opening: threading.Lock = field(default_factory=threading.Lock)


class Models:
    """Names and what stands behind them; safe to use from several threads.

    `chat` and `embeddings` map public names to what `llm_core.loading.resolve` finds,
    `adapters` names that stand for a chat model with an adapter. A model is loaded when it is
    first asked for, and stays until it is unloaded; calls at work keep theirs to their end.
    `open_chat` and `open_embeddings` make a model of its source.
    """

    def __init__(
        self,
        chat: Mapping[str, str],
        embeddings: Mapping[str, str] | None = None,
        adapters: Mapping[str, AdapterOffer] | None = None,
        *,
        open_chat: "Callable[[str], Replier] | None" = None,
        open_embeddings: Callable[[str], Embedder] | None = None,
    ) -> None:
        self._places = {name: _Place("chat", source) for name, source in chat.items()}
        for name, source in (embeddings or {}).items():
            self._check_free(name)
            self._places[name] = _Place("embeddings", source)
        self._adapters = dict(adapters or {})
        for name, offer in self._adapters.items():
            self._check_free(name)
            if offer.base not in chat:
                raise ModelError(f"the adapter {name!r} is for {offer.base!r}, not offered here")
        self._open_chat = open_chat or open_replier
        self._open_embeddings = open_embeddings or open_embedder
        self._created = int(time.time())
        self._settling = threading.Lock()
        self.ready = False
        """Whether a model has been loaded."""

    def cards(self) -> list[ModelCard]:
        """Every name, adapters last."""
        return [self.card(name) for name in (*self._places, *self._adapters)]

    def card(self, name: str) -> ModelCard:
        """One name; raises UnknownModelError."""
        parent, place = self._find(name)
        using = name if name in self._adapters else place.adapter
        return ModelCard(
            id=name,
            created=self._created,
            kind=place.kind,
            loaded=place.held is not None,
            parent=parent if parent != name else None,
            adapter=using,
        )

    def require(self, name: str, kind: Kind) -> None:
        """Raise UnknownModelError or RequestError unless `name` is a model of this kind."""
        _, place = self._find(name)
        if place.kind != kind:
            raise RequestError(f"{name!r} is a model for {place.kind}, not for {kind}", "model")

    def chat(self, name: str) -> Chat:
        """A chat model, loaded now where it is not yet, with the adapter in use."""
        self.require(name, "chat")
        _, place = self._find(name)
        replier: Replier = self._loaded(place, self._open_chat)
        adapter = name if name in self._adapters else place.adapter
        folder = None if adapter is None else str(self._adapters[adapter].folder)
        return Chat(replier, folder)

    def embedder(self, name: str) -> Embedder:
        """An embedding model, loaded now where it is not yet."""
        self.require(name, "embeddings")
        return self._loaded(self._find(name)[1], self._open_embeddings)

    def load(self, name: str) -> ModelCard:
        """Load a model now."""
        _, place = self._find(name)
        if place.kind == "chat":
            self.chat(name)
        else:
            self.embedder(name)
        return self.card(name)

    def unload(self, name: str) -> ModelCard:
        """Let go of a model's memory; calls at work end with it first."""
        _, place = self._find(name)
        with place.opening:
            place.held = None
        gc.collect()  # an engine and its backend refer to each other
        return self.card(name)

    def use_adapter(self, name: str, adapter: str | None) -> ModelCard:
        """Have a chat model answer with an adapter from now on, None for without.

        Raises RequestError for an unknown adapter or another model's, ModelFileError for one
        that is damaged or does not fit.
        """
        self.require(name, "chat")
        parent, place = self._find(name)
        if parent != name:
            raise RequestError(f"{name!r} is itself an adapter of {parent!r}", "model")
        if adapter is not None:
            offer = self._adapters.get(adapter)
            if offer is None or offer.base != name:
                known = [key for key, value in self._adapters.items() if value.base == name]
                names = ", ".join(known) or "none"
                raise RequestError(
                    f"{name!r} has no adapter {adapter!r}; it has {names}", "adapter"
                )
            self.chat(name).replier.engine.adapter(offer.folder)
        with self._settling:
            place.adapter = adapter
        return self.card(name)

    def _find(self, name: str) -> tuple[str, _Place]:
        """The model behind a name, and that model's own name."""
        parent = self._adapters[name].base if name in self._adapters else name
        place = self._places.get(parent)
        if place is None:
            names = ", ".join((*self._places, *self._adapters))
            raise UnknownModelError(f"there is no model {name!r} here; there are: {names}")
        return parent, place

    def _loaded(self, place: _Place, make: Callable[[str], T]) -> T:
        held: T | None = place.held
        if held is None:
            with place.opening:
                held = place.held
                if held is None:
                    held = place.held = make(place.source)
            self.ready = True
        return held

    def _check_free(self, name: str) -> None:
        if name in self._places:
            raise ModelError(f"two models are named {name!r}; give one another name")


def open_replier(source: str, settings: Settings | None = None) -> "Replier":
    """Load a chat model, apart from those that other parts of the process hold."""
    from llm_core.engine import Engine
    from llm_core.loading import resolve
    from llm_core.reply import Replier

    settings = load_settings() if settings is None else settings
    return Replier(Engine(resolve(source, settings.cache_dir), settings=settings))


def open_embedder(source: str) -> Embedder:
    """Load an embedding model, ready to be used."""
    from tokenizers import Tokenizer

    from llm_core.embeddings import LocalEmbeddings
    from llm_core.loading import resolve

    embeddings = LocalEmbeddings(source)
    embeddings.embed_query("ready")
    tokenizer = Tokenizer.from_file(str(resolve(source, kind="embeddings") / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> int:
        return sum(len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts)))

    return Embedder(embeddings, count)
