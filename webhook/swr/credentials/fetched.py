"""Secrets that are fetched and expire: tokens from IAM, temporary keys from STS and Pod Identity.

One fetch at a time, shared by all who need it; refreshed in the background well before expiry, while
the secret at hand goes on being used; replaced as a whole, never in parts.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    TrustLookupError,
    Unauthorized,
)
from webhook.recorder import Recorder
from webhook.single_flight import SharedCall, SingleFlight
from webhook.swr.credentials.guard import Pause

FETCH_TIMEOUT: Final = 10.0
"""Seconds for one fetch, however long its callers can wait."""

REFRESH_SHARE: Final = 0.2
"""The share of its life before a secret's end in which it is refreshed, jittered to half of that."""

BACK_OFF: Final = 2.0
"""Seconds after a failed fetch in which its failure is shared instead of asking again."""

SKEW: Final = 60.0
"""Seconds before its end at which a secret is no longer used: clocks differ."""

SecretT = TypeVar("SecretT")


@dataclass(frozen=True, slots=True)
class Fetched(Generic[SecretT]):
    """A secret with its expiry in epoch seconds."""

    secret: SecretT = field(repr=False)
    expires_at: float


class FetchedSecret(Generic[SecretT]):
    """Implements ``SecretSource`` over a fetch function."""

    def __init__(
        self,
        kind: str,
        fetch: Callable[[Deadline], Fetched[SecretT]],
        inputs: Callable[[], Hashable],
        pause: Pause,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Fetch with ``fetch``; ``inputs()`` identifies what it logs in with, its password file say.

        A failed login pauses until ``inputs`` change or the pause is over.
        """
        self._kind = kind
        self._fetch = fetch
        self._inputs = inputs
        self._pause = pause
        self._recorder = recorder
        self._clock = clock
        self._lock = threading.Lock()
        self._held: Fetched[SecretT] | None = None
        self._generation = 0
        self._refresh_at = 0.0
        self._fetches: SingleFlight[None] = SingleFlight()
        self._failed: tuple[float, TrustLookupError] | None = None
        self._after_rejection = False

    def current(self, deadline: Deadline) -> tuple[SecretT, int]:
        """Return a secret that is still good, fetching one if need be."""
        with self._lock:
            held = self._held
            now = self._clock()
            usable = held is not None and now < held.expires_at - SKEW
            fetch = self._start() if not usable or now >= self._refresh_at else None
            if usable and held is not None:
                return held.secret, self._generation
            if fetch is None:
                raise self._refusal()
        if not fetch.wait(deadline.remaining()):
            raise LookupTimeout(f"no {self._kind} credential was fetched in time", fault=self._fault())
        if fetch.error is not None:
            raise fetch.error
        with self._lock:
            assert self._held is not None
            return self._held.secret, self._generation

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Give a rejected secret up; ``True`` if another one may be fetched.

        A secret that was itself fetched because the one before was rejected, and that nobody
        accepted since, is not replaced at once: that would be a loop. It is not used again either;
        after the pause, or with other inputs, there is a fresh login.
        """
        with self._lock:
            if generation != self._generation:
                return True
            identity = self._identify()
            if self._held is not None and self._after_rejection:
                self._pause.begin(identity, fault)
            self._held = None
            self._after_rejection = True
            return not self._pause.left(identity)

    def confirm(self) -> None:
        """Take note that the secret at hand was accepted: a later rejection is news again."""
        self._after_rejection = False

    def _start(self) -> SharedCall[None] | None:
        """Return the fetch under way, starting one unless the last failure is too fresh."""
        fetch = self._fetches.find(self._kind)
        if fetch is not None:
            return fetch
        if self._failed is not None and self._clock() - self._failed[0] < BACK_OFF:
            return None
        if self._pause.left(self._identify()):
            return None
        return self._fetches.call(self._kind, self._run, background=f"fetch-{self._kind}")

    def _refusal(self) -> TrustLookupError:
        left = self._pause.left(self._identify())
        if left:
            return Unauthorized(
                f"the {self._kind} credential is paused for {left:.0f} s after a failed authentication",
                fault=self._pause.fault,
            )
        assert self._failed is not None
        return self._failed[1]

    def _fault(self) -> Fault:
        """Return whose fault it is that a fetch takes longer than a lookup waits.

        The author of a Pod may have caused it, by an organisation that the credential is refused for. So it
        is that of the other side only if the fetch before has failed by it, and none has succeeded since.
        """
        with self._lock:
            return self._failed[1].fault if self._failed is not None else Fault.LOCAL

    def _identify(self) -> Hashable:
        try:
            return self._inputs()
        except OSError:
            return None

    def _run(self) -> None:
        identity = self._identify()
        fetched: Fetched[SecretT] | None = None
        failure: TrustLookupError | None = None
        try:
            fetched = self._fetch(Deadline.after(FETCH_TIMEOUT))
        except MalformedAnswer as error:
            # No author of a Pod can cause it, so what was trusted may stand in.
            failure = RegistryUnavailable(error.detail)
        except TrustLookupError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            failure = RegistryUnavailable(
                f"fetching the {self._kind} credential failed: {type(error).__name__}"
            )
        self._recorder.credential_fetched(self._kind, "ok" if failure is None else failure.reason)
        with self._lock:
            if fetched is not None:
                self._held = fetched
                self._generation += 1
                self._failed = None
                life = max(0.0, fetched.expires_at - self._clock())
                margin = life * REFRESH_SHARE * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
                self._refresh_at = fetched.expires_at - max(margin, SKEW)
                self._pause.end()
            elif failure is not None:
                self._failed = (self._clock(), failure)
                if isinstance(failure, Unauthorized):
                    self._pause.begin(identity)
        if failure is not None:
            raise failure
