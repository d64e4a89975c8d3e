"""The rate limiter: how often an endpoint is called, and its back-off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fakes import FakeClock
from webhook.deadlines import Deadline, spawn
from webhook.errors import Fault, Throttled
from webhook.trust.limiter import BURST_SECONDS, LONGEST_BACK_OFF, LONGEST_BLOCK, RateLimiter

RATE = 50.0


class Limited:
    """A limiter whose waits advance its clock."""

    def __init__(self, rate: float = RATE) -> None:
        self.clock = FakeClock(0.0)
        self.limiter = RateLimiter(rate, self.clock, self.clock.tick)

    def turn(self, seconds: float = 1e9, *, background: bool = False) -> float:
        """Take a token; return the time until it was available."""
        begun = self.clock.now
        self.limiter.wait(_Within(seconds), background=background)
        return self.clock.now - begun


class _Within(Deadline):
    """A deadline with a fixed remaining time, regardless of the real clock."""

    def remaining(self) -> float:
        return self.at


def test_burst_does_not_wait() -> None:
    """Four seconds' worth of cold lookups."""
    limited = Limited()
    assert [limited.turn() for _ in range(int(RATE * 0.9 * BURST_SECONDS))] == [0.0] * 180


def test_calls_after_burst_follow_rate() -> None:
    """A tenth of the rate is not for cold lookups."""
    limited = Limited()
    for _ in range(180 + 450):
        limited.turn()
    assert limited.clock.now == pytest.approx(10.0)


def test_background_calls_have_reserved_share_of_rate() -> None:
    """A flood of cold images leaves 5 of 50 calls per second to the images in use."""
    limited = Limited()
    for _ in range(180):
        limited.turn()
    assert limited.turn(background=True) == 0.0


def test_token_after_deadline_is_throttled_without_wait() -> None:
    """The caller fails without a wait, and the token stays available."""
    limited = Limited()
    for _ in range(180 + 45):
        limited.turn()
    before = limited.clock.now
    for _ in range(10):
        with pytest.raises(Throttled, match="our own rate limit is exceeded") as caught:
            limited.turn(0.01)
        assert caught.value.fault is Fault.LOCAL
    assert limited.clock.now == before
    assert limited.turn() == pytest.approx(1 / 45)


def test_requested_back_off_is_observed() -> None:
    """No call is sent for at least that time."""
    limited = Limited()
    limited.limiter.back_off(2.0)
    assert 2.0 <= limited.turn() <= 3.0


def test_requested_back_off_is_limited() -> None:
    """``Retry-After: 86400`` must not disable lookups for a day."""
    limited = Limited()
    limited.limiter.back_off(86400.0)
    assert LONGEST_BACK_OFF <= limited.turn() <= LONGEST_BACK_OFF * 1.5


@pytest.mark.parametrize("wish", [1.0, 86400.0])
def test_back_off_has_jitter(wish: float) -> None:
    """At any length: replicas that continue together would be throttled again."""
    pauses = set()
    for _ in range(20):
        limited = Limited()
        limited.limiter.back_off(wish)
        pauses.add(round(limited.turn(), 2))
    assert len(pauses) > 10


def test_back_off_beyond_deadline_is_reported_as_throttled_by_swr() -> None:
    """At once, and with that reason."""
    limited = Limited()
    limited.limiter.back_off(5.0)
    with pytest.raises(Throttled, match="SWR requested a pause") as caught:
        limited.turn(1.0)
    assert caught.value.fault is Fault.REGISTRY


def test_back_off_that_leaves_too_little_time_for_call_is_not_waited_for() -> None:
    """The call would end in a timeout, which says nothing about the back-off."""
    limited = Limited()
    limited.limiter.back_off(5.0)
    pause = limited.limiter._backoff_until - limited.clock.now
    with pytest.raises(Throttled, match="SWR requested a pause"):
        limited.turn(pause * 1.1)
    assert limited.turn(pause * 1.2) == pytest.approx(pause)


def test_token_that_leaves_too_little_time_for_call_is_not_waited_for() -> None:
    """The same for our own limit."""
    limited = Limited()
    for _ in range(180):
        limited.turn()
    with pytest.raises(Throttled, match="our own rate limit is exceeded"):
        limited.turn(1 / 45 * 1.1)
    assert limited.turn(1 / 45 * 1.2) == pytest.approx(1 / 45)


def test_back_off_without_retry_after_grows_until_success() -> None:
    """From half a second to ten, until a call is not throttled."""
    limited = Limited()
    pauses = []
    for _ in range(7):
        limited.limiter.back_off(None)
        pauses.append(limited.turn())
        limited.clock.tick(0.001)
    assert all(0.5 * 2**index <= pause for index, pause in enumerate(pauses[:5]))
    assert LONGEST_BACK_OFF <= pauses[-1] <= LONGEST_BACK_OFF * 1.5
    limited.limiter.reset_backoff()
    limited.limiter.back_off(None)
    assert limited.turn() < 1.0


