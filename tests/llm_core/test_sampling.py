import math
from collections import Counter

import pytest
import torch

from llm_core.sampling import Sampler, Sampling, log_probability


def draws(logits: torch.Tensor, count: int = 400, **how: float) -> Counter[int]:
    sampler = Sampler(Sampling(seed=1, **how))
    return Counter(sampler.pick(logits) for _ in range(count))


def test_temperature_zero_is_the_best_token():
    assert Sampler(Sampling()).pick(torch.tensor([0.0, 3.0, 2.0])) == 1


def test_a_forbidden_token_is_never_drawn():
    logits = torch.tensor([0.0, -math.inf, 0.0])
    assert set(draws(logits, temperature=5.0)) == {0, 2}
    assert set(draws(logits, temperature=5.0, top_p=0.999)) == {0, 2}
    assert set(draws(logits, temperature=5.0, top_k=3)) == {0, 2}


def test_top_k_keeps_the_k_best():
    logits = torch.arange(1000.0) / 100
    assert set(draws(logits, temperature=2.0, top_k=3)) <= {997, 998, 999}


def test_top_p_keeps_the_smallest_set_that_holds_the_mass():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert set(draws(logits, temperature=1.0, top_p=0.5)) == {0}
    assert set(draws(logits, temperature=1.0, top_p=0.6)) == {0, 1}
    assert set(draws(logits, temperature=1.0, top_p=0.94)) == {0, 1, 2}


def test_top_p_widens_its_head_on_a_flat_distribution():
    logits = torch.zeros(5000)
    drawn = draws(logits, count=3000, temperature=1.0, top_p=0.9)
    assert len(drawn) > 1500  # far more than the first 256 candidates


def test_frequencies_follow_the_distribution():
    logits = torch.tensor([0.7, 0.2, 0.1]).log()
    drawn = draws(logits, count=4000, temperature=1.0)
    assert drawn[0] / 4000 == pytest.approx(0.7, abs=0.03)


def test_one_seed_gives_one_sequence():
    logits = torch.zeros(50)
    runs = []
    for _ in range(2):
        sampler = Sampler(Sampling(temperature=1.0, seed=5))
        runs.append([sampler.pick(logits) for _ in range(20)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("bad", [{"temperature": -1}, {"top_k": -1}, {"top_p": 0}, {"top_p": 2}])
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Sampling(**bad)


def test_log_probability_is_normalised():
    logits = torch.tensor([1.0, 2.0, 3.0])
    assert sum(math.exp(log_probability(logits, t)) for t in range(3)) == pytest.approx(1)
