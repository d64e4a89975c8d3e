"""Whether an endpoint is silent whoever asks, or only about what one image's author chose.

A call that gets no answer may be about a name that SWR, or a firewall before it, is slow about: then its
timeout says nothing about the endpoint. So where a call waits and nothing has been heard for a third of its
time, a control request about an image that nobody chose is sent beside it. The endpoint is silent if that one
is not answered either, nor any other call, for half of the time that the call had. An answer that is so large
that it is still arriving is no silence: its bytes count.
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

PATIENCE: Final = 1 / 3
"""The share of a call's time after which a control request is sent, where nothing is heard meanwhile."""

SILENT: Final = 1 / 2
"""The share of a call's time for which nobody is answered where the endpoint is silent."""

SHORTEST: Final = 1.0
"""Seconds of a control request at least: the calls of a lookup that has begun long ago have less."""

ALIVE: Final = 64 * 1024
"""Bytes of answers, complete or not, that an endpoint does not send which is down."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A call that waits for its answer since ``began`` (monotonic), for at most ``seconds``."""

    began: float
    seconds: float
    ask: Callable[[Deadline], None]
    hear: Callable[[], None]

    @property
    def patience(self) -> float:
        """The seconds of silence after which a control request is sent."""
        return max(self.seconds, SHORTEST) * PATIENCE


class Silence:
    """Watches the calls to one endpoint; thread-safe."""

    def __init__(self, received: Callable[[], int]) -> None:
        """``received`` returns how many bytes of answers the endpoint has sent so far."""
        self._received = received
        self._lock = threading.Lock()
        self._waiting: dict[_Waiting, None] = {}
        self._is_watching = False
        self._heard_at = self._tried_at = float("-inf")
        self._silent_since: float | None = None
        """When the first control request was sent of those since which nothing has been heard."""
        self._bytes = 0

    @contextmanager
    def watch(
        self,
        deadline: Deadline,
        ask: Callable[[Deadline], None],
        hear: Callable[[], None],
        *,
        in_doubt: bool = False,
    ) -> Iterator[None]:
        """Say of a timeout in the block, which is a call, whose fault it is.

        ``ask`` sends a control request, having called ``record_question``, and returns whatever the answer
        is; it may be called from another thread. ``hear`` is called once it was answered while this call
        waits. It is sent at once where the endpoint is ``in_doubt``.
        """
        call = _Waiting(time.monotonic(), deadline.remaining(), ask, hear)
        with self._lock:
            self._waiting[call] = None
            begins, self._is_watching = not self._is_watching, True
        if begins:
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

    def record_question(self) -> None:
        """Record that a control request is sent now."""
        with self._lock:
            if self._silent_since is None:
                self._silent_since, self._bytes = time.monotonic(), self._received()

    def record_answer(self) -> None:
        """Record that the endpoint has answered something."""
        with self._lock:
            self._heard_at, self._silent_since = time.monotonic(), None

    def _is_silent_to(self, call: _Waiting) -> bool:
        with self._lock:
            since = self._silent_since
            if since is None or self._received() - self._bytes >= ALIVE:
                return False
            return time.monotonic() - max(since, call.began) >= call.seconds * SILENT

    def _watch(self) -> None:
        """Send control requests, one at a time, for as long as calls wait and nothing is heard."""
        while (waits := self._next_wait()) is not None:
            seconds, call = waits
            if seconds > 0:
                time.sleep(seconds)
            else:
                self._ask(call)

    def _next_wait(self) -> tuple[float, _Waiting] | None:
        """Return the oldest call, and in how many seconds a control request is due for it."""
        with self._lock:
            call = next(iter(self._waiting), None)
            if call is None:
                self._is_watching, self._silent_since = False, None
                return None
            quiet_since = max(call.began, self._heard_at, self._tried_at)
            return quiet_since + call.patience - time.monotonic(), call

    def _ask(self, call: _Waiting) -> None:
        with self._lock:
            self._tried_at = began = time.monotonic()
            if self._received() - self._bytes >= ALIVE:
                self._silent_since = None  # to be seen anew from here
        try:
            call.ask(Deadline.after(max(call.seconds, SHORTEST)))
        except TrustLookupError as error:
            was_asked = error.fault is Fault.REGISTRY
        except Exception:
            logger.exception("a control request failed")
            was_asked = False
        else:
            was_asked = True
        with self._lock:
            if not was_asked:
                self._silent_since = None
            waiting = list(self._waiting) if self._heard_at >= began else []
        for other in waiting:
            other.hear()
