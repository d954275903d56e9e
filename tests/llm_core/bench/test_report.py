from pathlib import Path

import pytest

from benchmarks.core import Goal, goals
from llm_core.bench.measure import BUSY, Spread, Watch, machine, ratio
from llm_core.bench.plan import EAGER, TRANSFORMERS, Bench, Plan
from llm_core.bench.report import OURS, lines, table
from llm_core.bench.text import Prompts, help_text, paragraphs, read_text
from llm_core.errors import ModelError

SPEED = {
    what: {OURS: [30.0, 40.0, 20.0], "llama.cpp Q4_1": [10.0] * 3, "llama.cpp Q4_0": [20.0] * 3}
    for what in ("first", "prefill", "decode")
}
REPORT = {
    "machine": machine(),
    "threads": 2,
    "rounds": 3,
    "generate": 128,
    "contenders": {OURS: "backend kernel"},
    "speed": {"128": SPEED, "512": SPEED},
    "prefix": {"shared": 1500, "tail": 100, "cold": {OURS: [9.0]}, "warm": {OURS: [1.0]}},
    "adapter": {"bare": [100.0], "adapter": [80.0]},
    "queue": {"requests": 8, "in_turn": [8.0], "at_once": [8.0]},
    "fresh": {"ready": {OURS: [2.2]}, "token": {OURS: [2.3]}, "memory": {OURS: [500e6]}},
    "embeddings": {
        "texts": 1000,
        "rate": {"sentence-transformers float32": [10.0], OURS: [30.0]},
        "cosine": {"sentence-transformers float32": 1.0, OURS: 0.9995},
    },
    "divergence": {OURS: 0.005},
    "warning": "a warning",
}


def test_a_spread_is_the_median_with_its_range() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


def test_ratios_are_taken_round_by_round() -> None:
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == Spread(2.0, 1.0, 3.0)


def test_every_part_of_a_report_has_a_table() -> None:
    text = "\n".join(lines(REPORT))
    for shown in (
        "Prompt of 128 tokens, 128 generated",
        "30.0 [20.0-40.0]",
        "3.00 [2.00-4.00]x",
        "9.0 [9.0-9.0]x",
        "0.800 [0.800-0.800]x",
        "500 [500-500]",
        "0.99950",
        "0.00500",
        "warning: a warning",
    ):
        assert shown in text


def test_a_table_is_markdown_in_columns() -> None:
    assert list(table(["", "x"], [["long", "1"]])) == [
        "|      | x |",
        "| ---- | - |",
        "| long | 1 |",
    ]


def test_goals_are_judged_by_the_median() -> None:
    found = {goal.what: goal.verdict for goal in goals(REPORT)}
    assert found[f"decode, 128 tokens: {OURS} against llama.cpp Q4_1"] == "aim"
    assert found[f"decode, 128 tokens: {OURS} against llama.cpp Q4_0"] == "must"
    assert found[f"decode, 512 tokens: {OURS} against llama.cpp Q4_0"] == "aim"
    assert found["decode, rank-16 adapter against bare"] == "missed"
    assert found["process start to ready"] == "must"
    assert found["peak memory of the process"] == "aim"
    assert found["mean KL to float32"] == "missed"
    assert found["embeddings: lowest cosine"] == "aim"
    assert not any(TRANSFORMERS in what or EAGER in what for what in found)


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.9, "missed"), (2.0, "must"), (2.99, "must"), (3.0, "aim")]
)
def test_a_goal_is_reached_at_its_value(value: float, verdict: str) -> None:
    assert Goal("speed", Spread(value, 0, 9), 2.0, 3.0).verdict == verdict
    assert Goal("time", Spread(-value, 0, 9), -2.0, -3.0, below=True).verdict == verdict


def test_the_watch_warns_only_where_others_took_much(monkeypatch: pytest.MonkeyPatch) -> None:
    for share, warned in ((BUSY + 0.01, True), (BUSY, False), (None, False)):
        monkeypatch.setattr(Watch, "share", share)
        assert (Watch().warning() is not None) is warned


def test_prompts_are_cut_one_after_another_and_start_again() -> None:
    prompts = Prompts(range(10))
    assert [prompts.next(4) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
    with pytest.raises(ModelError, match="11 tokens is longer than the text"):
        prompts.next(11)


def test_paragraphs_are_long_enough_and_on_one_line() -> None:
    found = paragraphs(help_text(), 500)
    assert len(found) == 500
    assert all(len(text) >= 150 and "\n" not in text for text in found)
    with pytest.raises(ModelError, match="has 1 paragraphs of 3 characters, 2 are wanted"):
        paragraphs("abc\r\n\r\nde", 2, least=3)


def test_a_text_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "odd.txt"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match=r"odd\.txt as UTF-8"):
        read_text(file)


def test_an_unknown_part_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no part 'sped': give speed, prefix"):
        Plan(folder=tmp_path, python=None, threads=1, text="", parts=["sped"])


def test_a_missing_rival_is_named_with_the_mend(tiny_folder: Path) -> None:
    said: list[str] = []
    plan = Plan(folder=tiny_folder, python="/no/such/python", threads=1, text="some words")
    assert not Bench(plan, said.append)._has("llama_cpp")
    assert "llama_cpp is left out: /no/such/python" in said[0]
    assert "deerstalker[bench]" in said[0]


def test_without_a_python_for_rivals_nothing_is_looked_for(tiny_folder: Path) -> None:
    said: list[str] = []
    plan = Plan(folder=tiny_folder, python=None, threads=1, text="some words")
    assert not Bench(plan, said.append)._has("json")
    assert not said
