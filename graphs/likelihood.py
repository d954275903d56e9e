"""Make of a chat model the callable that `LikelihoodReranker` wants.

reranker = LikelihoodReranker(score=question_likelihood(LocalChatModel()))
"""

from collections.abc import Sequence
from typing import Final, Protocol

from retrievers.rerank.likelihood import QuestionScorer

PROMPT: Final = "Passage: {passage}\n\nWrite a question or a claim that this passage speaks to."


class PromptScorer(Protocol):
    """What is used of a chat model; `LocalChatModel` is one."""

    def score_prompts(self, prompts: Sequence[str], continuation: str) -> list[float]:
        """Summed natural-log probability of one continuation as the reply to each prompt."""
        ...


def question_likelihood(model: PromptScorer) -> QuestionScorer:
    """log P(question | passage) under `model`, in nats, for every passage."""

    def score(question: str, passages: Sequence[str]) -> list[float]:
        if not passages or not question.strip():
            return [0.0] * len(passages)
        prompts = [PROMPT.format(passage=" ".join(passage.split())) for passage in passages]
        return model.score_prompts(prompts, question.strip())

    return score
