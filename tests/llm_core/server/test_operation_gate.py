import asyncio
import selectors

import pytest

from llm_core.server.gate import DrainingError, Gate, QueueFullError


class Holder:
    """A request that holds its slot until it is told to go."""

    def __init__(self, gate: Gate, name: str, log: list[str]) -> None:
        self.gate, self.name, self.log = gate, name, log
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        async with self.gate.enter():
            self.log.append(self.name)
            await self.go.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_slots_go_to_those_who_came_first():
    gate, log = Gate(2, 8), []
    held = [Holder(gate, name, log) for name in "abcde"]
    await settle()
    assert (log, gate.inside, gate.waiting) == (["a", "b"], 2, 3)
    for index, holder in enumerate(held):
        holder.go.set()
        await settle()
        assert log == list("abcde")[: index + 3]
    await asyncio.gather(*(holder.task for holder in held))
    assert (gate.inside, gate.waiting) == (0, 0)


async def test_who_finds_the_queue_full_is_told_at_once():
    gate, log = Gate(1, 1), []
    held = [Holder(gate, name, log) for name in "ab"]
    await settle()
    with pytest.raises(QueueFullError, match=r"busy: 1 requests wait; try again in") as caught:
        async with gate.enter():
            pass
    assert 0 < caught.value.retry_after <= 60
    for holder in held:
        holder.go.set()
        await holder.task
    async with gate.enter():
        assert gate.inside == 1


async def refuse(gate: Gate) -> float:
    """The wait that is told to one who finds the gate full."""
    with pytest.raises(QueueFullError) as caught:
        async with gate.enter():
            pass
    return caught.value.retry_after


async def test_those_turned_away_are_asked_back_one_after_another():
    gate, log = Gate(2, 0), []
    held = [Holder(gate, name, log) for name in "ab"]
    await settle()
    waits = [await refuse(gate) for _ in range(900)]
    planned = waits[:100]  # a slot is thought to be held for 0.2 s: one of two frees each 0.1 s
    assert planned == sorted(planned)
    assert planned[0] == pytest.approx(0.1, abs=0.05)
    assert planned[99] == pytest.approx(10, abs=1)
    assert max(waits) <= 60 and len({round(wait) for wait in waits[700:]}) > 10
    for holder in held:
        holder.task.cancel()


class Leaping(selectors.DefaultSelector):
    """Waits for nothing: time leaps to whatever is due next."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock of its own, so that a busy machine changes nothing."""

    def __init__(self) -> None:
        self._leaping = Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


async def longest_wait(gate: Gate, clients: int, seconds: float, *, known: bool) -> float:
    """The longest that one of some clients waits which ask again as soon as they are served."""
    clock, longest = asyncio.get_running_loop().time, 0.0
    async with gate.enter():  # it learns how long a slot is held
        await asyncio.sleep(0.01)

    async def client(name: int) -> None:
        nonlocal longest
        while clock() < seconds:
            began, served = clock(), False
            while not served:
                try:
                    async with gate.enter(name if known else None):
                        await asyncio.sleep(0.01)
                        served = True
                except QueueFullError as full:
                    await asyncio.sleep(full.retry_after)
            longest = max(longest, clock() - began)

    await asyncio.gather(*(client(name) for name in range(clients)))
    return longest


@pytest.mark.parametrize(
    ("slots", "queue", "clients", "in_turn"), [(1, 2, 9, 0.09), (4, 16, 100, 0.25)]
)
def test_who_was_sent_away_is_not_kept_out_by_those_who_ask_again_at_once(
    slots: int, queue: int, clients: int, in_turn: float
):
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        longest = runner.run(longest_wait(Gate(slots, queue), clients, 5, known=True))
    assert longest < 1.5 * in_turn  # kept out for good it is 5 s


def test_clients_that_nobody_knows_are_served_too():
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        longest = runner.run(longest_wait(Gate(1, 2), 9, 30, known=False))
    assert longest < 15  # kept out for good it is 30 s


async def test_the_wait_follows_how_long_slots_were_held():
    gate = Gate(1, 0)
    async with gate.enter():
        await asyncio.sleep(0.5)
    async with gate.enter():
        assert await refuse(gate) == pytest.approx(0.5, rel=0.5)


async def test_who_leaves_the_queue_leaves_no_gap():
    gate, log = Gate(1, 8), []
    held = [Holder(gate, name, log) for name in "abc"]
    await settle()
    held[1].task.cancel()
    held[0].go.set()
    await settle()
    assert log == ["a", "c"]
    held[2].go.set()
    await held[2].task
    assert gate.inside == 0


async def test_a_slot_is_not_lost_when_its_new_holder_is_cancelled_at_that_moment():
    gate, log = Gate(1, 8), []
    held = [Holder(gate, name, log) for name in "abc"]
    await settle()
    held[0].go.set()
    await asyncio.sleep(0)
    assert gate.waiting == 1 and log == ["a"]  # b has the slot, but has not run yet
    held[1].task.cancel()
    await settle()
    assert log == ["a", "c"] and gate.inside == 1
    held[2].task.cancel()
    await settle()
    assert gate.inside == 0


async def test_an_error_inside_gives_the_slot_back():
    gate = Gate(1, 0)
    with pytest.raises(RuntimeError):
        async with gate.enter():
            raise RuntimeError
    async with gate.enter():
        pass


async def test_draining_serves_who_was_let_in_and_refuses_the_rest():
    gate, log = Gate(1, 4), []
    held = [Holder(gate, name, log) for name in "ab"]
    await settle()
    drained = asyncio.create_task(gate.drain(30))
    await settle()
    assert gate.draining and not drained.done()
    with pytest.raises(DrainingError):
        async with gate.enter():
            pass
    for holder in held:
        holder.go.set()
        await holder.task
    assert await drained and log == ["a", "b"]


async def test_draining_gives_up_after_its_time():
    gate, log = Gate(1, 4), []
    assert await gate.drain(0.01)
    other = Gate(1, 4)
    holder = Holder(other, "a", log)
    await settle()
    assert not await other.drain(0.01)
    holder.task.cancel()


async def test_hundreds_at_once_all_pass_in_the_end():
    gate, passed = Gate(4, 16), 0

    async def client() -> None:
        nonlocal passed
        while True:
            try:
                async with gate.enter():
                    assert gate.inside <= 4 and gate.waiting <= 16 + 4
                    await asyncio.sleep(0)
                    passed += 1
                    return
            except QueueFullError:
                await asyncio.sleep(0.001)

    await asyncio.gather(*(client() for _ in range(300)))
    assert (passed, gate.inside, gate.waiting) == (300, 0, 0)


def test_a_gate_without_slots_is_refused():
    with pytest.raises(ValueError, match="0 and 4"):
        Gate(0, 4)
