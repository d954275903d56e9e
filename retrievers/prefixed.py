"""Embedding models that want "query: " or "passage: " written before a text.

    embeddings = PrefixedEmbeddings.of(HuggingFaceEmbeddings(model_name="intfloat/e5-base-v2"))

Forgetting such a prefix costs several points of recall, silently. It is read from the model's own
folder, or known by the name of its family.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from retrievers.errors import RetrievalError

CONFIG: Final = "config_sentence_transformers.json"
_REPRESENT: Final = "Represent this sentence for searching relevant passages: "


class Prefixes(NamedTuple):
    """What stands before a query and before a passage."""

    query: str = ""
    document: str = ""


# By the name of the family, as the model cards have it; the first that fits.
_FAMILIES: Final = (
    (
        r"e5-.*-instruct",
        Prefixes(
            "Instruct: Given a web search query, retrieve relevant passages that answer the query"
            "\nQuery: "
        ),
    ),
    (r"(^|[/_-])(multilingual-)?e5-", Prefixes("query: ", "passage: ")),
    (r"bge-m3", Prefixes()),
    (r"bge-(small|base|large)-zh", Prefixes("为这个句子生成表示以用于检索相关文章：")),
    (r"bge-(small|base|large)-en", Prefixes(_REPRESENT)),
    (r"nomic-embed-text", Prefixes("search_query: ", "search_document: ")),
    (r"mxbai-embed-(large|2d)|snowflake-arctic-embed-(xs|s|m|l)(-v1\.5)?$", Prefixes(_REPRESENT)),
    (r"snowflake-arctic-embed-.*v2", Prefixes("query: ")),
    (r"embeddinggemma", Prefixes("task: search result | query: ", "title: none | text: ")),
)
_QUERY_PROMPTS: Final = (
    "query",
    "retrieval_query",
    "search_query",
    "s2p_query",
    "web_search_query",
)
_DOCUMENT_PROMPTS: Final = (
    "document",
    "passage",
    "corpus",
    "retrieval_document",
    "search_document",
)


class PrefixedEmbeddings(BaseModel, Embeddings):
    """Any LangChain embeddings with a text of its own before each query and each passage."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    embeddings: Embeddings = Field(repr=False)
    query_prefix: str = ""
    document_prefix: str = ""

    @classmethod
    def of(cls, embeddings: Embeddings, model: str | Path | None = None) -> Self:
        """Prefixes by the convention of `model`: a folder, or a name; none are known for most.

        Without `model` it is what the embeddings call `model_name` or `model`.

        Raises:
            RetrievalError: the configuration in that folder cannot be read.
        """
        named = model or getattr(embeddings, "model_name", None) or getattr(embeddings, "model", "")
        found = prefixes_of(named if isinstance(named, str | Path) else "")
        return cls(embeddings=embeddings, query_prefix=found.query, document_prefix=found.document)

    @property
    def model_hash(self) -> str:
        """What tells these vectors from those of the model with other prefixes."""
        from retrievers.dense import embedding_name

        name = embedding_name(self.embeddings)
        if not self.query_prefix and not self.document_prefix:
            return name
        told = json.dumps([name, self.query_prefix, self.document_prefix])
        return hashlib.sha256(told.encode()).hexdigest()

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embeddings.embed_documents([self.document_prefix + text for text in texts])

    @override
    def embed_query(self, text: str) -> list[float]:
        return self.embeddings.embed_query(self.query_prefix + text)

    @override
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        prefixed = [self.document_prefix + text for text in texts]
        return await self.embeddings.aembed_documents(prefixed)

    @override
    async def aembed_query(self, text: str) -> list[float]:
        return await self.embeddings.aembed_query(self.query_prefix + text)


def prefixes_of(model: str | Path) -> Prefixes:
    """The prefixes of a model folder (its own prompts first) or of a model by its name.

    Prompts are those that sentence-transformers keeps in `config_sentence_transformers.json`.

    Raises:
        RetrievalError: the configuration cannot be read.
    """
    place = Path(model) / CONFIG if str(model) else None
    prompts = _prompts(place) if place is not None and place.is_file() else {}
    query = _first(prompts, _QUERY_PROMPTS)
    document = _first(prompts, _DOCUMENT_PROMPTS)
    if query or document:
        return Prefixes(query, document)
    name = str(model).lower().replace("\\", "/").rstrip("/")
    return next((found for family, found in _FAMILIES if re.search(family, name)), Prefixes())


def _prompts(place: Path) -> dict[str, Any]:
    try:
        prompts = json.loads(place.read_text(encoding="utf-8")).get("prompts") or {}
    except (OSError, ValueError, AttributeError) as error:
        raise RetrievalError(f"cannot read {place} ({error}): copy the model again") from error
    if not isinstance(prompts, dict):
        raise RetrievalError(f"{place} has no table under 'prompts': copy the model again")
    return prompts


def _first(prompts: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((str(prompts[name]) for name in names if prompts.get(name)), "")
