"""The fair lock: one holder at a time, first come first served, and no turn is lost."""

import signal
import threading
import time

import pytest

from llm_core.fairlock import FairLock

PATIENCE = 10.0  # seconds


def wait_for(lock: FairLock, count: int) -> None:
    """Until `count` callers stand in line."""
    until = time.monotonic() + PATIENCE
    while lock.waiting() != count:
        assert time.monotonic() < until, f"{lock.waiting()} callers wait, not {count}"
        time.sleep(0.001)


def test_callers_are_served_in_the_order_they_came() -> None:
    lock, served = FairLock(), list[int]()

    def caller(number: int) -> None:
        with lock:
            served.append(number)

    with lock:
        threads = [threading.Thread(target=caller, args=(number,)) for number in range(6)]
        for number, thread in enumerate(threads, start=1):
            thread.start()
            wait_for(lock, number)
        assert not served
    for thread in threads:
        thread.join(PATIENCE)
    assert served == list(range(6))


def test_who_lets_go_and_asks_again_stands_behind_who_waits() -> None:
    lock, served = FairLock(), list[str]()

    def short() -> None:
        with lock:
            served.append("short")

    with lock:
        thread = threading.Thread(target=short)
        thread.start()
        wait_for(lock, 1)
    with lock:
        served.append("again")
    thread.join(PATIENCE)
    assert served == ["short", "again"]


def test_one_holder_at_a_time_whatever_the_traffic() -> None:
    lock, inside, most = FairLock(), 0, 0

    def caller() -> None:
        nonlocal inside, most
        for _ in range(200):
            with lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (inside, most, lock.waiting()) == (0, 1, 0)


def test_an_error_inside_gives_the_lock_back() -> None:
    lock = FairLock()
    try:
        with lock:
            raise ValueError
    except ValueError:
        time.sleep(0)
    with lock:
        assert lock.waiting() == 0


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_an_interrupted_caller_leaves_the_line() -> None:
    lock = FairLock()

    def hold() -> None:
        with lock:
            holding.set()
            wait_for(lock, 1)
            signal.pthread_kill(main, signal.SIGINT)
            wait_for(lock, 0)

    main, holding = threading.get_ident(), threading.Event()
    thread = threading.Thread(target=hold)
    # Shells start background jobs with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        assert holding.wait(PATIENCE)
        with pytest.raises(KeyboardInterrupt), lock:
            pytest.fail("the lock was free")
        thread.join(PATIENCE)
    finally:
        signal.signal(signal.SIGINT, before)
    with lock:
        assert lock.waiting() == 0
