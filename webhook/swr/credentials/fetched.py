"""Secrets that are fetched and expire: tokens from IAM, temporary keys from STS and Pod Identity.

There is one fetch at a time, shared by all callers. A secret is refreshed in the background well before it
expires, while it is still used, and is replaced atomically.
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
"""Seconds for one fetch, independent of the deadlines of its callers."""

REFRESH_SHARE: Final = 0.2
"""The share of a secret's lifetime that is left when it is refreshed, with a jitter of 50 %."""

BACK_OFF: Final = 2.0
"""Seconds after a failed fetch in which its error is returned instead of fetching again."""

SKEW: Final = 60.0
"""Seconds before its expiry from which a secret is no longer used, because clocks differ."""

SecretT = TypeVar("SecretT")


@dataclass(frozen=True, slots=True)
class Fetched(Generic[SecretT]):
    """A secret with its expiry in epoch seconds."""

    secret: SecretT = field(repr=False)
    expires_at: float


class FetchedSecret(Generic[SecretT]):
    """Implements ``SecretSource`` by a fetch function."""

    def __init__(
        self,
        kind: str,
        fetch: Callable[[Deadline], Fetched[SecretT]],
        inputs: Callable[[], Hashable],
        pause: Pause,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Fetch with ``fetch``; ``inputs()`` identifies what it logs in with, such as its password file.

        After a failed login there is a pause, until ``inputs`` change or the pause ends.
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
        """Return a valid secret, fetching one if necessary."""
        with self._lock:
            held = self._held
            now = self._clock()
            usable = held is not None and now < held.expires_at - SKEW
            fetch = self._start() if not usable or now >= self._refresh_at else None
            if usable and held is not None:
                return held.secret, self._generation
            if fetch is None:
                raise self._failure()
        if not fetch.wait(deadline.remaining()):
            raise LookupTimeout(f"no {self._kind} credential was fetched in time", fault=self._fault())
        if fetch.error is not None:
            raise fetch.error
        with self._lock:
            assert self._held is not None
            return self._held.secret, self._generation

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Discard a rejected secret; return whether another one may be fetched.

        A secret that was fetched after a rejection, and that SWR has not accepted since, is not replaced at
        once, because that would be a loop. There is a new login after the pause, or with other inputs.
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
        """Record that the current secret was accepted: after a later rejection another one is fetched."""
        self._after_rejection = False

    def _start(self) -> SharedCall[None] | None:
        """Return the fetch in progress, or start one unless the last failure is too recent."""
        fetch = self._fetches.find(self._kind)
        if fetch is not None:
            return fetch
        if self._failed is not None and self._clock() - self._failed[0] < BACK_OFF:
            return None
        if self._pause.left(self._identify()):
            return None
        return self._fetches.call(self._kind, self._run, background=f"fetch-{self._kind}")

    def _failure(self) -> TrustLookupError:
        left = self._pause.left(self._identify())
        if left:
            return Unauthorized(
                f"the {self._kind} credential is paused for {left:.0f} s after a failed authentication",
                fault=self._pause.fault,
            )
        assert self._failed is not None
        return self._failed[1]

    def _fault(self) -> Fault:
        """Return the fault of a fetch that takes longer than a lookup waits.

        The author of a Pod may have caused the fetch, by an organization that the credential is refused for.
        So the fault is that of the previous fetch if it failed, and otherwise ``local``.
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
            # The author of a Pod cannot cause it, so trusted images may be served stale.
            failure = RegistryUnavailable(error.detail)
        except TrustLookupError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - waiters must get a result
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
