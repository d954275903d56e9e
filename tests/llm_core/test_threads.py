import os

from llm_core.threads import ThreadGovernor, core_count, machine_seconds


class Machine:
    """Two cores, read by hand."""

    def __init__(self, most: int = 2, cores: int = 2) -> None:
        self.time = self.total = self.mine = 0.0
        self.governor = ThreadGovernor(
            most,
            cores=cores,
            used=lambda: self.total,
            own=lambda: self.mine,
            clock=lambda: self.time,
        )

    def pass_time(self, *, others: float, own: float = 1.0) -> int:
        """Half a second in which others and this process use so many cores."""
        self.time += 0.5
        self.mine += own * 0.5
        self.total += (own + others) * 0.5
        return self.governor.count()


def test_a_quiet_machine_gives_all_threads_whatever_we_use_ourselves():
    machine = Machine()
    assert [machine.pass_time(others=0.1, own=use) for use in (0.0, 1.0, 1.9)] == [2, 2, 2]


def test_a_busy_machine_gives_one_thread_at_once():
    machine = Machine()
    assert machine.pass_time(others=1.0) == 1
    assert machine.pass_time(others=2.0, own=0.5) == 1


def test_threads_come_back_after_several_calm_measurements_only():
    machine = Machine()
    machine.pass_time(others=1.0)
    calm = [machine.pass_time(others=0.1) for _ in range(3)]
    assert calm == [1, 1, 2]


def test_between_busy_and_calm_nothing_changes():
    machine = Machine()
    assert [machine.pass_time(others=0.4) for _ in range(5)] == [2] * 5
    machine.pass_time(others=1.0)
    assert [machine.pass_time(others=0.4) for _ in range(5)] == [1] * 5


def test_a_large_machine_gives_the_cores_that_are_free():
    machine = Machine(most=8, cores=8)
    assert machine.pass_time(others=3.0) == 5
    assert machine.pass_time(others=20.0) == 1


def test_spare_cores_absorb_the_work_of_others():
    machine = Machine(most=4, cores=16)
    assert machine.pass_time(others=8.0) == 4


def test_the_load_is_not_read_at_every_token():
    machine = Machine()
    machine.total = 100.0
    machine.time = 0.1
    assert machine.governor.count() == 2


def test_an_unknown_load_leaves_all_threads():
    governor = ThreadGovernor(2, cores=2, used=lambda: None, clock=iter(range(99)).__next__)
    assert [governor.count() for _ in range(5)] == [2] * 5


def test_this_machine_can_be_read():
    assert 1 <= core_count() <= (os.cpu_count() or 1)
    assert ThreadGovernor().count() >= 1
    seconds = machine_seconds()
    assert seconds is None or seconds > 0
