"""What the stages of a search are set to, as one readable object that JSON or YAML can spell.

    config = SearchConfig(fusion={"method": "ranks"}, diversity={"strength": 0.2})
    config = read_config(Path("search.yaml"))

A stage that is not named keeps its defaults, of which the shares are those that
`python -m graphs.fit_search` fitted; a weight, depth or strength of 0 turns a stage off.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrievers.bm25 import PHRASE
from retrievers.errors import RetrievalError
from retrievers.fitted import fitted_search
from retrievers.fusion import Normalisation
from retrievers.rerank.neighbours import SHARPNESS

_SHARE: Final = "share in the fusion"


class ConfigError(RetrievalError):
    """The settings of a search cannot be read; the message names the field and the mend."""


def _fitted(name: str) -> Callable[[], Any]:
    """What `python -m graphs.fit_search` chose for a setting, read when a stage is made."""
    return lambda: fitted_search()["choice"][name]


class Stage(BaseModel):
    """The settings of one stage; they never change, and an unknown one is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LexicalStage(Stage):
    """Passages ranked by the words they share with a query (BM25)."""

    weight: float = Field(default_factory=_fitted("lexical"), ge=0, description=_SHARE)
    candidates: int = Field(default=100, ge=1, description="best passages of each query")
    phrase: float = Field(default=PHRASE, ge=0, description="what neighbouring words add")


class DenseStage(Stage):
    """Passages ranked by the nearness of their vector to that of a query."""

    weight: float = Field(default=1.0, ge=0, description=_SHARE)
    candidates: int = Field(default=100, ge=1, description="best passages of each query")


class FusionStage(Stage):
    """The rankings of all queries joined into one, by their scores or by ranks alone.

    For "scores" every candidate gets the score of each full ranking, whichever ranking found it.
    """

    method: Literal["scores", "ranks"] = "scores"
    rank_constant: int = Field(default=5, ge=0, description="k of reciprocal rank fusion")
    normalisation: Normalisation = Field(
        default_factory=_fitted("normalisation"), description="of scores that are added"
    )


class SmoothingStage(Stage):
    """Candidates that are alike vouch for one another: see `retrievers.rerank.neighbours`."""

    share: float = Field(
        default_factory=_fitted("share"), ge=0, le=1, description="of the neighbours; 0 is off"
    )
    neighbours: int = Field(default_factory=_fitted("neighbours"), ge=1)
    sharpness: float = Field(default=SHARPNESS, ge=0)


class RerankStage(Stage):
    """The best candidates judged again by the rerankers the search is given."""

    depth: int = Field(default=10, ge=0, description="candidates judged again")
    weight: float = Field(
        default_factory=_fitted("late"), ge=0, description="of each reranker's score, beside 1"
    )
    normalisation: Normalisation = "minmax"


class DiversityStage(Stage):
    """No two passages that say the same: maximal marginal relevance."""

    strength: float = Field(default=0.1, ge=0, le=1, description="1 - lambda; 0 is off")
    candidates: int = Field(default=50, ge=1, description="best passages it chooses among")


class SearchConfig(Stage):
    """One sub-model a stage, in the order in which they run."""

    lexical: LexicalStage = Field(default_factory=LexicalStage)
    dense: DenseStage = Field(default_factory=DenseStage)
    fusion: FusionStage = Field(default_factory=FusionStage)
    smoothing: SmoothingStage = Field(default_factory=SmoothingStage)
    rerank: RerankStage = Field(default_factory=RerankStage)
    diversity: DiversityStage = Field(default_factory=DiversityStage)

    def read_in_part(self, share: float) -> Self:
        """What works by vectors after the fusion, as strong as they are read (`share`, 0 to 1)."""
        if share == 1:
            return self
        smoothing = {"share": share * self.smoothing.share}
        rerank = {"weight": share * self.rerank.weight}
        diversity = {"strength": share * self.diversity.strength}
        return self.model_copy(
            update={
                "smoothing": self.smoothing.model_copy(update=smoothing),
                "rerank": self.rerank.model_copy(update=rerank),
                "diversity": self.diversity.model_copy(update=diversity),
            }
        )


def read_config(path: Path) -> SearchConfig:
    """Read a JSON or YAML file of settings.

    Raises:
        ConfigError: there is no such file, it is neither JSON nor YAML, or a field is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the search settings {path}: {error}") from error
    return parse_config(_parsed(text, path), str(path))


def parse_config(value: Any, name: str = "the search settings") -> SearchConfig:
    """Settings from plain values, as JSON and YAML hold them.

    Raises:
        ConfigError: a field is unknown or its value is not usable.
    """
    try:
        return SearchConfig.model_validate(value if value is not None else {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ConfigError(f"{name}: {where}: {first['msg']}") from error


def _parsed(text: str, path: Path) -> Any:
    try:
        if path.suffix.lower() == ".json":
            return json.loads(text)
        import yaml  # type: ignore[import-untyped]  # PyYAML ships no types

        return yaml.safe_load(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())}") from (
            error
        )
