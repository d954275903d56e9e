import itertools
from pathlib import Path

import pytest
import torch

from llm_core.engine import Engine
from llm_core.sampling import Sampling
from tests.llm_core.fake_backend import VOCABULARY, FakeBackend, logits_after

PROMPT = [n * 7 % VOCABULARY for n in range(70)]


@pytest.fixture
def engine(tiny_folder: Path) -> Engine:
    return Engine(tiny_folder, backend=FakeBackend())


def gained(tokens: list[int]) -> float:
    """Log-probability of what follows the prompt."""
    seen = list(PROMPT)
    total = 0.0
    for token in tokens:
        total += float(logits_after(seen).double().log_softmax(0)[token])
        seen.append(token)
    return total


def test_with_a_beam_for_each_way_the_best_replies_of_all_are_found(engine):
    found = engine.beam_search(
        PROMPT, max_tokens=2, stop_ids=[], beams=VOCABULARY**2, best=20, length_penalty=0.0
    )
    ways = [list(way) for way in itertools.product(range(VOCABULARY), repeat=2)]
    firsts = logits_after(PROMPT).double().log_softmax(0)
    rest = [logits_after([*PROMPT, n]).double().log_softmax(0) for n in range(VOCABULARY)]
    ways.sort(key=lambda way: -float(firsts[way[0]] + rest[way[0]][way[1]]))
    assert [reply.tokens for reply in found] == ways[:20]
    assert [reply.logprob for reply in found] == pytest.approx(
        [gained(way) for way in ways[:20]], abs=1e-4
    )


def test_one_beam_is_greedy(engine):
    [found] = engine.beam_search(PROMPT, max_tokens=20, stop_ids=[], beams=1)
    steps = engine.generate(PROMPT, max_tokens=20, sampling=Sampling(), stop_ids=[])
    assert found.tokens == [step.token for step in steps]
    assert found.finish == "length"


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_scores_are_log_probabilities_over_length(engine, penalty):
    stops = [0, 1, 2]
    found = engine.beam_search(
        PROMPT, max_tokens=12, stop_ids=stops, beams=5, best=5, length_penalty=penalty
    )
    assert len(found) == 5
    assert [reply.score for reply in found] == sorted((r.score for r in found), reverse=True)
    for reply in found:
        assert not set(stops) & set(reply.tokens)
        if reply.finish == "stop":
            ends = [gained([*reply.tokens, stop]) for stop in stops]
            assert any(reply.logprob == pytest.approx(end, abs=1e-4) for end in ends)
            length = len(reply.tokens) + 1
        else:
            assert reply.logprob == pytest.approx(gained(reply.tokens), abs=1e-4)
            length = len(reply.tokens) == 12 and 12
        assert reply.score == pytest.approx(reply.logprob / length**penalty)


def test_more_beams_than_asked_for_cannot_come_back(engine):
    with pytest.raises(ValueError, match="5 of 4 beams"):
        engine.beam_search(PROMPT, max_tokens=5, stop_ids=[], beams=4, best=5)


def test_the_best_beams_equal_those_of_transformers(tiny_folder):
    from transformers import GenerationConfig
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    engine = Engine(tiny_folder, dtype="float32", threads=1)
    prompt = list(range(10, 40))
    found = engine.beam_search(prompt, max_tokens=10, stop_ids=[2], beams=4, best=4)
    model = LlamaForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    settings = GenerationConfig(
        num_beams=4,
        num_return_sequences=4,
        max_new_tokens=10,
        eos_token_id=2,
        pad_token_id=0,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    theirs = [[t for t in row[len(prompt) :].tolist() if t not in (0, 2)] for row in out.sequences]
    assert [reply.tokens for reply in found] == theirs
    assert [r.score for r in found] == pytest.approx(out.sequences_scores.tolist(), abs=1e-4)
