"""Whether an endpoint is silent whoever asks, or only about what one image's author chose.

A call that gets no answer may be about a name that SWR, or a firewall before it, is slow about: then its
timeout says nothing about the endpoint. So where a call waits and nothing has been heard for a quarter of its
time, a control request about an image that nobody chose is sent beside it, and soon a second one: now and
then one is lost by itself, and an author may ask until that happens. The endpoint is silent if neither is
answered, nor any other call, for half of the time that the call had. An answer that is so large that it is
still arriving is no silence: its bytes count.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from webhook.deadlines import Deadline, spawn
from webhook.errors import Fault, LookupTimeout, TrustLookupError

CONTROL_DELAY: Final = 1 / 4
"""The share of a call's time after which a control request is sent, where nothing is heard meanwhile."""

HESITATION: Final = 1 / 12
"""The share of a call's time after which the next one is sent, until there are ``SAMPLES``."""

SAMPLES: Final = 2
"""Control requests, side by side, that are not answered by an endpoint that is silent."""

SILENT: Final = 1 / 2
"""The share of a call's time for which nobody is answered where the endpoint is silent."""

SHORTEST: Final = 1.0
"""Seconds of a control request at least: the calls of a lookup that has begun long ago have less."""

ALIVE: Final = 64 * 1024
"""Bytes of answers, complete or not, that an endpoint does not send which is down."""

Ask = Callable[[Deadline, Callable[[], None]], None]
"""Sends a control request by a deadline, having called its second argument; returns if it was answered."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A call that waits for its answer since ``began`` (monotonic), for at most ``seconds``."""

    began: float
    seconds: float
    ask: Ask
    hear: Callable[[], None]

    @property
    def seconds_of_control(self) -> float:
        """The time that a control request beside it has."""
        return max(self.seconds, SHORTEST)


class Silence:
    """Watches the calls to one endpoint; thread-safe."""

    def __init__(self, received: Callable[[], int]) -> None:
        """``received`` returns how many bytes of answers the endpoint has sent so far."""
        self._received = received
        self._lock = threading.Lock()
        self._waiting: dict[_Waiting, None] = {}
        self._watchers = 0
        self._heard_at = self._tried_at = float("-inf")
        self._tried = 0
        """How many control requests were begun since something was heard."""
        self._unanswered: list[float] = []
        """When the first ``SAMPLES`` control requests were sent since which nothing has been heard."""
        self._bytes = 0

    @contextmanager
    def watch(
        self,
        deadline: Deadline,
        ask: Ask,
        hear: Callable[[], None],
        *,
        in_doubt: bool = False,
    ) -> Iterator[None]:
        """Say of a timeout in the block, which is a call, whose fault it is.

        ``ask`` is called from other threads, by ``SAMPLES`` at a time. ``hear`` is called once it was
        answered while this call waits. The first control request is sent at once where it is ``in_doubt``.
        """
        call = _Waiting(time.monotonic(), deadline.remaining(), ask, hear)
        with self._lock:
            self._waiting[call] = None
            begin, self._watchers = SAMPLES - self._watchers, SAMPLES
            if in_doubt:
                self._begin_control()
        for _ in range(begin):
            spawn(self._watch, "silence")
        if in_doubt:
            spawn(lambda: self._ask(call), "control")
        try:
            yield
        except LookupTimeout as error:
            if error.fault is not Fault.REGISTRY or self._is_silent_to(call):
                raise
            if self._heard_at > call.began:
                hear()
                detail = f"{error.detail}, and answers about other images"
                raise LookupTimeout(detail, fault=Fault.IMAGE) from None
            detail = f"{error.detail}; whether it answers about other images is not known"
            raise LookupTimeout(detail, fault=Fault.LOCAL) from None
        finally:
            with self._lock:
                del self._waiting[call]

    def record_answer(self) -> None:
        """Record that the endpoint has answered something."""
        with self._lock:
            self._heard_at, self._tried = time.monotonic(), 0
            self._unanswered.clear()

    def _begin_control(self) -> None:  # under the lock
        self._tried_at = time.monotonic()
        self._tried += 1

    def _record_control(self) -> None:
        with self._lock:
            if not self._unanswered:
                self._bytes = self._received()
            if len(self._unanswered) < SAMPLES:
                self._unanswered.append(time.monotonic())

    def _is_silent_to(self, call: _Waiting) -> bool:
        with self._lock:
            if len(self._unanswered) < SAMPLES or self._received() - self._bytes >= ALIVE:
                return False
            return time.monotonic() - max(self._unanswered[-1], call.began) >= call.seconds * SILENT

    def _watch(self) -> None:
        """Send control requests for as long as calls wait and nothing is heard, beside the other watchers."""
        while (waits := self._next_wait()) is not None:
            seconds, call = waits
            if seconds > 0:
                time.sleep(seconds)
            else:
                self._ask(call)

    def _next_wait(self) -> tuple[float, _Waiting] | None:
        """Return the oldest call, and in how many seconds a control request is due for it.

        Whoever is told that it is due now sends it; ``None`` ends the watcher.
        """
        with self._lock:
            call = next(iter(self._waiting), None)
            if call is None:
                self._watchers -= 1
                self._tried = 0
                self._unanswered.clear()
                return None
            share = HESITATION if 0 < self._tried < SAMPLES else CONTROL_DELAY
            quiet_since = max(call.began, self._heard_at, self._tried_at)
            seconds = quiet_since + call.seconds_of_control * share - time.monotonic()
            if seconds <= 0:
                self._begin_control()
            return seconds, call

    def _ask(self, call: _Waiting) -> None:
        began = time.monotonic()
        with self._lock:
            if self._received() - self._bytes >= ALIVE:
                self._unanswered.clear()  # to be seen anew from here
        is_recorded = False

        def record() -> None:  # of two calls that stand for one control request, the first counts
            nonlocal is_recorded
            if not is_recorded:
                is_recorded = True
                self._record_control()

        try:
            call.ask(Deadline.after(call.seconds_of_control), record)
        except TrustLookupError as error:
            was_asked = error.fault is Fault.REGISTRY
        except Exception:
            logger.exception("a control request failed")
            was_asked = False
        else:
            was_asked = True
        with self._lock:
            if not was_asked:
                self._unanswered.clear()
            waiting = list(self._waiting) if self._heard_at >= began else []
        for other in waiting:
            other.hear()
