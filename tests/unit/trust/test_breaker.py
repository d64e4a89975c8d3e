"""The circuit breaker: when an endpoint is left alone, and how it comes back."""

from __future__ import annotations

from tests.support.fakes import FakeClock
from webhook.trust.breaker import FAILURES_TO_OPEN, LONGEST_PAUSE, BreakerState, CircuitBreaker


class Broken:
    """A breaker that has opened, without jitter."""

    def __init__(self) -> None:
        self.clock = FakeClock(0)
        self.breaker = CircuitBreaker(self.clock, jitter=lambda: 0.5)
        for _ in range(FAILURES_TO_OPEN):
            assert self.breaker.admit(3)
            self.breaker.fail()

    def pause(self) -> float:
        """Return the seconds until the next call may be made, and wait for them."""
        begun = self.clock.now
        while not self.breaker.admit(3):
            self.clock.tick(0.5)
        return self.clock.now - begun


def test_consecutive_failures_open_breaker() -> None:
    """And nothing goes through any more."""
    broken = Broken()
    assert broken.breaker.state is BreakerState.OPEN
    assert not broken.breaker.admit(3)


def test_answer_between_failures_keeps_breaker_closed() -> None:
    """One tag in ten that SWR chokes on is no outage."""
    breaker = CircuitBreaker(FakeClock(0))
    for _ in range(FAILURES_TO_OPEN * 3):
        breaker.fail()
        breaker.succeed()
    assert breaker.state is BreakerState.CLOSED


def test_half_open_breaker_admits_one_probe() -> None:
    """The second caller must wait for what the first one learns."""
    broken = Broken()
    assert broken.pause() == 1.0
    assert broken.breaker.state is BreakerState.HALF_OPEN
    assert not broken.breaker.admit(3)


def test_successful_probe_closes_breaker() -> None:
    """Everybody goes through again."""
    broken = Broken()
    broken.pause()
    broken.breaker.succeed()
    assert broken.breaker.state is BreakerState.CLOSED
    assert broken.breaker.admit(3)
    assert broken.breaker.admit(3)


def test_failed_probes_double_pause_up_to_maximum() -> None:
    """The pause doubles up to its longest."""
    broken = Broken()
    pauses = []
    for _ in range(7):
        pauses.append(broken.pause())
        broken.breaker.fail()
    assert pauses == [1, 2, 4, 8, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_success_resets_breaker_pause() -> None:
    """The next outage starts with a short one."""
    broken = Broken()
    for _ in range(5):
        broken.pause()
        broken.breaker.fail()
    broken.pause()
    broken.breaker.succeed()
    for _ in range(FAILURES_TO_OPEN):
        broken.breaker.fail()
    assert broken.pause() == 1.0


def test_probe_without_result_is_replaced_after_its_time() -> None:
    """When its time is over another one goes through."""
    broken = Broken()
    broken.pause()
    broken.clock.tick(3)
    assert broken.breaker.admit(3)


def test_released_probe_admits_next_probe() -> None:
    """Being throttled says nothing in either direction."""
    broken = Broken()
    broken.pause()
    broken.breaker.release()
    assert broken.breaker.state is BreakerState.HALF_OPEN
    assert broken.breaker.admit(3)


def test_late_failures_do_not_prolong_breaker_pause() -> None:
    """A hundred calls under way when it opens are one outage."""
    broken = Broken()
    for _ in range(100):
        broken.breaker.fail()
    assert broken.pause() == 1.0
