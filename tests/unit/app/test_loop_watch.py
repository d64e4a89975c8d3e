"""The monitor of the event loop: the stalls that it keeps, and for how long."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.support.fakes import FakeClock
from webhook.app.loop_watch import INTERVAL, LONG, WINDOW, LoopWatch


def test_longest_stall_is_kept_for_one_to_two_windows() -> None:
    """A scrape each minute sees every stall, and none stays without end."""
    clock = FakeClock()
    watch = LoopWatch(clock)
    watch.record(0.3)
    watch.record(0.1)
    seen = [watch.longest]
    for _ in range(3):
        clock.tick(WINDOW)
        seen.append(watch.longest)
    assert seen == [0.3, 0.3, 0.0, 0.0]


def test_longest_stall_expires_after_two_windows_without_records() -> None:
    """Two windows without a record are empty."""
    clock = FakeClock()
    watch = LoopWatch(clock)
    watch.record(0.3)
    clock.tick(2 * WINDOW)
    assert watch.longest == 0.0


def test_long_stall_is_logged_once_per_window(caplog: pytest.LogCaptureFixture) -> None:
    """The log reports it even without scraping."""
    clock = FakeClock()
    watch = LoopWatch(clock)
    with caplog.at_level(logging.WARNING):
        watch.record(LONG - 0.01)
        watch.record(2.345)
        watch.record(3.0)
        clock.tick(WINDOW)
        watch.record(1.5)
    assert [(record.message, vars(record)["seconds"]) for record in caplog.records] == [
        ("the event loop was blocked: no request was answered", 2.35),
        ("the event loop was blocked: no request was answered", 1.5),
    ]


def test_late_wakeup_is_recorded_as_stall() -> None:
    """By the clock, regardless of the processor time."""
    clock = FakeClock()
    watch = LoopWatch(clock)

    class Late(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            clock.tick((timeout or 0.0) + 0.4)
            return watch.longest > 0

    watch.run(Late())
    assert watch.longest == pytest.approx(0.4)


def test_lost_time_is_sum_of_all_stalls() -> None:
    """Many short stalls cost a call as much as a long one; an early wake-up costs nothing."""
    watch = LoopWatch(FakeClock())
    for seconds in (0.1, -0.01, 0.2):
        watch.record(seconds)
    assert watch.blocked == pytest.approx(0.3)


def test_current_stall_is_included_in_lost_time() -> None:
    """The reader may be the first to run after it."""
    clock = FakeClock()
    watch = LoopWatch(clock)

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            clock.tick(INTERVAL)
            on_time.append(watch.blocked)
            clock.tick(0.4)
            during.append(watch.blocked)
            return len(during) == 2

    on_time: list[float] = []
    during: list[float] = []
    watch.run(Stop())
    assert on_time == pytest.approx([0.0, 0.4])
    assert during == pytest.approx([0.4, 0.8])
