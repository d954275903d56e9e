"""The one place that builds concrete parts and joins them: model, index, team, graph.

from graphs.wiring import open_research_graph
graph = open_research_graph(docs=["~/papers"])
result = graph.invoke({"question": "Where was the blue carbuncle hidden?"})["result"]
"""

import importlib.metadata
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from graphs.budget import CallMeter, Limits
from graphs.console import Console
from graphs.errors import UserError
from graphs.research import build_research_graph
from graphs.settings import load_settings, without_credentials

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langgraph.types import Checkpointer
    from pydantic import SecretStr

    from graphs.models import ModelChoice
    from graphs.nodes import Team
    from graphs.research import ResearchGraph
    from llm_core.settings import Settings as ModelSettings
    from retrievers.pipeline import Library

_VERSIONED = ("deerstalker", "langgraph", "langchain-core", "torch", "transformers")


@dataclass(frozen=True)
class ResearchOptions:
    """What a research run works with; `index` None means a folder named after the documents."""

    docs: tuple[Path, ...]
    index: Path | None = None
    model: str = "smollm2-135m"
    base_url: str | None = None
    embeddings: str = "minilm-l6"
    seed: int | None = None
    deterministic: bool = False
    explain: bool = False  # keep what every stage of each search did

    def as_json(self) -> dict[str, Any]:
        """These options as JSON values that mean the same in every working directory.

        They are kept on disk, so the address of a server is without its user and password.
        """
        address = self.base_url
        return {
            **asdict(self),
            "docs": [str(path.absolute()) for path in self.docs],
            "index": str(self.index.absolute()) if self.index is not None else None,
            "base_url": without_credentials(address) if address is not None else None,
        }

    def with_json(self, values: Mapping[str, Any]) -> "ResearchOptions":
        """These options with `values`, some of what `as_json` gave, in their place."""
        given = dict(values)
        if given.get("base_url") == self.as_json()["base_url"]:
            given.pop("base_url", None)  # the same server: ours may have its password
        if "docs" in given:
            given["docs"] = tuple(map(Path, given["docs"]))
        if given.get("index") is not None:
            given["index"] = Path(given["index"])
        return replace(self, **given)


@dataclass(frozen=True)
class Wired:
    """A team ready to work, and what identifies its parts."""

    team: "Team"
    manifest: Mapping[str, Any] = field(default_factory=dict)


class Wire(Protocol):
    """Builds a team from options; `wire_research` is the real one."""

    def __call__(
        self,
        options: ResearchOptions,
        *,
        console: Console | None,
        meter: CallMeter,
        cancel: threading.Event | None,
    ) -> Wired: ...


