"""The likelihood of a question after a passage, with a scripted model and with the real one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from langchain_core.documents import Document

from graphs.likelihood import question_likelihood
from retrievers.rerank.likelihood import LikelihoodReranker

if TYPE_CHECKING:
    from llm_core import LocalChatModel


class CountsWords:
    """A question is the likelier, the more of its words a prompt holds."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def score_prompts(self, prompts: Sequence[str], continuation: str) -> list[float]:
        self.prompts.extend(prompts)
        wanted = set(continuation.split())
        return [float(len(wanted & set(prompt.split())) - len(wanted)) for prompt in prompts]


def test_each_passage_is_asked_on_one_line_before_the_question() -> None:
    model = CountsWords()
    assert question_likelihood(model)(" blue stone ", ["a blue\nstone", "a house"]) == [0, -2]
    assert "a blue stone" in model.prompts[0] and "a house" in model.prompts[1]


def test_nothing_asked_costs_no_model_call() -> None:
    model = CountsWords()
    assert question_likelihood(model)("  ", ["a house"]) == [0.0]
    assert question_likelihood(model)("blue", []) == []
    assert model.prompts == []


@pytest.mark.model
def test_the_default_model_finds_the_passage_that_is_asked_about(
    chat_model: "LocalChatModel",
) -> None:
    texts = ("The recipe calls for two eggs.", "The blue stone was hidden in a goose.")
    given = [Document(id=str(n), page_content=text) for n, text in enumerate(texts)]
    reranker = LikelihoodReranker(score=question_likelihood(chat_model))
    found = reranker.compress_documents(given, "Where was the stone hidden?")
    assert [d.id for d in found] == ["1", "0"]
