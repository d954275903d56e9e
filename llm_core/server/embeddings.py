"""`/v1/embeddings`: the vectors of texts."""

import base64
import threading
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from llm_core.server.errors import RequestError
from llm_core.server.logs import Record
from llm_core.server.models import Models
from llm_core.server.schemas import EmbeddingsRequest

_TOGETHER = 32  # texts between two looks at whether the client is still there


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
    """One request for vectors; `cancel` ends it within 32 texts."""

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
        for at in range(0, len(texts), _TOGETHER):
            if self.cancel.is_set():
                break
            rows = embedder.embed_array(texts[at : at + _TOGETHER])
            data += [
                Vector(index=at + number, embedding=_written(row, request.encoding_format))
                for number, row in enumerate(rows)
            ]
        tokens = held.count(texts)
        self._record.finished(request.model, tokens, 0)
        usage = EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens)
        return VectorList(data=data, model=request.model, usage=usage)


def _written(row: Any, form: str | None) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
    return [float(x) for x in np.asarray(row)]
