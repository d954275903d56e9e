"""Settings of the graphs and their commands: the only reader of the environment here.

Every field can be set as DEERSTALKER_<FIELD>; command switches win over it.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from graphs.budget import Limits
from graphs.errors import UserError

_PREFIX = "DEERSTALKER_"
HUGGING_FACE = "hf:"  # what the name of a model of the Hugging Face hub begins with

# Switches of the libraries below us, set before they are imported. A run sends nothing anywhere.
_PROCESS = {
    "LANGGRAPH_STRICT_MSGPACK": "true",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

# OpenMP threads that spin while they wait starve one another on a busy machine: reading a prompt
# of 300 tokens on two cores beside two busy processes took 16.5 s, with these settings 1.7 s.
_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}


class Settings(BaseSettings):
    """Defaults of a research run; `max_*` are its budgets."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("deerstalker", appauthor=False)
    )
    state: Path | None = None
    docs: Annotated[tuple[Path, ...], NoDecode] = ()
    model: str = "smollm2-135m"
    embeddings: str = "minilm-l6"
    base_url: str | None = None
    # Address of an engine for the vectors of indexes; it may hold a password.
    vectors: SecretStr | None = None
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    max_rounds: int = Field(default=2, ge=1)
    max_seconds: float | None = Field(default=600.0, gt=0)
    max_model_calls: int | None = Field(default=400, ge=1)
    max_steps: int = Field(default=60, ge=12)

    @field_validator("docs", mode="before")
    @classmethod
    def _split_docs(cls, value: object) -> object:
        """Several paths in one variable are separated as in PATH."""
        if isinstance(value, str):
            return tuple(Path(part).expanduser() for part in value.split(os.pathsep) if part)
        return value

    def documents(self, given: Sequence[Path] = ()) -> tuple[Path, ...]:
        """The paths given, else those of DEERSTALKER_DOCS, else the samples beside the source."""
        return tuple(given) or self.docs or tuple(sample_documents())

    def state_file(self) -> Path:
        """The SQLite file that keeps the runs."""
        return self.state if self.state is not None else self.data_dir / "state.sqlite"

    def limits(self, *, deterministic: bool = False) -> Limits:
        """The budgets of a run; a clock may not decide what a repeatable run does."""
        return Limits(
            rounds=self.max_rounds,
            seconds=None if deterministic else self.max_seconds,
            model_calls=self.max_model_calls,
            steps=self.max_steps,
        )

    def index_dir(self, docs: Sequence[Path]) -> Path:
        """The default index folder of these documents, the same for the same paths."""
        names = "\n".join(sorted(str(path.resolve()) for path in docs))
        return self.data_dir / "index" / hashlib.sha256(names.encode()).hexdigest()[:16]


def load_settings() -> Settings:
    """Read the settings; a bad value raises `UserError` with one line that names it."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = _PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise UserError(f"{name}={first['input']!r} is not usable: {first['msg']}") from None


def sample_documents() -> list[Path]:
    """The documents shipped beside the source tree; empty where only the packages are installed."""
    folder = Path(__file__).resolve().parents[1] / "samples"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix != ".md" and path.is_file())


def telemetry_off() -> dict[str, str]:
    """The switches, for whoever starts a process in another way."""
    return dict(_PROCESS)


def child_environment() -> dict[str, str]:
    """This process's environment with telemetry switched off, for a child process."""
    return {**os.environ, **_PROCESS}


def without_credentials(text: str) -> str:
    """An address, or a text that holds some, without the user:password@ of each."""
    return re.sub(r"(^|//)[^/\s]*@", r"\1", text)


def names_hub(model: str) -> bool:
    """Whether a model name may need the Hugging Face hub: hf:NAME, unless NAME is a folder."""
    name = model.removeprefix(HUGGING_FACE)
    return name != model and not Path(name).expanduser().is_dir()


def settle_process(*, hub: bool = False) -> None:
    """Switch telemetry off and strict checkpoints on, for this process and its children.

    `hub` leaves the Hugging Face hub reachable, for a person who names a model of it.
    """
    os.environ.update(_PROCESS)
    for name, value in _THREADS.items():
        os.environ.setdefault(name, value)
    if not hub:
        os.environ["HF_HUB_OFFLINE"] = "1"