def test_simultaneous_throttles_back_off_once() -> None:
    """Calls in flight together are throttled together."""
    limited = Limited()
    for _ in range(100):
        limited.limiter.back_off(None)
    assert limited.turn() < 1.0


def test_reserved_token_is_waited_for_once() -> None:
    """The call that gets it does not wait again."""
    limited = Limited()
    for _ in range(180):
        limited.limiter.reserve()
    assert (limited.clock.now, limited.limiter.has_token()) == (0.0, False)
    limited.limiter.reserve()
    assert limited.clock.now == pytest.approx(1 / 45)
    before = limited.clock.now
    limited.limiter.wait(_Within(0.0), reserved=True)
    assert limited.clock.now == before


def test_unused_reservation_returns_its_token() -> None:
    """For lookups without a call, or if SWR requested a back-off in the meantime."""
    limited = Limited()
    for _ in range(180):
        limited.limiter.reserve()
    limited.limiter.cancel()
    assert limited.limiter.has_token()
    limited.limiter.reserve()
    limited.limiter.back_off(5.0)
    assert limited.limiter.is_backing_off
    with pytest.raises(Throttled, match="SWR requested a pause"):
        limited.limiter.wait(_Within(1.0), reserved=True)
    assert limited.limiter.has_token()


def test_blocked_account_is_not_called_for_half_an_hour() -> None:
    """Fault D6: a second answer of a call in flight does not prolong the pause, and no shorter one
    ends it.
    """
    limited = Limited()
    pause = limited.limiter.block(LONGEST_BLOCK)
    assert LONGEST_BLOCK <= pause <= LONGEST_BLOCK * 1.1
    limited.clock.tick(60.0)
    assert limited.limiter.block(LONGEST_BLOCK) == pytest.approx(pause - 60)
    limited.limiter.back_off(1.0)
    limited.limiter.reset_backoff()
    with pytest.raises(Throttled, match=r"^SWR has blocked the account$") as caught:
        limited.turn(3.0)
    assert caught.value.fault is Fault.REGISTRY
    assert caught.value.retry_after == pytest.approx(pause - 60)


def test_block_is_limited_to_longest_block_of_swr() -> None:
    """A wrong length must not disable lookups for a day."""
    assert Limited().limiter.block(86400.0) <= LONGEST_BLOCK * 1.1


def test_blocked_account_gets_no_burst_after_the_pause() -> None:
    """Fault D6: 180 calls at once could get it blocked again."""
    limited = Limited()
    limited.clock.tick(limited.limiter.block(LONGEST_BLOCK))
    assert [limited.turn() > 0 for _ in range(3)] == [True, True, True]


def test_blocked_account_stays_blocked_under_another_rate() -> None:
    """Fault D6: a change of ``lookup`` in the policy causes no call to it."""
    limited = Limited()
    limited.limiter.block(LONGEST_BLOCK)
    limited.limiter.change_rate(RATE * 2)
    with pytest.raises(Throttled, match=r"^SWR has blocked the account$"):
        limited.turn(3.0)


def test_changed_rate_applies_to_next_calls() -> None:
    """The next burst and the calls after it have the new rate."""
    limited = Limited()
    limited.limiter.change_rate(10.0)
    assert [limited.turn() for _ in range(36)] == [0.0] * 36
    assert limited.turn() == pytest.approx(1 / 9)


def test_reservation_is_at_most_a_burst() -> None:
    """At a low rate, eight tokens are never there."""
    limited = Limited(1.0)
    assert limited.limiter.reserve(8) == 3
    assert limited.clock.now == 0.0
    limited.limiter.reserve(3)
    assert limited.clock.now == pytest.approx(2.4 / 0.9)


def test_back_off_that_begins_during_the_wait_for_a_token_is_observed() -> None:
    """The token stays available for a call that has more time."""
    limited = Limited()
    limited.limiter.reserve(180)

    def tick(seconds: float) -> None:
        limited.clock.tick(seconds)
        limited.limiter.back_off(5.0)

    limited.limiter._sleep = tick
    with pytest.raises(Throttled, match="SWR requested a pause"):
        limited.turn(3.0)
    assert limited.limiter.has_token()


def test_waiting_lookups_and_further_calls_are_served_in_turn() -> None:
    """Neither many lookups nor lookups with many calls keep the others from ending."""
    served: list[str] = []
    limiter = RateLimiter(200.0)

    def serve(name: str, act: Callable[[], object]) -> None:
        act()
        served.append(name)

    limiter.reserve(720)
    begun = [spawn(lambda: serve("lookup", lambda: limiter.reserve(4)), "lookup") for _ in range(10)]
    begun += [
        spawn(lambda: serve("call", lambda: limiter.wait(Deadline.after(9.0))), "call") for _ in range(10)
    ]
    for thread in begun:
        thread.join()
    assert served[:10].count("lookup") == pytest.approx(5, abs=2)
