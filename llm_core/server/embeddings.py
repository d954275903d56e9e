"""`/v1/embeddings`: the vectors of texts."""

import base64
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from llm_core.server.errors import RequestError
from llm_core.server.logs import Record
from llm_core.server.models import Models
from llm_core.server.schemas import EmbeddingsRequest

# Between two looks at whether the client is still there:
_TEXTS = 32
_CHARACTERS = 8000


class EmbeddingsUsage(BaseModel):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class Vector(BaseModel):
    """The vector of one text: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class VectorList(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Vector]
    model: str
    usage: EmbeddingsUsage


class EmbeddingsJob:
    """One request for vectors; `cancel` ends it within 32 texts, or 8,000 characters of them."""

    def __init__(self, models: Models, request: EmbeddingsRequest, record: Record) -> None:
        models.require(request.model, "embeddings")
        self.cancel = threading.Event()
        self._record = record
        self._models = models
        self._request = request

    def whole(self) -> VectorList:
        """Embed the texts; raises RequestError where another length of vector is asked for."""
        request = self._request
        held = self._models.embedder(request.model)
        embedder = held.embeddings
        if request.dimensions not in (None, embedder.dimension):
            raise RequestError(
                f"the vectors of {request.model!r} have {embedder.dimension} numbers", "dimensions"
            )
        texts = [request.input] if isinstance(request.input, str) else request.input
        data: list[Vector] = []
        tokens = 0
        for part in _parts(texts):
            if self.cancel.is_set():
                break
            tokens += held.count(part)
            data += [
                Vector(index=number, embedding=_written(row, request.encoding_format))
                for number, row in enumerate(embedder.embed_array(part), len(data))
            ]
        self._record.finished(request.model, tokens, 0)
        usage = EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens)
        return VectorList(data=data, model=request.model, usage=usage)


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in runs that are soon done; one that is too long alone is a run of its own."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and (len(part) == _TEXTS or size + len(text) > _CHARACTERS):
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    yield part


def _written(row: Any, form: str | None) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
    return [float(x) for x in np.asarray(row)]
