"""Limits failed authentications.

IAM locks an account for 5 minutes after more than 5 failures in a row, counted over all replicas (API Request
Signing Guide, FAQ). After a failure, a credential is not used until it changes or a pause of 6 to 10 minutes
has passed. A credential that has not been accepted yet is used by one request at a time.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, Unauthorized
from webhook.http_client.messages import Authorization, HttpRequest
from webhook.recorder import Recorder
from webhook.swr.credentials.secrets import SecretSource

PAUSE_SECONDS: Final = (360.0, 600.0)
"""Range of the pause after a failure in seconds: longer than the lock, and different for each replica."""

NOTICE: Final = 0.2
"""Seconds after its deadline in which the request on trial reports its outcome."""

SecretT = TypeVar("SecretT")


@dataclass(slots=True, eq=False, repr=False)
class Pause:
    """A pause after a failed authentication. Its owner holds a lock."""

    kind: str
    recorder: Recorder
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[float, float], float] = random.uniform
    """Returns a length between two, in seconds."""
    fault: Fault = field(default=Fault.REGISTRY, init=False)
    """The fault of the failed authentication."""
    _until: float = field(default=float("-inf"), init=False)
    _of: object = field(default=None, init=False)

    def begin(self, of: object, fault: Fault = Fault.REGISTRY) -> None:
        """Pause the secret that ``of`` identifies."""
        self.fault = fault
        length = self.draw(*PAUSE_SECONDS)
        self._until, self._of = self.clock() + length, of
        self.recorder.credential_paused(self.kind, time.time() + length)

    def end(self) -> None:
        """End the pause, because the secret was accepted or has changed."""
        if self._of is not None:
            self._until, self._of = float("-inf"), None
            self.recorder.credential_paused(self.kind, 0.0)

    def left(self, of: object) -> float:
        """Return the seconds for which the secret ``of`` is still paused, 0.0 if it is not."""
        return self.remaining if self._of == of else 0.0

    @property
    def remaining(self) -> float:
        """The seconds for which any secret is still paused, 0.0 if none is."""
        return max(0.0, self._until - self.clock())


@dataclass(slots=True, eq=False)
class _Trial:
    """One request that tries a secret; ``unanswered`` is its error if SWR did not respond.

    ``ends`` is in monotonic seconds.
    """

    generation: int
    ends: float
    unanswered: LookupTimeout | None = None


class GuardedCredential(Generic[SecretT]):
    """Implements ``Credential`` by any source of secrets."""

    def __init__(
        self,
        kind: str,
        source: SecretSource[SecretT],
        apply: Callable[[SecretT, HttpRequest], Mapping[str, str]],
        pause: Pause,
        login_pause: Pause | None = None,
    ) -> None:
        """Authorize requests with ``apply``, which makes headers of a secret and a request.

        ``login_pause`` is the pause of what the secret is fetched with, if it is fetched.
        """
        self._kind = kind
        self._source = source
        self._apply = apply
        self._pause = pause
        self._login_pause = login_pause
        self._changed = threading.Condition()
        self._accepted = 0
        self._on_trial: _Trial | None = None

    @property
    def paused_for(self) -> float:
        """The seconds for which the secret, or what it is fetched with, is paused; see ``Credential``."""
        login = self._login_pause
        return max(self._pause.remaining, login.remaining if login is not None else 0.0)

    def authorize(self, request: HttpRequest, deadline: Deadline, trial: int | None = None) -> Authorization:
        """Return the headers for a request; see ``Credential``."""
        while True:
            secret, generation = self._source.current(deadline)
            if generation == trial or self._await_trial(generation, deadline):
                try:
                    return Authorization(self._apply(secret, request), generation)
                except BaseException:
                    self.release(generation)
                    raise

    def accept(self, generation: int) -> None:
        """Allow all requests to use a secret that was accepted."""
        if generation == self._accepted and self._on_trial is None:
            return
        with self._changed:
            self._accepted = max(self._accepted, generation)
            self._source.confirm()
            self._pause.end()
            self._end_trial(generation)

    def reject(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Pause a rejected secret unless there is another one; see ``Credential``."""
        renewed = self._source.renew(generation, fault)
        with self._changed:
            if self._accepted == generation:
                self._accepted = 0
            if not renewed:
                self._pause.begin(generation, fault)
            self._end_trial(generation)
        return renewed

    def release(self, generation: int, unanswered: LookupTimeout | None = None) -> None:
        """Let the next request try a secret whose trial ended without an outcome.

        If SWR did not respond for a full ``lookup.timeout``, requests that waited fail with the same error.
        """
        with self._changed:
            self._end_trial(generation, unanswered)

    def _await_trial(self, generation: int, deadline: Deadline) -> bool:
        """Return whether the request may be sent; ``False`` means to read the secret again."""
        with self._changed:
            left = self._pause.left(generation)
            if left:
                raise Unauthorized(
                    f"the {self._kind} credential is paused for {left:.0f} s after a failed authentication",
                    fault=self._pause.fault,
                )
            if generation == self._accepted:
                return True
            trial = self._on_trial
            if trial is None or trial.generation != generation or trial.ends + NOTICE <= time.monotonic():
                # The trial ends with its request, at the latest at its deadline.
                self._on_trial = _Trial(generation, deadline.at)
                return True
            self._changed.wait(min(deadline.remaining(), max(0.0, trial.ends - time.monotonic())) + NOTICE)
            if trial.unanswered is not None and trial.unanswered.fault is Fault.REGISTRY:
                raise trial.unanswered
            if deadline.expired:
                detail = f"the {self._kind} credential is being tried for the first time"
                raise LookupTimeout(detail, fault=Fault.LOCAL)
            return False

    def _end_trial(self, generation: int, unanswered: LookupTimeout | None = None) -> None:
        trial = self._on_trial
        if trial is not None and trial.generation == generation:
            trial.unanswered = unanswered
            self._on_trial = None
            self._changed.notify_all()
