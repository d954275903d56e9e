import threading
import time

import pytest

from llm_core.turns import Turns


def wait_until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.001)


def test_turns_come_in_the_order_of_asking():
    turns, order = Turns(), list[int]()

    def work(number: int) -> None:
        with turns.hold() as mine:
            assert mine
            order.append(number)

    workers = []
    with turns.hold():
        for number in range(8):
            workers.append(threading.Thread(target=work, args=(number,)))
            workers[-1].start()
            wait_until(lambda n=number: turns.waiting() == n + 1)
    for worker in workers:
        worker.join()
    assert order == list(range(8))


def test_who_asks_again_at_once_waits_behind_the_others():
    turns, order = Turns(), list[str]()

    def greedy() -> None:
        for _ in range(3):
            with turns.hold():
                order.append("greedy")
                wait_until(lambda: "patient" in order or turns.waiting() == 1)

    first = threading.Thread(target=greedy)
    first.start()
    wait_until(lambda: bool(order))

    with turns.hold():
        order.append("patient")
    first.join()
    assert order == ["greedy", "patient", "greedy", "greedy"]


def test_only_one_is_inside():
    turns, inside, most = Turns(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            with turns.hold():
                inside += 1
                most = max(most, inside)
                inside -= 1

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == 1 and turns.waiting() == 0


def test_a_cancelled_caller_leaves_the_queue_at_once():
    turns, cancel, answers = Turns(), threading.Event(), list[bool]()

    def work() -> None:
        with turns.hold(cancel) as mine:
            answers.append(mine)

    with turns.hold():
        worker = threading.Thread(target=work)
        worker.start()
        wait_until(lambda: turns.waiting() == 1)
        cancel.set()
        worker.join(timeout=10)
        assert answers == [False] and turns.waiting() == 0
    with turns.hold() as mine:
        assert mine


def test_an_error_inside_gives_the_turn_back():
    turns = Turns()
    with pytest.raises(KeyError), turns.hold():
        raise KeyError
    with turns.hold() as mine:
        assert mine
