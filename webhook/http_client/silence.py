"""Detects whether an endpoint responds to no call at all, or only not to calls about one image.

A registry, or a firewall in front of it, may be slow about a name that the author of a Pod chose. The timeout
of such a call does not prove anything about the endpoint. So control requests about a random image are sent
while a call waits. The first one is sent if the endpoint has not responded to any call for a quarter of
``lookup.timeout``, and a second one soon after. A single response may be lost, and an author may retry until
that happens.

The endpoint is silent if it responds neither to them nor to any other call for half of ``lookup.timeout``.
The bytes of a large response that is still arriving count as a response.

All these times are shares of ``lookup.timeout``, not of what is left of it when a call begins. Earlier calls
of the same lookup and waits for our own limits use a part, which an author can cause. So a call that begins
late needs the same proof. If the endpoint has not responded before either, its control requests are sent as
early as if it had begun with its lookup.
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
"""The share of the time of a lookup without any response after which a control request is sent."""

NEXT_CONTROL_DELAY: Final = 1 / 12
"""The share of that time after which the next control request is sent, up to ``SAMPLES``."""

SAMPLES: Final = 2
"""Concurrent control requests without a response that show a silent endpoint."""

SILENT: Final = 1 / 2
"""The share of that time without any response after which the endpoint is silent."""

SHORTEST: Final = 1.0
"""Minimum seconds of a lookup in the shares above."""

ALIVE: Final = 64 * 1024
"""Bytes of responses, complete or not, that show that an endpoint is not down."""

SendControl = Callable[[Deadline, Callable[[], None]], None]
"""Calls its second argument, sends a control request by a deadline, and returns if there is a response.

