"""Our chat model as one run uses it: it counts its calls and stops when the run is stopped."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr

from graphs.budget import CallMeter
from llm_core.chat_model import LocalChatModel


class RunChatModel(LocalChatModel):
    """`LocalChatModel` tied to the meter and the stop event of a run.

    Replies are counted by the callback that every model gets; scoring has no callbacks, so it
    is counted here.
    """

    _meter: CallMeter = PrivateAttr(default_factory=CallMeter)
    _cancel: threading.Event | None = PrivateAttr(default=None)

    def tie(self, meter: CallMeter, cancel: threading.Event | None) -> "RunChatModel":
        """Use this meter and this stop event from now on."""
        self._meter, self._cancel = meter, cancel
        return self

    def score(
        self, prompt: LanguageModelInput, continuations: Sequence[str], **kwargs: Any
    ) -> list[float]:
        return super().score(prompt, continuations, **self._counted(kwargs))

    def score_prompts(
        self, prompts: Sequence[LanguageModelInput], continuation: str, **kwargs: Any
    ) -> list[float]:
        return super().score_prompts(prompts, continuation, **self._counted(kwargs))

    def extract(
        self,
        prompt: LanguageModelInput,
        text: str,
        prefix: str = "",
        max_tokens: int = 24,
        **kwargs: Any,
    ) -> str:
        return super().extract(prompt, text, prefix, max_tokens, **self._counted(kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        return super()._stream(messages, stop, run_manager, **self._stoppable(kwargs))

    def _counted(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        self._meter.add()
        return self._stoppable(kwargs)

    def _stoppable(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        if self._cancel is None or kwargs.get("cancel") is not None:
            return kwargs
        return {**kwargs, "cancel": self._cancel}
