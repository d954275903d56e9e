"""Greedy and beam search through an encoder-decoder, over its cache."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llm_core.models.transformer import Transformer


@dataclass(frozen=True)
class Hypothesis:
    """A finished target: its tokens without start and end, and its score.

    The score is the sum of log-probabilities, the end's included, over length^penalty; the
    length counts the end.
    """

    tokens: list[int]
    score: float


@torch.inference_mode()
def greedy_search(
    model: Transformer,
    source: Tensor,
    lengths: Tensor | None = None,
    *,
    start: int,
    end: int,
    limit: int,
) -> list[list[int]]:
    """The likeliest next token again and again, for each source (B, S) of the batch.

    At most `limit` tokens each; start and end are left out.
    """
    memory, mask = model.encode(source, lengths)
    cache = model.new_cache(memory, limit)
    tokens = source.new_full((len(source), 1), start)
    found: list[list[int]] = [[] for _ in source]
    running = [True] * len(source)
    for _ in range(limit):
        tokens = model.decode(tokens, cache, mask)[:, -1].argmax(dim=-1, keepdim=True)  # (B, 1)
        for row, token in enumerate(tokens[:, 0].tolist()):
            running[row] = running[row] and token != end
            if running[row]:
                found[row].append(token)
        if not any(running):
            break
    return found


@torch.inference_mode()
def beam_search(
    model: Transformer,
    source: Tensor,
    *,
    start: int,
    end: int,
    limit: int,
    beams: int = 4,
    penalty: float = 1.0,
) -> list[Hypothesis]:
    """The best `beams` targets of one source (S,), best first.

    A beam that ends leaves the search; the others go on until `beams` have ended and no
    running one can beat the worst of them, or at `limit` tokens, where running beams count
    as they are. Source: Sutskever et al. 2014; the penalty: Wu et al. 2016, simplified.
    """
    if beams < 1 or limit < 1:
        raise ValueError(f"beams and limit must be at least 1, not {beams} and {limit}")
    memory, mask = model.encode(source[None])
    cache = model.new_cache(memory, limit)
    tokens = source.new_full((1, 1), start)
    scores = torch.zeros(1)  # of the running beams
    texts: list[list[int]] = [[]]
    done: list[Hypothesis] = []
    for length in range(1, limit + 1):
        logits = model.decode(tokens, cache, mask)[:, -1].float()  # (R, V)
        ended, running = _choose(scores[:, None] + logits.log_softmax(dim=-1).cpu(), beams, end)
        done += [Hypothesis(texts[row], score / length**penalty) for row, score in ended]
        done = _best(done, beams)
        texts = [[*texts[row], token] for row, token, _ in running]
        scores = torch.tensor([score for *_, score in running])
        if not running or _is_settled(done, beams, scores, length, limit, penalty):
            return done
        cache.select(torch.tensor([row for row, _, _ in running], device=source.device))
        tokens = torch.tensor([[token] for _, token, _ in running], device=source.device)
    cut = zip(texts, scores.tolist(), strict=True)
    return _best([*done, *(Hypothesis(text, score / limit**penalty) for text, score in cut)], beams)


def _best(found: list[Hypothesis], beams: int) -> list[Hypothesis]:
    return sorted(found, key=lambda one: -one.score)[:beams]


def _choose(
    total: Tensor, beams: int, end: int
) -> tuple[list[tuple[int, float]], list[tuple[int, int, float]]]:
    """Which beams end, as (row, score), and which go on, as (row, token, score).

    total (R, V) are the scores of every beam with every token behind it. A beam can end in
    one way only, so twice as many candidates as beams leave enough to go on; a beam ends
    only where that is among the best `beams`.
    """
    best = total.flatten().topk(min(2 * beams, total.numel()))
    ended: list[tuple[int, float]] = []
    running: list[tuple[int, int, float]] = []
    candidates = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    for rank, (score, index) in enumerate(candidates):
        row, token = divmod(index, total.shape[1])
        if token != end:
            running.append((row, token, score))
        elif rank < beams:
            ended.append((row, score))
    return ended, running[:beams]


def _is_settled(
    done: list[Hypothesis], beams: int, scores: Tensor, length: int, limit: int, penalty: float
) -> bool:
    """Say whether no running beam can still enter the best ones.

    Scores only fall, and a longer text divides them by more: the best a beam can become is
    its score now over the longest length (over the present one where the penalty is not
    positive).
    """
    if len(done) < beams:
        return False
    longest = limit if penalty > 0 else length
    reachable: float = float(scores.max()) / longest**penalty
    return done[-1].score >= reachable
