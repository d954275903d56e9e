import asyncio
import hashlib

import pytest
from pydantic import SecretStr

from llm_core.server import limits

TOKENS = ("0123456789abcdef", "fedcba9876543210")


@pytest.fixture
def keys() -> limits.Keyring:
    return limits.Keyring([SecretStr(token) for token in TOKENS])


def test_each_token_opens_and_has_a_name_that_does_not_betray_it(keys):
    names = [keys.owner(f"Bearer {token}".encode()) for token in TOKENS]
    assert names == [hashlib.sha256(token.encode()).hexdigest()[:8] for token in TOKENS]
    assert keys.owner(b"bearer  " + TOKENS[0].encode()) == names[0]


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer 0123456789abcde", f"Basic {TOKENS[0]}", TOKENS[0], "Bearer \xff"],
)
def test_nothing_else_opens(keys, given):
    assert keys.owner(given.encode("latin-1")) is None


def test_a_bucket_lets_a_burst_pass_and_then_the_rate():
    now = [100.0]
    limit = limits.RateLimit(2, 3, clock=lambda: now[0])
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait("b") == 0
    now[0] += 0.25
    assert limit.wait("a") == pytest.approx(0.25)
    now[0] += 0.25
    assert limit.wait("a") == 0
    now[0] += 3600
    assert [limit.wait("a") > 0 for _ in range(5)] == [False] * 3 + [True] * 2


def test_a_long_run_gets_the_rate_exactly():
    now = [0.0]
    limit, passed = limits.RateLimit(5, 1, clock=lambda: now[0]), 0
    for _ in range(100_000):
        now[0] += 0.001
        passed += limit.wait("a") == 0
    assert passed == pytest.approx(500, abs=2)


def test_many_keys_take_bounded_memory():
    limit = limits.RateLimit(1, 1, clock=lambda: 0.0)
    for number in range(10_001):
        assert limit.wait(str(number)) == 0
    assert len(limit._buckets) == 10_000
    assert limit.wait("10000") > 0


def sender(*parts: bytes, leaves: bool = False):
    messages = [
        {"type": "http.request", "body": part, "more_body": leaves or number + 1 < len(parts)}
        for number, part in enumerate(parts)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive():
        return messages.pop(0)

    return receive


async def test_a_body_is_read_whole_and_can_be_read_again():
    receive = sender(b"one ", b"two")
    body = await limits.read_body(receive, 7, 7)
    assert body == b"one two"
    again = limits.replayed(body, receive)
    assert await again() == {"type": "http.request", "body": b"one two", "more_body": False}
    assert await again() == {"type": "http.disconnect"}


@pytest.mark.parametrize(("length", "parts"), [(8, [b"12345678"]), (None, [b"1234", b"5678"])])
async def test_a_body_over_the_limit_is_refused_announced_or_not(length, parts):
    with pytest.raises(limits.BodyTooLargeError):
        await limits.read_body(sender(*parts), length, 7)


async def test_a_huge_announced_body_is_not_read_at_all():
    async def receive():
        pytest.fail("nothing should be read")

    with pytest.raises(limits.BodyTooLargeError):
        await asyncio.wait_for(limits.read_body(receive, 1 << 40, 7), 1)


async def test_a_client_that_leaves_within_its_body_is_told_apart():
    with pytest.raises(limits.ClientLeftError):
        await limits.read_body(sender(b"1", leaves=True), 7, 7)
