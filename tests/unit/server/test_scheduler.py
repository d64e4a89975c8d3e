"""The scheduler: sockets are polled in each pass, and queues of greenlets run in turn."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gevent
from gevent.event import Event
from gevent.socket import wait_read
from gevent.threadpool import ThreadPool

from tests.support.builders import registry
from tests.support.fakes import FakeClock, FakeTrustSource, RecorderSpy
from webhook.deadlines import Deadline, LargeWork
from webhook.server.scheduler import ITERATION_BUDGET, QUEUE_BUDGET, FairScheduler, WaitReason
from webhook.trust.lookup import LookupRequest, TrustLookup
from webhook.trust.records import TrustQuery, TrustStatus
from webhook.trust.settings import CacheSettings, LookupSettings

WORK = 0.003
"""Seconds of each piece of work, by a clock that only work advances."""

GUARD = 20.0
"""Seconds after which a blocked loop fails the test."""

CROWD = 200


class Loop:
    """A loop in its own thread, and a record of the work between its polls."""

    def __init__(self) -> None:
        self.now = 100.0
        self.scheduler = FairScheduler(lambda: self.now)
        self.done: list[tuple[str, int]] = []

    def run(self, main: Callable[[Loop], Any]) -> list[tuple[str, int]]:
        """Run ``main`` in the loop; return the record."""
        failures: list[BaseException] = []

        def run() -> None:
            try:
                self.scheduler.start()
                with gevent.Timeout(GUARD):
                    gevent.spawn(main, self).get()
            except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
                failures.append(error)
            finally:
                gevent.get_hub().destroy()

        pool = ThreadPool(1)
        pool.apply(run)
        pool.kill()
        if failures:
            raise failures[0]
        return self.done

    def work(self, name: str, reason: WaitReason = WaitReason.ARRIVED) -> None:
        """Wait for a turn and work."""
        self.scheduler.checkpoint(reason)
        self.now += WORK
        self.done.append((name, self.scheduler.iterations))

    def wake(self, crowd: Sequence[Callable[[], None]]) -> list[gevent.Greenlet]:
        """Wake all of these in one pass; those that share a socket, when it is readable."""
        near, far = socket.socketpair()
        sitting = [gevent.spawn(lambda do=do: (wait_read(far.fileno()), do())) for do in crowd]
        gevent.sleep(0.01)
        near.send(b"x")
        self._sockets = near, far
        return sitting


def by_look(done: list[tuple[str, int]]) -> Counter[int]:
    """Return the amount of work after each poll."""
    return Counter(look for _, look in done)


def test_turns_without_loop_do_not_wait() -> None:
    """The command line has no loop that would wake it."""
    scheduler = FairScheduler()
    for reason in WaitReason:
        scheduler.checkpoint(reason)


def test_simultaneous_wakeups_are_spread_over_many_passes() -> None:
    """Fault C3: 1,400 small reviews that arrived, or reached their deadlines, together stalled the loop for a
    second.
    """

    def main(loop: Loop) -> None:
        crowd = [partial(loop.work, str(number)) for number in range(CROWD)]
        gevent.joinall(loop.wake(crowd))

    done = Loop().run(main)
    assert len({name for name, _ in done}) == CROWD
    assert max(by_look(done).values()) <= ITERATION_BUDGET / WORK + 1


def test_simultaneous_timeouts_of_large_work_are_spread_over_passes() -> None:
    """Fault C3: hundreds of large reviews reached their deadlines together, and were denied within one
    pass.
    """

    def main(loop: Loop) -> None:
        work = LargeWork(lambda: loop.scheduler.checkpoint(WaitReason.WOKEN))

        def time_out(number: int) -> None:
            with work.piece(Deadline.after(0)) as granted:
                assert not granted
                loop.now += WORK
                loop.done.append((str(number), loop.scheduler.iterations))

        with work.piece(Deadline.after(GUARD)):
            crowd = [partial(time_out, number) for number in range(CROWD)]
            gevent.joinall(loop.wake(crowd))

    done = Loop().run(main)
    assert len({name for name, _ in done}) == CROWD
    assert max(by_look(done).values()) <= ITERATION_BUDGET / WORK + 1


def test_queued_greenlets_resume_in_order() -> None:
    """For half of a pass after each poll, so that each greenlet runs eventually."""

    def main(loop: Loop) -> None:
        def do(number: int) -> None:
            loop.scheduler.wait(WaitReason.PIPELINED)
            loop.now += WORK
            loop.done.append((str(number), loop.scheduler.iterations))

        gevent.joinall([gevent.spawn(do, number) for number in range(CROWD)])

    done = Loop().run(main)
    assert [name for name, _ in done] == [str(number) for number in range(CROWD)]
    assert max(by_look(done).values()) <= QUEUE_BUDGET / WORK + 1


def test_sockets_and_timers_are_served_between_queued_greenlets() -> None:
    """A new event is seen after the next poll, and not after the whole queue."""

    def main(loop: Loop) -> None:
        near, far = socket.socketpair()

        def listen() -> None:
            wait_read(far.fileno())
            loop.work("new")

        def crowd(number: int) -> None:
            loop.scheduler.wait(WaitReason.PIPELINED)
            loop.now += WORK
            if number == CROWD // 2:
                near.send(b"x")
                gevent.spawn_later(0, loop.work, "due")
                loop.done.append(("sent", loop.scheduler.iterations))

        listener = gevent.spawn(listen)
        gevent.sleep(0.01)
        gevent.joinall([listener, *(gevent.spawn(crowd, number) for number in range(CROWD))])
        loop.done.append(("all", loop.scheduler.iterations))
        near.close()
        far.close()

    done = dict(Loop().run(main))
    assert done["new"] <= done["sent"] + 3
    assert done["due"] <= done["all"]
    assert done["all"] > done["sent"] + 5


def test_queues_of_greenlets_are_served_round_robin() -> None:
    """Fault C3: a single review waits with its own kind, and not behind clients that pipeline requests."""

    def main(loop: Loop) -> None:
        def do(name: str, reason: WaitReason) -> None:
            loop.scheduler.wait(reason)
            loop.now += WORK
            loop.done.append((name, loop.scheduler.iterations))

        crowd = [gevent.spawn(do, "again", WaitReason.PIPELINED) for _ in range(CROWD)]
        crowd += [gevent.spawn(do, "arrived", WaitReason.ARRIVED) for _ in range(CROWD)]
        gevent.joinall([*crowd, gevent.spawn(do, "woken", WaitReason.WOKEN)])

    names = [name for name, _ in Loop().run(main)]
    assert names.index("woken") < CROWD // 4
    assert names[: CROWD // 2].count("arrived") >= CROWD // 8
    assert names[: CROWD // 2].count("again") >= CROWD // 8


def test_killed_greenlet_does_not_block_its_queue() -> None:
    """Its connection may have ended."""

    def main(loop: Loop) -> None:
        def do(name: str) -> None:
            loop.scheduler.wait(WaitReason.ARRIVED)
            loop.done.append((name, loop.scheduler.iterations))

        first, second = gevent.spawn(do, "first"), gevent.spawn(do, "second")
        started = Event()
        gevent.spawn(started.set)
        started.wait()
        first.kill(block=False)
        gevent.joinall([first, second])

    assert [name for name, _ in Loop().run(main)] == ["second"]


def test_loop_without_queued_greenlets_is_idle() -> None:
    """After the last one has run, the loop waits for its sockets again."""

    def main(loop: Loop) -> None:
        gevent.joinall([gevent.spawn(loop.scheduler.wait, WaitReason.PIPELINED) for _ in range(10)])
        gevent.sleep(0.01)
        before = loop.scheduler.iterations
        gevent.sleep(0.1)
        loop.done.append(("looks", loop.scheduler.iterations - before))

    ((_, looks),) = Loop().run(main)
    assert looks < 20


def test_woken_review_takes_turn_without_lock() -> None:
    """Fault C3: no lock is held during the wait, because others need it; a cached answer needs no turn
    here.
    """
    clock = FakeClock()
    source = FakeTrustSource({"shop/web:1.0": TrustStatus.TRUSTED}, clock)
    locked: list[bool] = []
    lookup: TrustLookup = TrustLookup(
        source,
        CacheSettings(),
        LookupSettings(),
        RecorderSpy(),
        clock,
        checkpoint=lambda: locked.append(lookup._lock.locked()),
    )
    question = LookupRequest(TrustQuery(registry(), "shop", "web", "1.0"))
    for _ in range(2):
        lookup.look_up([question], Deadline.after(GUARD))
    assert locked == [False]
