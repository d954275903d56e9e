"""Fixtures of the model core: one tiny random model for the whole session."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.llm_core.tiny import build_tiny

if TYPE_CHECKING:
    from llm_core.engine import Engine


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> "Engine":
    from llm_core.engine import Engine

    return Engine(tiny_folder, threads=1)
