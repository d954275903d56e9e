"""The compiled kernel, built once into the user cache as the program itself does."""

import pytest

from llm_core.kernels.build import build_library
from llm_core.kernels.library import Library
from llm_core.settings import child_environment, load_settings


@pytest.fixture(scope="session")
def library() -> Library:
    return Library(build_library(load_settings().cache_dir, child_environment()))
