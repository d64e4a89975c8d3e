"""The token service of a registry: logs in, and tells a refused login from a repository that is not ours.

Authentications that fail lock an access key (``docs/decisions/0010``). The author of a Pod chooses the
repository, and the token service of SWR refuses a token for an organization that does not exist. So after a
refusal, a token without scope is requested: only if that is refused, too, the login is paused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from cachetools import TTLCache

from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    TrustLookupError,
    Unauthorized,
)
from webhook.oci.answers import TOKEN_SERVICE, is_failure, is_refusal, read_failure
from webhook.oci.calls import ALIVE, Calls
from webhook.oci.challenges import Challenge
from webhook.oci.token_answers import MAX_TOKEN_ANSWER, IssuedToken, read_token
from webhook.recorder import Recorder
from webhook.registries import Registry
from webhook.swr.answers import OK
from webhook.swr.failures import attribute_failure
from webhook.swr.http import Authorization, Credential, HttpRequest, HttpResponse, Transport
from webhook.trust.records import CallLimiter

REFUSED_SECONDS: Final = 60.0
"""Seconds without a request about a refused repository. Images are pushed before they are deployed, so that a
refusal is seldom corrected by a push; a changed login has no refusals."""

MAX_REFUSED: Final = 1000
"""Repositories that are remembered as refused."""


class AnonymousLogin:
    """Implements ``Credential`` without any: for images that all may pull."""

    paused_for = 0.0

    def authorize(self, request: HttpRequest, deadline: Deadline, trial: int | None = None) -> Authorization:
        """Return no headers."""
        del request, deadline, trial
        return Authorization({}, 0)

    def reject(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Return ``False``: there is no other login."""
        del generation, fault
        return False

    def accept(self, generation: int) -> None:
        """Do nothing."""

    def release(self, generation: int, unanswered: LookupTimeout | None = None) -> None:
        """Do nothing."""


