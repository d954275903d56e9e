"""Settings of the model side; the only file of this package that reads the environment."""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from platformdirs import user_cache_path
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from llm_core.errors import ModelError

Dtype = Literal["auto", "bfloat16", "float32"]
Kernel = Literal["auto", "off", "avx512", "avx2", "neon", "plain"]
Device = Literal["auto", "cpu", "cuda"]
PREFIX = "DEERSTALKER_"


class Settings(BaseSettings):
    """Where models live and how they run; each field can be set as DEERSTALKER_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    cache_dir: Path = Field(default_factory=lambda: user_cache_path("deerstalker", appauthor=False))
    threads: int | None = Field(default=None, ge=1, le=1024)
    dtype: Dtype = "auto"
    """auto: the kernel on the stored weights where it can run them, bfloat16 otherwise."""
    kernel: Kernel = "auto"
    """Which instructions the kernel uses; off leaves every model to torch."""
    device: Device = "auto"
    prefix_mb: int = Field(default=192, ge=0, le=1 << 20)
    """Most megabytes that the beginnings of earlier prompts may take in memory."""


Read = TypeVar("Read", bound=BaseSettings)


def load_settings() -> Settings:
    """Read the settings; a bad value raises `ModelError` with one line that names it."""
    return read_settings(Settings)


def read_settings(kind: type[Read], **given: Any) -> Read:
    """Read settings of one kind from the environment, `given` fields before it.

    Raises `ModelError` with one line that names the first bad value.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        reason = first["msg"].removeprefix("Value error, ")
        if not path:  # about several fields, which the reason names
            raise ModelError(reason) from None
        if path[0] in given:
            name = "--" + path[0].replace("_", "-") + " "
        else:
            name = kind.model_config.get("env_prefix", "") + "_".join(path).upper() + "="
        raise ModelError(f"{name}{first['input']!r} is not usable: {reason}") from None


def child_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment with `extra` on top, for a child process."""
    return {**os.environ, **extra}
