"""LangChain's own contract for chat models, on the real default model."""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from llm_core.chat_model import LocalChatModel


class Settings:
    """What LocalChatModel claims to do."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LocalChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "smollm2-135m"}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0.0, "max_tokens": 40, "stop": [], "seed": 1}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "local:smollm2-135m"


class TestUnit(Settings, ChatModelUnitTests):
    """No model is loaded for these."""

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        # The cache folder is the one setting that the environment can give through this class.
        return {}, self.chat_model_params, {"model": "smollm2-135m", "max_tokens": 256}


@pytest.mark.model
class TestIntegration(Settings, ChatModelIntegrationTests):
    """The whole contract."""
