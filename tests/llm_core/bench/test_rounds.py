from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_core.bench import rounds
from llm_core.bench.contender import Contender, Recipe
from llm_core.bench.text import Prompts

FAKE = "tests.llm_core.bench.fake_worker"
FAST = Recipe(
    "fast",
    FAKE,
    {"first": 0.2, "token": 0.1, "logits": [1.0, 1.0], "vector": [1.0, 0.0], "seconds": 0.5},
)
SLOW = Recipe(
    "slow",
    FAKE,
    {"first": 0.8, "token": 0.4, "logits": [1.0, 0.0], "vector": [0.6, 0.8], "seconds": 2.0},
)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def setting(said: list[str]) -> rounds.Setting:
    return rounds.Setting(Prompts(range(1000)), rounds=3, say=said.append)


@pytest.fixture(scope="module")
def running() -> Iterator[list[Contender]]:
    with rounds.started([FAST, SLOW], lambda _: None) as started:
        yield started


def test_speeds_are_tokens_a_second_before_and_after_the_first_token(
    setting: rounds.Setting, running: list[Contender]
) -> None:
    found = rounds.speeds(setting, running, length=10, generate=5)
    assert found["prefill"]["fast"] == pytest.approx([50.0] * 3)
    assert found["decode"]["fast"] == pytest.approx([10.0] * 3)
    assert found["decode"]["slow"] == pytest.approx([2.5] * 3)


def test_contenders_take_turns_and_each_begins_a_round(
    setting: rounds.Setting, running: list[Contender], said: list[str]
) -> None:
    rounds.speeds(setting, running, length=4, generate=3)
    order = [line.rpartition(" ")[2] for line in said]
    assert order == ["fast", "slow", "slow", "fast", "fast", "slow"]


def test_a_prefix_in_memory_is_compared_with_a_cold_one(
    setting: rounds.Setting, running: list[Contender]
) -> None:
    found = rounds.shared_prefix(setting, running, shared=90, tail=10)
    assert found["cold"]["slow"] == [1.0] * 3
    assert found["warm"]["slow"] == [0.1] * 3


def test_adapter_and_bare_weights_are_measured_by_turns(
    setting: rounds.Setting, running: list[Contender], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, order = running[0], []
    ask = ours.ask

    def heard(operation: str, **given: Any) -> Any:
        order.append(given["adapter"])
        return ask(operation, **given)

    monkeypatch.setattr(ours, "ask", heard)
    found = rounds.adapters(setting, ours, Path("adapter"), length=4, generate=3)
    assert found["bare"] == pytest.approx([10.0] * 3)
    assert found["adapter"] == pytest.approx([5.0] * 3)
    turns = order[2:]  # after each was warmed up
    assert turns[:4] == ["adapter", None, None, "adapter"]
    assert turns.count(None) == turns.count("adapter") >= 3 * 4


def test_queued_requests_begin_with_either_way(
    setting: rounds.Setting, running: list[Contender]
) -> None:
    found = rounds.queued(setting, running[0], requests=8, length=4, generate=3)
    assert found == {"in_turn": [8.0] * 3, "at_once": [4.0, 8.0, 4.0]}


def test_divergence_is_the_mean_kl_of_the_distributions(
    setting: rounds.Setting, running: list[Contender], tmp_path: Path
) -> None:
    found = rounds.divergence(setting, running[0], running, tmp_path, windows=2, length=5)
    # KL of (1/2, 1/2) from (e, 1)/(e + 1), in nats: ln((1 + e)/2) - 1/2
    assert found["slow"] == pytest.approx(0.1201145)
    assert found["fast"] == pytest.approx(0.0)


def test_embeddings_show_the_lowest_cosine_to_the_first_contender(
    setting: rounds.Setting, running: list[Contender], tmp_path: Path
) -> None:
    rate, cosine = rounds.embeddings(setting, running, ["a", "b"], tmp_path)
    assert rate == {"fast": [4.0] * 3, "slow": [1.0] * 3}
    assert cosine == {"fast": pytest.approx(1.0), "slow": pytest.approx(0.6)}


def test_fresh_processes_are_timed_from_their_start(setting: rounds.Setting) -> None:
    found = rounds.fresh(setting, [FAST], length=20, generate=3)
    for ready, token in zip(found["ready"]["fast"], found["token"]["fast"], strict=True):
        assert 0 < ready <= token
    assert all(5e6 < value < 1e9 for value in found["memory"]["fast"])
