"""What the server is told: from the command line, DEERSTALKER_SERVER_* and a file of tokens."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llm_core.errors import ModelError
from llm_core.settings import PREFIX, read_settings

SHORTEST_TOKEN = 16  # characters
_WEEK = 7 * 86400.0  # seconds
Tokens = Annotated[tuple[SecretStr, ...], NoDecode]


class ServerSettings(BaseSettings):
    """Where the server listens, whom it serves, and how much; each can be DEERSTALKER_SERVER_*."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}SERVER_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0: any free one."""
    tokens: Tokens = ()
    """Bearer tokens, any of which opens the server; none: no token is asked for."""
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Requests a second that each token (without tokens: each address) may make in the long run."""
    burst: int = Field(default=20, ge=1)
    """Requests that may come at once before `rate` counts."""
    max_body: int = Field(default=4 << 20, ge=1024)
    """Most bytes of a request."""
    slots: int = Field(default=4, ge=1, le=256)
    """Requests that are worked on at once."""
    queue: int = Field(default=64, ge=0)
    """Requests that may wait for a slot; more are told to come back."""
    timeout: float = Field(default=600.0, gt=0, le=_WEEK)
    """Most seconds that a request may take, its wait in the queue included."""
    drain_s: float = Field(default=30.0, ge=0, le=_WEEK)
    """Seconds that the requests in work are given when the server is stopped."""

    @field_validator("tokens", mode="before")
    @classmethod
    def _split(cls, given: Any) -> Any:
        return tuple(given.replace(",", " ").split()) if isinstance(given, str) else given

    @model_validator(mode="after")  # an error about the field itself would show the token
    def _long_enough(self) -> Self:
        for number, token in enumerate(self.tokens, 1):
            text = token.get_secret_value()
            if len(text) < SHORTEST_TOKEN or not text.isascii() or not text.isprintable():
                raise ValueError(
                    f"token {number} of the server must have {SHORTEST_TOKEN} or more plain "
                    "characters, as `openssl rand -hex 24` makes them"
                )
        return self

    @model_validator(mode="after")
    def _reachable_only_with_a_token(self) -> Self:
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(
                f"other machines can reach {self.host}: give a token (--tokens-file or "
                f"{PREFIX}SERVER_TOKENS), or keep to 127.0.0.1"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def load_server_settings(tokens_file: Path | None = None, **given: object) -> ServerSettings:
    """The settings from the environment, `given` fields that are not None before it.

    `tokens_file` holds one token a line; lines that begin with # are left out. Raises
    ModelError, with one line, for what cannot be used.
    """
    values = {name: value for name, value in given.items() if value is not None}
    if tokens_file is not None:
        values["tokens"] = read_tokens(tokens_file)
    return read_settings(ServerSettings, **values)


def read_tokens(file: Path) -> tuple[str, ...]:
    """The tokens of a file; raises ModelError where it cannot be read or holds none."""
    try:
        lines = file.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the tokens in {file}: {error}") from None
    tokens = tuple(text for line in lines if (text := line.strip()) and not text.startswith("#"))
    if not tokens:
        raise ModelError(f"{file} holds no token: write one a line")
    return tokens