class DeferredTeam:
    """A team that is built when a step first needs it.

    So a graph can be drawn, and a stored run read, without loading a model.
    """

    def __init__(self, build: Callable[[], Wired]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._wired: Wired | None = None

    def wired(self) -> Wired:
        """Build the team now, once."""
        with self._lock:
            if self._wired is None:
                self._wired = self._build()
            return self._wired

    def manifest(self) -> Mapping[str, Any]:
        """What identifies the parts of the team."""
        return self.wired().manifest

    def as_team(self) -> "Team":
        """This object under the type of what it stands for."""
        return cast("Team", self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.wired().team, name)


def wire_research(
    options: ResearchOptions,
    *,
    console: Console | None = None,
    meter: CallMeter,
    cancel: threading.Event | None = None,
) -> Wired:
    """Find the model, bring the index up to date, and put the team together.

    Raises ModelError, RetrievalError or UserError with one line that names the mend.
    """
    from agents.prompts import prompt_hash
    from agents.team import ResearchTeam
    from graphs.models import build_chat_model
    from llm_core.embeddings import LocalEmbeddings
    from llm_core.settings import load_settings as load_model_settings
    from retrievers.pipeline import default_rerankers
    from retrievers.token_vectors import TokenEncoder

    settings, places = load_settings(), load_model_settings()
    docs = _existing(options.docs)
    choice = _model_choice(options, places.cache_dir, settings.openai_api_key)
    model, model_identity = build_chat_model(choice, meter=meter, cancel=cancel)
    embeddings = LocalEmbeddings(
        options.embeddings,
        cache_dir=places.cache_dir,
        threads=_threads(options, places),
        deterministic=options.deterministic,
    )
    identities = {"model": model_identity, "embeddings": embeddings.model_hash}
    index = options.index if options.index is not None else settings.index_dir(docs)
    served = settings.vectors.get_secret_value() if settings.vectors is not None else None
    library = _open_library(index, docs, embeddings, console, served)
    held = library.manifest()
    manifest = {
        **identities,
        **{name: held[name] for name in ("index", "documents", "passages")},
        "prompts": prompt_hash(),
        "versions": versions(),
        **_conditions(options, choice, places, console),
    }
    encoder = TokenEncoder(embeddings)
    library.retriever.rerankers = default_rerankers(
        embeddings, library.retriever.lexical, encoder=encoder
    )
    team = ResearchTeam(model, library, embeddings, explain=options.explain, encoder=encoder)
    return Wired(team, manifest)


def _threads(options: ResearchOptions, places: "ModelSettings") -> int | None:
    """Threads of embeddings and model; None is torch's own choice, which no other machine shares.

    One from the start where answers must repeat themselves, as the model takes one then.
    """
    return places.threads or (1 if options.deterministic else None)


def _conditions(
    options: ResearchOptions,
    choice: "ModelChoice",
    places: "ModelSettings",
    console: Console | None,
) -> dict[str, Any]:
    """What else an answer depends on, for its manifest; says so where a switch does nothing."""
    import torch

    from graphs.models import is_ours

    ours = is_ours(choice)
    if options.deterministic and not ours and console is not None:
        console.say(f"--deterministic has no effect on {choice.name}: its replies may vary")
    return {
        "seed": options.seed,
        "deterministic": options.deterministic and ours,
        "dtype": places.dtype if ours else None,
        "threads": _threads(options, places) or torch.get_num_threads(),
    }


def _model_choice(
    options: ResearchOptions, cache_dir: Path, api_key: "SecretStr | None"
) -> "ModelChoice":
    from graphs.models import ModelChoice

    return ModelChoice(
        name=options.model,
        base_url=options.base_url,
        seed=options.seed,
        deterministic=options.deterministic,
        cache_dir=cache_dir,
        api_key=api_key,
    )


def _open_library(
    index: Path,
    docs: Sequence[Path],
    embeddings: "Embeddings",
    console: Console | None,
    served: str | None,
) -> "Library":
    """Bring the index up to date, showing it where there is somebody to see it."""
    from retrievers.pipeline import open_library

    if console is None:
        return open_library(index, docs, embeddings, served=served)
    with console.indexing() as progress:
        library = open_library(index, docs, embeddings, progress, served)
    if library.report is not None:
        console.indexed(library.report)
    return library


def open_research_graph(
    docs: Sequence[str | Path] = (),
    *,
    index: str | Path | None = None,
    model: str | None = None,
    base_url: str | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    checkpointer: "Checkpointer" = None,
    limits: Limits | None = None,
    wire: Wire = wire_research,
) -> "ResearchGraph":
    """A research graph over `docs` (the samples where none are named), as a LangChain Runnable.

    Models and index are opened by the first question. `{"question": ...}` goes in, `{"result":
    ResearchResult}` comes out; give a checkpointer and a thread id to keep runs.
    """
    settings = load_settings()
    options = ResearchOptions(
        docs=settings.documents([Path(path).expanduser() for path in docs]),
        index=Path(index).expanduser() if index is not None else None,
        model=model or settings.model,
        base_url=base_url or settings.base_url,
        embeddings=settings.embeddings,
        seed=seed,
        deterministic=deterministic,
    )
    meter = CallMeter()
    team = DeferredTeam(lambda: wire(options, console=None, meter=meter, cancel=None))
    return build_research_graph(
        team.as_team(),
        checkpointer,
        limits=limits or settings.limits(deterministic=deterministic),
        manifest=team.manifest,
        meter=meter,
    )


def versions() -> dict[str, str]:
    """Versions that an answer depends on."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _existing(docs: Sequence[Path]) -> list[Path]:
    if not docs:
        raise UserError("no documents: name a folder or file with --docs PATH")
    for path in docs:
        if not path.exists():
            raise UserError(f"there is no file or folder {path}: mend the path given to --docs")
    return list(docs)
