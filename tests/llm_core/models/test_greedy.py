"""128 greedy tokens on 50 prompts are those of transformers, in float32 on the real weights.

Ours are decoded step by step, all prompts in one pass. Transformers then reads each whole
text once: where its best next token is ours at every place, its own greedy text is ours. It
reads ten texts at a time, padded on the right, where no row of a causal model looks.
"""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor

from llm_core.checkpoint import open_checkpoint
from llm_core.loading import resolve
from llm_core.packing import side_by_side
from llm_core.torch_backend import TorchBackend, open_torch_backend
from tests.llm_core.models.decoders import llama_of

LENGTH = 128
TOGETHER = 10  # texts that transformers reads at a time
TIE = 1e-3  # what the logits of two correct programs may differ by
QUESTIONS = (
    "What is {}?",
    "Write one paragraph about {}.",
    "List three facts on {} and explain each.",
    "Why does {} matter? Answer briefly.",
    "def explain():\n    # {}\n    return",
)
TOPICS = (
    "photosynthesis", "the French Revolution", "binary search", "the price of tea in 1850",
    "a lighthouse", "plate tectonics", "compound interest", "the Thai alphabet", "sleep",
    "how bread rises",
)  # fmt: skip


def prompts(tokenizer: Tokenizer) -> list[list[int]]:
    """50 short chats."""
    texts = [question.format(topic) for question in QUESTIONS for topic in TOPICS]
    chat = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    return [tokenizer.encode(chat.format(text)).ids for text in texts]


def greedy(backend: TorchBackend, starts: list[list[int]]) -> list[list[int]]:
    """Each prompt with LENGTH tokens behind it."""
    texts = [list(start) for start in starts]
    caches = [backend.new_cache(len(start) + LENGTH) for start in starts]
    for _ in range(LENGTH):
        held = [cache.length for cache in caches]
        parts = [(text[at:], at) for text, at in zip(texts, held, strict=True)]
        rows, reads = side_by_side(parts)  # first the prompts, then a token each
        best = backend.forward(rows, caches, reads, None, None).argmax(1).tolist()
        for text, token in zip(texts, best, strict=True):
            text.append(token)
    return texts


def losses(theirs: Any, starts: list[list[int]], texts: list[list[int]]) -> Tensor:
    """How far each token of ours is below the best of transformers, (texts, LENGTH) logits."""
    longest = max(map(len, texts))
    padded = torch.tensor([[*text[:-1], *[0] * (longest - len(text))] for text in texts])
    rows = torch.stack([torch.arange(LENGTH) + len(start) - 1 for start in starts])
    ours = torch.tensor([text[-LENGTH:] for text in texts])
    with torch.inference_mode():
        states = theirs.model(padded, use_cache=False).last_hidden_state  # (B, T, C)
        logits = theirs.lm_head(states[torch.arange(len(texts))[:, None], rows])
    lost: Tensor = logits.max(-1).values - logits.gather(-1, ours[..., None])[..., 0]
    return lost


@pytest.mark.model
@pytest.mark.timeout(900)  # half a minute on two free cores, far more on busy ones
def test_greedy_texts_are_those_of_transformers() -> None:
    folder = resolve("smollm2-135m")
    checkpoint = open_checkpoint(folder)
    starts = prompts(Tokenizer.from_file(str(folder / "tokenizer.json")))
    texts = greedy(open_torch_backend(checkpoint, "float32"), starts)
    theirs = llama_of(checkpoint)
    lost = torch.cat(
        [
            losses(theirs, starts[at : at + TOGETHER], texts[at : at + TOGETHER])
            for at in range(0, len(starts), TOGETHER)
        ]
    )
    assert lost.shape == (50, LENGTH)
    wrong = (lost >= TIE).any(dim=1).nonzero().flatten().tolist()
    assert not wrong, f"other tokens after the prompts {wrong}"
    assert (lost > 0).any(dim=1).sum() <= 1
