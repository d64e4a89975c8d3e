"""Slow work of lookups: one piece at a time, in turns, and nothing after its deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

import gevent
import pytest

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout
from webhook.evidence.slow_work import SlowQueue, run_here

T = TypeVar("T")


class Work:
    """A queue whose pieces end when the test says so, one after the other."""

    def __init__(self) -> None:
        self.queue = SlowQueue(self._run)
        self.done: list[str] = []
        self.running = 0
        self._next = threading.Semaphore(0)
        self.callers: list[gevent.Greenlet] = []

    def _run(self, work: Callable[[], T]) -> T:
        self.running += 1
        assert self.running == 1
        self._next.acquire()
        self.running -= 1
        return work()

    def start(self, name: str, tenant: Hashable = "shop", seconds: float = 10.0) -> gevent.Greenlet:
        """Start a caller with one piece of work."""

        def run() -> str:
            self.done.append(name)
            return name

        caller = gevent.spawn(self.queue.run, run, Deadline.after(seconds), tenant)
        self.callers.append(caller)
        gevent.sleep(0)
        return caller

    def finish(self) -> list[str]:
        """Let all pieces end; return the names of those that were run."""
        for _ in self.callers:
            self._next.release()
        gevent.joinall(self.callers, timeout=5)
        assert all(caller.ready() for caller in self.callers)
        return self.done


def test_result_and_error_are_those_of_the_work() -> None:
    queue = SlowQueue(lambda work: work())
    for run in (queue.run, run_here):
        assert run(lambda: 6 * 7, Deadline.after(1), "shop") == 42
        with pytest.raises(ZeroDivisionError):
            run(lambda: 1 / 0, Deadline.after(1), "shop")


def test_tenants_take_turns() -> None:
    """Many images of one organization delay another one by one piece of work."""
    work = Work()
    for number in range(5):
        work.start(f"evil {number}", "evil")
    work.start("good 0", "good")
    work.start("good 1", "good")
    work.start("other 0", "other")
    assert work.finish() == [
        "evil 0", "evil 1", "good 0", "other 0", "evil 2", "good 1", "evil 3", "evil 4",
    ]  # fmt: skip


def test_callers_of_one_tenant_take_turns() -> None:
    """Each signature of a lookup is a piece of work."""
    work = Work()

    def verify(name: str) -> None:
        for number in range(3):
            work.queue.run(lambda: work.done.append(f"{name}{number}"), Deadline.after(10), "shop")  # noqa: B023

    for name in "ab":
        work.callers += [gevent.spawn(verify, name)]
    gevent.sleep(0)
    work.callers *= 3
    assert work.finish() == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_work_that_waits_ends_at_its_deadline_and_is_not_run() -> None:
    """Nobody waits for it any longer."""
    work = Work()
    work.start("running")
    late, kept = work.start("late", seconds=0.05), work.start("kept")
    began = time.monotonic()
    with pytest.raises(LookupTimeout, match="no time was left to verify signatures") as caught:
        late.get(timeout=5)
    assert caught.value.fault is Fault.LOCAL
    assert time.monotonic() - began < 1
    assert work.finish() == ["running", "kept"]
    assert kept.value == "kept"


def test_work_without_time_does_not_begin() -> None:
    queue = SlowQueue(lambda work: work())
    with pytest.raises(LookupTimeout):
        queue.run(lambda: 1, Deadline.after(0), "shop")
    assert queue.run(lambda: 1, Deadline.after(1), "shop") == 1


def test_caller_that_is_interrupted_leaves_the_queue() -> None:
    """Also at the moment of its turn."""
    work = Work()
    first, waiting, last = work.start("first"), work.start("waiting"), work.start("last", "other")
    waiting.kill()
    assert work.finish() == ["first", "last"]
    assert (first.value, last.value) == ("first", "last")
    assert work.queue.run(lambda: 1, Deadline.after(1), "shop") == 1


def test_turn_that_comes_with_the_interruption_is_passed_on() -> None:
    """Otherwise nothing would ever run again."""
    work = Work()

    def interrupt() -> None:
        waiting.kill(block=False)

    work.callers.append(gevent.spawn(work.queue.run, interrupt, Deadline.after(5), "shop"))
    gevent.sleep(0)
    waiting, last = work.start("waiting"), work.start("last")
    assert work.finish() == ["last"]
    assert last.value == "last"


def test_failure_of_the_work_passes_the_turn_on() -> None:
    work = Work()
    failing = gevent.spawn(work.queue.run, lambda: 1 / 0, Deadline.after(5), "shop")
    work.callers.append(failing)
    work.start("after")
    assert work.finish() == ["after"]
    assert isinstance(failing.exception, ZeroDivisionError)
