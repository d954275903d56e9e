"""Fixtures of the model core: one tiny random model for the whole session."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.llm_core.tiny import build_adapter, build_tiny

if TYPE_CHECKING:
    from llm_core.engine import Engine


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> "Engine":
    from llm_core.engine import Engine

    return Engine(tiny_folder, threads=1)


@pytest.fixture(scope="session")
def kernel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with weights that the kernel runs; skipped where nothing can compile it."""
    from llm_core.convert import quantise_model
    from llm_core.kernels.build import KernelUnavailableError, build_library
    from llm_core.settings import child_environment, load_settings

    try:
        build_library(load_settings().cache_dir, child_environment())
    except KernelUnavailableError as err:
        pytest.skip(f"the kernel cannot be built here: {err}")
    folder = tmp_path_factory.mktemp("kernel")
    quantise_model(build_tiny(folder, hidden=128), folder / "quantised", "Q4_1")
    return folder / "quantised"


@pytest.fixture(scope="session")
def kernel_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter for the model of `kernel_folder`."""
    return build_adapter(tmp_path_factory.mktemp("adapter"), hidden=128)
