"""Fixtures of the benchmarks: the tiny model of the model core's tests."""

from tests.llm_core.conftest import tiny, tiny_folder

__all__ = ["tiny", "tiny_folder"]
