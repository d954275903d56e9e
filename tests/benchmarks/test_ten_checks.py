"""The ten checks can fail: a model that drops what it is given fails every one."""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from benchmarks.ten_checks import CHECKS, Subject, compare, outcome, table


class Prose(BaseChatModel):
    """Says the prompt again and the same sentence, whatever is asked."""

    @property
    def _llm_type(self) -> str:
        return "prose"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        text = f"<|im_start|>{messages[-1].content} I am quite sure that I do not know of any."
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError("async generation is not there")


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize("check", CHECKS.values(), ids=list(CHECKS))
def test_a_model_that_ignores_everything_fails(check):
    assert outcome(check, Subject("prose", Prose(), words)).startswith("fails: ")


def test_the_table_counts_what_passes():
    found = compare([Subject("one", Prose(), words), Subject("two", Prose(), words)])
    assert list(found) == list(CHECKS)
    found["ainvoke"]["one"] = "passes"
    lines = table(found).splitlines()
    assert lines[0] == "| check | one | two |"
    assert lines[-1] == "| passed | 1 of 10 | 0 of 10 |"
