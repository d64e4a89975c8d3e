"""The circuit breaker: when it opens, when it probes, and how it closes."""

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
    """No call passes it then."""
    broken = Broken()
    assert broken.breaker.state is BreakerState.OPEN
    assert not broken.breaker.admit(3)


def test_answer_between_failures_keeps_breaker_closed() -> None:
    """A failure of SWR for one tag in ten is not an outage."""
    breaker = CircuitBreaker(FakeClock(0))
    for _ in range(FAILURES_TO_OPEN * 3):
        breaker.fail()
        breaker.succeed()
    assert breaker.state is BreakerState.CLOSED


def test_half_open_breaker_admits_one_probe() -> None:
    """The second caller waits for the result of the first."""
    broken = Broken()
    assert broken.pause() == 1.0
    assert broken.breaker.state is BreakerState.HALF_OPEN
    assert not broken.breaker.admit(3)


def test_successful_probe_closes_breaker() -> None:
    """All calls pass it again."""
    broken = Broken()
    broken.pause()
    broken.breaker.succeed()
    assert broken.breaker.state is BreakerState.CLOSED
    assert broken.breaker.admit(3)
    assert broken.breaker.admit(3)


def test_failed_probes_double_pause_up_to_maximum() -> None:
    broken = Broken()
    pauses = []
    for _ in range(7):
        pauses.append(broken.pause())
        broken.breaker.fail()
    assert pauses == [1, 2, 4, 8, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_success_resets_breaker_pause() -> None:
    """The next outage starts with a short pause."""
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
    """After its time another probe is allowed."""
    broken = Broken()
    broken.pause()
    broken.clock.tick(3)
    assert broken.breaker.admit(3)


def test_released_probe_admits_next_probe() -> None:
    """A throttled probe says nothing about the endpoint."""
    broken = Broken()
    broken.pause()
    broken.breaker.release()
    assert broken.breaker.state is BreakerState.HALF_OPEN
    assert broken.breaker.admit(3)


def test_late_failures_do_not_prolong_breaker_pause() -> None:
    """A hundred calls in flight when it opens are one outage."""
    broken = Broken()
    for _ in range(100):
        broken.breaker.fail()
    assert broken.pause() == 1.0
