"""From what the command line names to the models that a server offers."""

import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_core.catalogue import CHAT, EMBEDDINGS
from llm_core.errors import ModelError, ModelFileError, ModelNotFoundError
from llm_core.loading import LOCAL, resolve
from llm_core.server.metrics import Metrics
from llm_core.server.models import AdapterOffer, Models, open_replier
from llm_core.settings import Settings

if TYPE_CHECKING:
    from llm_core.engine import Engine
    from llm_core.reply import Replier

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)")


@dataclass(frozen=True)
class Wishes:
    """Chat models, embedding models and adapters of the first chat model, as [NAME=]PLACE.

    No chat models, and None for embeddings, stand for the default ones; a default embedding
    model that is not on this machine is left out.
    """

    chat: Sequence[str] = ()
    embeddings: Sequence[str] | None = None
    adapters: Sequence[str] = ()


def offer(wishes: Wishes, settings: Settings, metrics: Metrics) -> Models:
    """The models, each under its name; the memory of prompts of each shows in `metrics`.

    Raises ModelNotFoundError and ModelFileError for what is not on this machine, ModelError
    for two of one name.
    """
    chat = _by_name(wishes.chat or [CHAT])
    embeddings = _by_name(_embeddings(wishes, settings))
    for source in chat.values():
        resolve(source, settings.cache_dir)
    for source in embeddings.values():
        resolve(source, settings.cache_dir, "embeddings")
    first = next(iter(chat))
    adapters = {
        name: AdapterOffer(_folder(place), first)
        for name, place in _by_name(wishes.adapters).items()
    }
    opened: dict[str, weakref.ref[Engine]] = {}

    def open_chat(source: str) -> "Replier":
        made = open_replier(source, settings)
        opened[source] = weakref.ref(made.engine)
        return made

    _show_prefixes(metrics, chat, opened)
    return Models(chat, embeddings, adapters, open_chat=open_chat)


def prepare(models: Models) -> None:
    """Load the first chat model, and read the adapters of it once; the rest waits to be asked."""
    cards = models.cards()
    first = next(card.id for card in cards if card.kind == "chat")
    models.load(first)
    for card in cards:
        if card.parent == first:
            found = models.chat(card.id)
            found.replier.engine.adapter(found.adapter)


def named(given: str) -> tuple[str, str]:
    """The name and the place of [NAME=]PLACE; without a name, the last part of the place."""
    if fits := _NAMED.fullmatch(given):
        return fits[1], fits[2]
    short = given.removeprefix(LOCAL)
    path = Path(short).expanduser()
    if path.suffix.lower() == ".gguf":
        return path.stem, given
    return (path.resolve().name if path.is_dir() else short), given


def _by_name(given: Sequence[str]) -> dict[str, str]:
    """The places by name; raises ModelError for two of one name."""
    places: dict[str, str] = {}
    for name, place in map(named, given):
        if name in places:
            raise ModelError(f"two are named {name!r}; give one another name: OTHER={place}")
        places[name] = place
    return places


def _embeddings(wishes: Wishes, settings: Settings) -> Sequence[str]:
    if wishes.embeddings is not None:
        return wishes.embeddings
    try:
        resolve(EMBEDDINGS, settings.cache_dir, "embeddings")
    except ModelNotFoundError:
        return ()
    return (EMBEDDINGS,)


def _folder(place: str) -> Path:
    path = Path(place).expanduser()
    if not (path / "adapter_config.json").is_file():
        raise ModelFileError(f"{path} is no adapter: give a folder with an adapter_config.json")
    return path.resolve()


def _show_prefixes(
    metrics: Metrics, chat: dict[str, str], opened: "dict[str, weakref.ref[Engine]]"
) -> None:
    """Show what the memory of earlier prompts is good for, of the models in memory."""

    def counts(field: str) -> dict[str, float]:
        engines = {name: opened[place]() for name, place in chat.items() if place in opened}
        return {
            name: getattr(engine.prefix_use, field)
            for name, engine in engines.items()
            if engine is not None
        }

    asked = "Tokens of prompts that were looked up among earlier prompts."
    metrics.counters("deerstalker_prefix_tokens", asked, lambda: counts("asked"))
    found = "Tokens of prompts that had been computed for an earlier prompt."
    metrics.counters("deerstalker_prefix_tokens_found", found, lambda: counts("found"))
