"""LangChain's own contract for chat models, on the real default model."""

from importlib import import_module
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
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "local:smollm2-135m"


class TestUnit(Settings, ChatModelUnitTests):
    """No model is loaded for these."""

    @pytest.fixture(autouse=True)
    def on_the_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the class on LangChain's list of what may be read again, with its partners.

        `load(..., allowed_objects="all")` reads these alone; others are named in the call.
        """
        load = import_module("langchain_core.load.load")  # the package has a function of this name
        path = (*LocalChatModel.get_lc_namespace(), LocalChatModel.__name__)
        monkeypatch.setitem(load.ALL_SERIALIZABLE_MAPPINGS, path, path)
        monkeypatch.setattr(load, "_default_class_paths_cache", {})

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        # The environment gives what all models share; the fields are the class's own.
        shared = {"DEERSTALKER_CACHE_DIR": "/nowhere"}
        return shared, self.chat_model_params, {"model": "smollm2-135m", "cache_dir": None}


@pytest.mark.model
class TestIntegration(Settings, ChatModelIntegrationTests):
    """The whole contract."""