It may take several calls, and calls its second argument before each of them: only the last one waits."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A call that waits for its response since ``began`` (monotonic), for at most ``seconds``.

    ``full`` is the time in seconds that its lookup takes at most, and so the time of a control request.
    """

    began: float
    seconds: float
    full: float
    send_control: SendControl
    on_response: Callable[[], None]

    @property
    def control_due(self) -> float:
        """When a control request may be sent (monotonic), as for a call that began with its lookup."""
        return self.began + max(0.0, self.seconds - self.full * (1 - CONTROL_DELAY))


class Silence:
    """Watches the calls to one endpoint."""

    def __init__(self, received: Callable[[], int]) -> None:
        """``received`` returns the bytes of responses that the endpoint has sent so far."""
        self._received = received
        self._lock = threading.Lock()
        self._waiting: dict[_Waiting, None] = {}
        self._watchers = 0
        self._responded_at = self._tried_at = float("-inf")
        self._tried = 0
        """The number of control requests since the last response."""
        self._unanswered: list[float] = []
        """The times of the first ``SAMPLES`` control requests since the last response."""
        self._bytes = 0
        self._next_due = float("-inf")
        """When the watchers send the next control request."""
        self._earlier = threading.Event()
        """Set when a call begins whose control request is due before that."""

    @contextmanager
    def watch(
        self,
        deadline: Deadline,
        send_control: SendControl,
        on_response: Callable[[], None],
        *,
        timeout: float = 0.0,
        in_doubt: bool = False,
    ) -> Iterator[None]:
        """Set the fault of a timeout in the block, which is a call.

        ``timeout`` is that of the lookup, of which a part may be over. ``send_control`` is called by up to
        ``SAMPLES`` other threads. ``on_response`` is called if there is a response to one while this call
        waits. If the call is ``in_doubt``, the first control request is sent at once.
        """
        seconds = deadline.remaining()
        full = max(timeout, seconds, SHORTEST)
        call = _Waiting(time.monotonic(), seconds, full, send_control, on_response)
        with self._lock:
            self._waiting[call] = None
            begin, self._watchers = SAMPLES - self._watchers, SAMPLES
            if in_doubt:
                self._begin_control()
            if self._control_due(call) < self._next_due:
                self._earlier.set()
                self._earlier = threading.Event()
        for _ in range(begin):
            spawn(self._watch, "silence")
        if in_doubt:
            spawn(lambda: self._send_control(call), "control")
        try:
            yield
        except LookupTimeout as error:
            if error.fault is not Fault.REGISTRY:
                raise
            error.is_proven = self._is_silent_to(call)
            if error.is_proven:
                raise
            if self._responded_at > call.began:
                on_response()
                detail = f"{error.detail}, and answers about other images"
                raise LookupTimeout(detail, fault=Fault.IMAGE) from None
            detail = f"{error.detail}; whether it answers about other images is not known"
            raise LookupTimeout(detail, fault=Fault.LOCAL) from None
        finally:
            with self._lock:
                del self._waiting[call]

    def record_answer(self) -> None:
        """Record a response of the endpoint."""
        with self._lock:
            self._responded_at, self._tried = time.monotonic(), 0
            self._unanswered.clear()

    def _begin_control(self) -> None:  # under the lock
        self._tried_at = time.monotonic()
        self._tried += 1

    def _record_control(self, earlier: float | None) -> float:
        """Record a call of a control request, and return its time; ``earlier`` is that of the one before.

        It replaces that one, unless a response has ended it: a control request is one sample, and waits for
        a response since its last call.
        """
        with self._lock:
            now = time.monotonic()
            if earlier in self._unanswered:
                self._unanswered.remove(earlier)
            elif earlier is not None:
                return earlier
            if not self._unanswered:
                self._bytes = self._received()
            if len(self._unanswered) < SAMPLES:
                self._unanswered.append(now)
            return now

    def _is_silent_to(self, call: _Waiting) -> bool:
        with self._lock:
            if len(self._unanswered) < SAMPLES or self._received() - self._bytes >= ALIVE:
                return False
            return time.monotonic() - max(self._unanswered[-1], call.began) >= call.full * SILENT

    def _watch(self) -> None:
        """Send control requests while calls wait without any response, together with the other watchers."""
        while (waits := self._next_wait()) is not None:
            seconds, call, earlier = waits
            if seconds > 0:
                earlier.wait(seconds)
            else:
                self._send_control(call)

    def _next_wait(self) -> tuple[float, _Waiting, threading.Event] | None:
        """Return the seconds until a control request is due, for which call, and what ends this wait.

        If it is due now, the caller sends it; ``None`` ends the watcher.
        """
        with self._lock:
            if not self._waiting:
                self._watchers -= 1
                self._tried = 0
                self._unanswered.clear()
                return None
            call = min(self._waiting, key=self._control_due)
            self._next_due = self._control_due(call)
            seconds = self._next_due - time.monotonic()
            if seconds <= 0:
                self._begin_control()
            return seconds, call, self._earlier

    def _control_due(self, call: _Waiting) -> float:
        """Return when a control request for a call may be sent (monotonic)."""
        quiet_since = max(self._responded_at, self._tried_at)
        if 0 < self._tried < SAMPLES:
            return max(quiet_since, call.began) + call.full * NEXT_CONTROL_DELAY
        return max(quiet_since + call.full * CONTROL_DELAY, call.control_due)

    def _send_control(self, call: _Waiting) -> None:
        began = time.monotonic()
        with self._lock:
            if self._received() - self._bytes >= ALIVE:
                self._unanswered.clear()  # count from here again
        sent_at: float | None = None

        def record() -> None:
            nonlocal sent_at
            sent_at = self._record_control(sent_at)

        try:
            call.send_control(Deadline.after(call.full), record)
        except TrustLookupError as error:
            was_sent = error.fault is Fault.REGISTRY
        except Exception:
            logger.exception("a control request failed")
            was_sent = False
        else:
            was_sent = True
        with self._lock:
            if not was_sent:
                self._unanswered.clear()
            waiting = list(self._waiting) if self._responded_at >= began else []
        for other in waiting:
            other.on_response()
