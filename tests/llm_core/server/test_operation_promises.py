import pytest

from llm_core.server.promises import Promises


@pytest.fixture
def promises() -> Promises:
    made = Promises()
    made.add(1.0, "a")
    made.add(2.0, "b")
    return made


def test_a_promise_is_kept_once_and_not_before_its_time(promises: Promises):
    assert not promises.keep(0.9, "a")
    assert promises.keep(1.0, "a")
    assert not promises.keep(1.0, "a") and promises.expected(10) == 1


def test_who_was_just_served_does_not_pass_for_another(promises: Promises):
    promises.served("c")
    assert not promises.keep(1.5, "c")
    assert promises.keep(1.5, "a")


def test_a_new_connection_is_taken_for_the_one_that_is_due(promises: Promises):
    assert promises.keep(1.5, "new") and not promises.keep(1.5, None)
    assert not promises.keep(1.6, "a")  # its promise was kept
    assert promises.keep(2.5, None)


def test_a_second_promise_stands_instead_of_the_first(promises: Promises):
    promises.add(5.0, "a")
    assert promises.expected(3) == 1 and promises.last == 5.0
    assert not promises.keep(1.5, "a") and promises.keep(5.0, "a")


def test_those_who_do_not_come_are_given_up(promises: Promises):
    promises.forget(1.5)
    assert promises.expected(10) == 1 and not promises.keep(1.6, "a")
    assert promises.keep(2.0, "b") and promises.last is None


def test_only_the_last_served_are_remembered():
    promises = Promises()
    for number in range(5000):
        promises.served(number)
    promises.add(1.0, None)
    assert not promises.keep(1.0, 4999) and promises.keep(1.0, 0)
