import sys
from collections.abc import Iterator

import pytest

from llm_core.bench.contender import Contender, ContenderError, Recipe, has_modules
from llm_core.bench.measure import Watch

FAKE = "tests.llm_core.bench.fake_worker"


@pytest.fixture
def contender() -> Iterator[Contender]:
    with Contender(Recipe("fake", FAKE, {"first": 0.25})) as started:
        started.load()
        yield started


def test_a_contender_answers_requests_whatever_libraries_print(contender: Contender) -> None:
    reply = contender.ask("speed", prompt=[7, 8, 9], generate=2)
    assert reply["first"] == 0.25
    assert reply["tokens"] == [7, 8]
    assert reply["wall"] >= 0
    assert {"load", "speed", "memory"} <= contender.operations


def test_a_contender_tells_what_it_took_of_the_processor(contender: Contender) -> None:
    assert contender.ask("work", seconds=0.05)["cpu"] >= 0.05


def test_peak_memory_is_more_than_an_interpreter_and_less_than_the_machine(
    contender: Contender,
) -> None:
    assert 5e6 < contender.ask("memory")["bytes"] < 1e9


def test_a_failed_request_is_one_line_and_the_next_one_works(contender: Contender) -> None:
    with pytest.raises(ContenderError, match="fake: fail failed: ValueError: this was to be"):
        contender.ask("fail")
    assert contender.ask("work", seconds=0.0)["wall"] >= 0


def test_a_dead_contender_is_reported_with_its_last_words(contender: Contender) -> None:
    with pytest.raises(ContenderError, match="fake: the process ended: the last words"):
        contender.ask("vanish")
    with pytest.raises(ContenderError, match="fake: the process ended"):
        contender.ask("speed", prompt=[1], generate=1)


def test_a_python_that_is_not_there_is_named() -> None:
    with pytest.raises(ContenderError, match="cannot start /no/such/python"):
        Contender(Recipe("fake", FAKE, {}, "/no/such/python"))
    assert not has_modules("/no/such/python", ["json"])


def test_modules_are_looked_for_under_the_other_python() -> None:
    assert has_modules(sys.executable, ["json", "numpy"])
    assert not has_modules(sys.executable, ["json", "no_such_module_here"])


def test_the_watch_does_not_take_a_contenders_work_for_that_of_others(
    contender: Contender,
) -> None:
    alone, blind = Watch(), Watch()
    for watch, children in ((alone, [contender.process_id]), (blind, [])):
        watch.start(children)
    contender.ask("work", seconds=0.5)
    for watch, children in ((alone, [contender.process_id]), (blind, [])):
        watch.stop(children)
    if alone.share is None or blind.share is None:
        assert sys.platform != "linux"
    else:
        assert alone.share < blind.share