class TokenService:
    """Fetches tokens of one challenge as one login."""

    def __init__(
        self,
        registry: Registry,
        challenge: Challenge,
        transport: Transport,
        login: Credential | None,
        recorder: Recorder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Log in as ``login``, or not at all; ``clock`` is in monotonic seconds."""
        self.challenge = challenge
        self._is_anonymous = login is None
        self._login: Credential = login if login is not None else AnonymousLogin()
        # Its answers do not close the circuit breaker: that would hide that the registry does not answer.
        self._calls = Calls(registry, challenge.realm.base_url, transport, recorder, closes_breaker=False)
        self._lock = threading.Lock()
        self._refused: TTLCache[str, int] = TTLCache(MAX_REFUSED, REFUSED_SECONDS, timer=clock)
        """The generation of the login that was refused for a repository; ``_lock`` guards it."""
        self._checking = threading.Lock()
        """Held while a refusal is compared: one control request is enough for all lookups."""
        self._rejections = 0
        """How often the login was refused."""

    def fetch(self, repository: str | None, deadline: Deadline, call_limiter: CallLimiter) -> IssuedToken:
        """Return a new token to pull from a repository; ``None`` is a login without any scope.

        Raises:
            Forbidden: the token service refuses this repository, and accepts the login.
            Unauthorized: it refuses the login.
            TrustLookupError: it did not answer, or not with a token. That is its own fault only if it does so
                for requests without scope, too.
        """
        again = True
        while True:
            rejections = self._rejections
            request, generation = self._authorize(repository, deadline, call_limiter)
            is_reported = False
            unanswered: LookupTimeout | None = None
            try:
                response = self._request(request, repository, generation, deadline, call_limiter)
                if response.status == OK:
                    self._login.accept(generation)
                    is_reported = True
                    return read_token(response)
                if not is_refusal(response):
                    raise read_failure(response, TOKEN_SERVICE)
                if repository is not None:
                    self._check_login(response, repository, generation, rejections, deadline, call_limiter)
                self._rejections += 1
                again = self._login.reject(generation, Fault.REGISTRY) and again
                is_reported = True
                if not again:
                    raise self._refused_login(response)
            except LookupTimeout as error:
                unanswered = error
                raise
            finally:
                if not is_reported:
                    self._login.release(generation, unanswered)
            again = False

    def _request(
        self,
        request: HttpRequest,
        repository: str | None,
        generation: int,
        deadline: Deadline,
        call_limiter: CallLimiter,
    ) -> HttpResponse:
        """Send an authorized request; a failure is compared with requests without scope."""

        def send_control(until: Deadline, record_sent: Callable[[], None]) -> None:
            self._send_waiting_control(generation, until, record_sent)

        if repository is not None and self._is_refused(repository, generation):
            raise Forbidden(f"{TOKEN_SERVICE} recently refused a token for {repository}")
        try:
            response = self._calls.send(request, deadline, call_limiter, send_control)
            if is_failure(response):
                raise read_failure(response, TOKEN_SERVICE)
        except RegistryUnavailable as error:
            raise attribute_failure(
                error, lambda: self._send_control(generation, deadline, call_limiter).status in ALIVE
            ) from None
        except MalformedAnswer as error:
            detail = f"{TOKEN_SERVICE} does not answer as documented: {error.detail}"
            raise RegistryUnavailable(detail, fault=Fault.IMAGE) from None
        return response

    def _check_login(
        self,
        response: HttpResponse,
        repository: str,
        generation: int,
        rejections: int,
        deadline: Deadline,
        call_limiter: CallLimiter,
    ) -> None:
        """Return if the login is refused without any scope, too.

        Raises:
            Forbidden: it is accepted.
            Unauthorized: that is not known, which is the image's fault; or another lookup has found out that
                the login is refused.
        """
        if not self._checking.acquire(timeout=deadline.remaining()):
            raise _undecided(response)
        try:
            if self._rejections != rejections:
                raise self._refused_login(response)
            if not self._is_refused(repository, generation):
                try:
                    answer = self._send_control(generation, deadline, call_limiter)
                except TrustLookupError:
                    raise _undecided(response) from None
                if is_refusal(answer):
                    return
                if answer.status != OK:
                    raise _undecided(response)
                with self._lock:
                    self._refused[repository] = generation
        finally:
            self._checking.release()
        detail = f"{read_failure(response, TOKEN_SERVICE)} about {repository}"
        if self._is_anonymous:
            raise Forbidden(f"{detail} without a login: is registryLogin missing?")
        raise Forbidden(f"{detail}, and accepts the login")

    def _is_refused(self, repository: str, generation: int) -> bool:
        with self._lock:
            return self._refused.get(repository) == generation

    def _refused_login(self, response: HttpResponse) -> Unauthorized:
        detail = str(read_failure(response, TOKEN_SERVICE))
        if self._is_anonymous:
            # It shows only that this repository is not public: its author may have changed that.
            return Unauthorized(f"{detail} without a login: is registryLogin missing?", fault=Fault.IMAGE)
        return Unauthorized(f"{detail}: it refuses the login")

    def _authorize(
        self,
        repository: str | None,
        deadline: Deadline,
        call_limiter: CallLimiter,
        trial: int | None = None,
    ) -> tuple[HttpRequest, int]:
        with call_limiter.timed(deadline):
            return self._make_request(repository, deadline, trial)

    def _make_request(
        self, repository: str | None, deadline: Deadline, trial: int | None
    ) -> tuple[HttpRequest, int]:
        realm = self.challenge.realm
        request = HttpRequest(
            "GET",
            realm.base_url,
            realm.path,
            self.challenge.query(repository),
            max_answer=MAX_TOKEN_ANSWER,
        )
        authorization = self._login.authorize(request, deadline, trial)
        return request.with_headers(authorization.headers), authorization.generation

    def _send_control(self, trial: int, deadline: Deadline, call_limiter: CallLimiter) -> HttpResponse:
        """Request a token without scope: its answer shows the state of the service and of the login."""
        request, generation = self._authorize(None, deadline, call_limiter, trial)
        answer = None
        try:
            answer = self._calls.send(
                request,
                deadline,
                call_limiter,
                lambda until, record_sent: self._send_waiting_control(generation, until, record_sent),
            )
            return answer
        finally:
            self._record_outcome(generation, trial, answer)

    def _send_waiting_control(self, trial: int, deadline: Deadline, record_sent: Callable[[], None]) -> None:
        """Send a control request while a call waits; it ignores the rate limit (``webhook.swr.calls``)."""
        request, generation = self._make_request(None, deadline, trial)
        record_sent()
        answer = None
        try:
            answer = self._calls.exchange(request, deadline)
        finally:
            if answer is not None and is_refusal(answer):
                self._rejections += 1
                self._login.reject(generation)
            else:
                self._record_outcome(generation, trial, answer)

    def _record_outcome(self, generation: int, trial: int, answer: HttpResponse | None) -> None:
        """Accept or release a login after the answer to a control request, if there was one."""
        if answer is not None and answer.status == OK:
            self._login.accept(generation)
        elif generation != trial:
            self._login.release(generation)


def _undecided(response: HttpResponse) -> Unauthorized:
    detail = str(read_failure(response, TOKEN_SERVICE))
    return Unauthorized(f"{detail}; whether it is about the login is not known", fault=Fault.IMAGE)
