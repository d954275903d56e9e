import time

from benchmarks import constraint_cost as cost
from llm_core.guides import GrammarGuide
from llm_core.tokenizer import TextTokenizer


def test_a_step_within_a_step_counts_once():
    watch = cost.Watch()

    def spin() -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            continue

    inner = cost._counted(spin, "grammar", watch)
    cost._counted(lambda: (inner(), spin()), "copying", watch)()
    assert watch.seconds["grammar"] == 0.0
    assert watch.seconds["copying"] >= 0.04


def test_the_guides_are_timed_only_inside_the_block(tiny_folder):
    tokenizer = TextTokenizer(tiny_folder, 420)
    before, watch = GrammarGuide.done, cost.Watch()
    with cost.timed(watch):
        guide = tokenizer.grammars.of_json({"type": "boolean"}).guide(20)
        guide.forced()
    assert watch.seconds["grammar"] > 0 and watch.seconds["copying"] == 0
    assert GrammarGuide.done is before
