"""The fault of a call that was not answered in time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout
from webhook.trust.breaker import CircuitBreaker
from webhook.trust.limiter import RateLimiter
from webhook.trust.reservation import Reservation

TIMEOUT = 3.0
TOO_LITTLE = "too little of lookup.timeout was left for this call: late"
HELD_UP = "the event loop was blocked: late"


def turn(held_up: float = 0.0) -> Reservation:
    """Return a reservation in a process that stalls for so many seconds during each call."""
    seconds = iter_lateness(held_up)
    limiter = RateLimiter(1000.0, sleep=lambda _: None)
    return Reservation(limiter, CircuitBreaker(), TIMEOUT, lambda: next(seconds), background=False)


def iter_lateness(held_up: float) -> Iterator[float]:
    """Yield the lost seconds that the monitor of the loop reports, call by call."""
    lost = 5.0
    while True:
        yield lost
        lost += held_up


def fail(asked: Reservation, left: float, fault: Fault, *, is_proven: bool = False) -> LookupTimeout:
    """Return the failure of a call that times out and starts with so many seconds left."""
    error = LookupTimeout("late", fault=fault)
    error.is_proven = is_proven
    with pytest.raises(LookupTimeout) as caught, asked.call(Deadline.after(left)):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("left", "held_up", "fault", "expected"),
    [
        pytest.param(3.0, 0.0, Fault.REGISTRY, (Fault.REGISTRY, "late"), id="it had all its time"),
        pytest.param(2.8, 0.0, Fault.REGISTRY, (Fault.REGISTRY, "late"), id="it had nearly all of it"),
        pytest.param(2.6, 0.0, Fault.REGISTRY, (Fault.LOCAL, TOO_LITTLE), id="a tenth was over already"),
        pytest.param(0.1, 0.0, Fault.REGISTRY, (Fault.LOCAL, TOO_LITTLE), id="hardly any was left"),
        pytest.param(3.0, 0.5, Fault.REGISTRY, (Fault.REGISTRY, "late"), id="held up for a sixth"),
        pytest.param(3.0, 0.7, Fault.REGISTRY, (Fault.LOCAL, HELD_UP), id="held up for a quarter"),
        pytest.param(0.1, 0.0, Fault.IMAGE, (Fault.IMAGE, "late"), id="what is the image's fault stays so"),
        pytest.param(3.0, 0.7, Fault.LOCAL, (Fault.LOCAL, "late"), id="what is ours stays so"),
    ],
)
def test_timeout_is_registry_fault_only_if_swr_had_enough_time(
    left: float, held_up: float, fault: Fault, expected: tuple[Fault, str]
) -> None:
    """Faults B1 to B3: the author of a Pod may have caused all other delays of the call."""
    failure = fail(turn(held_up), left, fault)
    assert (failure.fault, failure.detail) == expected


@pytest.mark.parametrize(
    ("left", "held_up", "expected"),
    [
        pytest.param(2.6, 0.0, (Fault.REGISTRY, "late"), id="an earlier call took a tenth"),
        pytest.param(1.8, 0.0, (Fault.REGISTRY, "late"), id="earlier calls took two fifths"),
        pytest.param(0.1, 0.0, (Fault.REGISTRY, "late"), id="another call has proven it"),
        pytest.param(1.8, 0.7, (Fault.LOCAL, HELD_UP), id="held up for a quarter"),
    ],
)
def test_proven_silence_is_registry_fault_at_any_beginning(
    left: float, held_up: float, expected: tuple[Fault, str]
) -> None:
    """The proof takes its own time. A blocked loop may have delayed the answers to control requests, too."""
    failure = fail(turn(held_up), left, Fault.REGISTRY, is_proven=True)
    assert (failure.fault, failure.detail) == expected


def test_second_call_with_too_little_time_left_is_local_fault() -> None:
    """Fault B4: the number of calls of a lookup depends on the image."""
    asked = turn()
    with asked.call(Deadline.after(3.0)):
        pass
    assert fail(asked, 1.0, Fault.REGISTRY).fault is Fault.LOCAL


def test_first_call_uses_reserved_token() -> None:
    """Every other call takes a token of its own."""
    limiter = RateLimiter(1.0, clock=lambda: 0.0, sleep=lambda _: None)
    asked = Reservation(limiter, CircuitBreaker(), TIMEOUT, lambda: 0.0, background=False)
    left = []
    asked.reserve()
    for _ in range(3):
        left.append(limiter._cold._tokens)
        with asked.call(Deadline.after(60.0)):
            pass
    left.append(limiter._cold._tokens)
    assert [before - after for before, after in itertools.pairwise(left)] == [0, 1, 1]


def test_expected_calls_use_reserved_tokens() -> None:
    """The calls of a lookup of signatures are paid for before it begins; what is left is returned."""
    limiter = RateLimiter(100.0, clock=lambda: 0.0, sleep=lambda _: None)
    asked = Reservation(limiter, CircuitBreaker(), TIMEOUT, lambda: 0.0, background=False, calls=8)
    before = limiter._cold._tokens
    asked.reserve()
    assert limiter._cold._tokens == before - 8
    for _ in range(3):
        with asked.call(Deadline.after(60.0)):
            pass
    assert limiter._cold._tokens == before - 8
    asked.cancel()
    asked.cancel()
    assert limiter._cold._tokens == before - 3
