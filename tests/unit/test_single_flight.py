"""Single flight: concurrent callers of the same key share one call."""

from __future__ import annotations

import threading

import pytest
from gevent import GreenletExit

from webhook.deadlines import spawn
from webhook.single_flight import SharedCall, SingleFlight


def test_callers_share_one_call() -> None:
    """The first one makes the call, the others wait; another key is another call."""
    calls: SingleFlight[int] = SingleFlight()
    release = threading.Event()
    made: list[str] = []

    def work() -> int:
        made.append("call")
        release.wait(10)
        return len(made)

    shared = [calls.call("key", work, background="call") for _ in range(5)]
    other = calls.call("other", lambda: 7)
    assert other.value == 7
    assert not shared[0].wait(0.01)
    release.set()
    assert all(call.wait(10) for call in shared)
    assert [call.value for call in shared] == [1] * 5


def test_value_is_not_kept() -> None:
    """Caching is the caller's decision."""
    calls: SingleFlight[list[int]] = SingleFlight()
    assert calls.call("key", lambda: [1]).value == [1]
    assert calls.find("key") is None
    assert calls.call("key", lambda: [2]).value == [2]


def test_error_reaches_every_waiter() -> None:
    """For any exception."""
    calls: SingleFlight[int] = SingleFlight()

    def fail() -> int:
        raise KeyError("x")

    call = calls.call("key", fail)
    assert (call.value, type(call.error)) == (None, KeyError)


def test_interrupted_call_releases_its_waiters() -> None:
    """The calling greenlet may be killed; its waiters must not wait without end."""
    calls: SingleFlight[int] = SingleFlight()
    waiting: list[SharedCall[int]] = []

    def be_interrupted() -> int:
        spawn(lambda: waiting.append(calls.call("key", lambda: 1)), "joins").join(10)
        raise GreenletExit

    with pytest.raises(GreenletExit):
        calls.call("key", be_interrupted)
    assert waiting[0].wait(0)
    assert isinstance(waiting[0].error, RuntimeError)
    assert calls.find("key") is None
