"""128 greedy tokens on 50 prompts are those of transformers, in float32 on the real weights.

Ours are decoded step by step, all prompts in one pass. Transformers then reads each whole
text once: where its best next token is ours at every place, its own greedy text is ours.
"""

import pytest
import torch
from tokenizers import Tokenizer

from llm_core.backend import Rows
from llm_core.checkpoint import open_checkpoint
from llm_core.loading import resolve
from llm_core.torch_backend import TorchBackend, open_torch_backend
from tests.llm_core.models.decoders import llama_of

LENGTH = 128
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
    for text, cache in zip(texts, caches, strict=True):
        logits = backend.forward(Rows.sequence(text, 0), [cache], [len(text) - 1], None, None)
        text.append(int(logits[0].argmax()))
    slots = list(range(len(texts)))
    nothing = [0] * len(texts)
    for _ in range(LENGTH - 1):
        places = [len(text) - 1 for text in texts]
        rows = Rows([text[-1] for text in texts], places, slots, list(places), nothing, nothing)
        for text, best in zip(
            texts, backend.forward(rows, caches, slots, None, None).argmax(1).tolist(), strict=True
        ):
            text.append(best)
    return texts


@pytest.mark.model
@pytest.mark.timeout(900)  # half a minute on two free cores, far more on busy ones
def test_greedy_texts_are_those_of_transformers() -> None:
    folder = resolve("smollm2-135m")
    checkpoint = open_checkpoint(folder)
    starts = prompts(Tokenizer.from_file(str(folder / "tokenizer.json")))
    texts = greedy(open_torch_backend(checkpoint, "float32"), starts)
    theirs = llama_of(checkpoint)
    ties = 0
    for start, text in zip(starts, texts, strict=True):
        with torch.inference_mode():
            logits = theirs(torch.tensor([text[:-1]]), logits_to_keep=LENGTH).logits[0]
        ours = torch.tensor(text[len(start) :])
        lost = logits.max(1).values - logits.gather(1, ours[:, None])[:, 0]
        assert lost.max() < TIE, f"after {start}: {text}"
        ties += int((lost > 0).any())
    assert len(starts) == 50 and ties <= 1
