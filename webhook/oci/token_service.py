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
from webhook.http_client.failures import attribute_failure
from webhook.http_client.messages import Authorization, Credential, HttpRequest, HttpResponse, Transport
from webhook.http_client.statuses import TOO_MANY_REQUESTS
from webhook.oci.answers import TOKEN_SERVICE, is_refusal, read_failure
from webhook.oci.calls import Calls
from webhook.oci.challenges import Challenge
from webhook.oci.token_answers import MAX_TOKEN_ANSWER, IssuedToken, has_token, read_token
from webhook.recorder import Recorder
from webhook.registries import Registry
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
        """Held while a refusal is compared: one control request is enough for all lookups that wait."""
        self._begun = 0
        """The number of control requests that compare a refusal."""
        self._accepted = (-1, 0)
        """The generation of the login that the last of them showed as accepted, and its number. A refusal
        that came before it was sent needs no other: the login was accepted afterwards."""
        self._rejections = 0
        """How often the login was refused."""

    @property
    def last_call_failed(self) -> bool:
        """Whether there was no answer to the last call, or one that shows a failure."""
        return self._calls.last_failed

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
                if not is_refusal(response):
                    issued = read_token(response)
                    self._login.accept(generation)
                    is_reported = True
                    return issued
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
        """Return a token or a refusal; any other answer is compared with those to requests without scope.

        Raises:
            TrustLookupError: there was no such answer. It is the service's fault if there is none to requests
                without scope either.
        """

        def send_control(until: Deadline, record_sent: Callable[[], None]) -> None:
            self._send_waiting_control(generation, until, record_sent)

        if repository is not None and self._is_refused(repository, generation):
            raise Forbidden(f"{TOKEN_SERVICE} recently refused a token for {repository}")
        try:
            response = self._calls.send(request, deadline, call_limiter, send_control)
            if not is_refusal(response):
                read_token(response)
        except RegistryUnavailable as error:
            failure = error
        except MalformedAnswer as error:
            failure = RegistryUnavailable(f"{TOKEN_SERVICE} does not answer as documented: {error.detail}")
        else:
            return response
        raise attribute_failure(failure, lambda: self._is_alive(generation, deadline, call_limiter))

    def _is_alive(self, generation: int, deadline: Deadline, call_limiter: CallLimiter) -> bool:
        """Return whether a request without scope is answered with a token, a refusal or a throttle."""
        try:
            answer = self._send_control(generation, deadline, call_limiter)
        except MalformedAnswer:
            return False
        return is_refusal(answer) or has_token(answer) or answer.status == TOO_MANY_REQUESTS

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
        begun = self._begun
        if not self._checking.acquire(timeout=deadline.remaining()):
            raise _undecided(response)
        try:
            if self._rejections != rejections:
                raise self._refused_login(response)
            if self._accepted[0] == generation and self._accepted[1] > begun:
                self._record_refused(repository, generation)
            elif not self._is_refused(repository, generation):
                self._begun += 1
                try:
                    answer = self._send_control(generation, deadline, call_limiter)
                except TrustLookupError:
                    raise _undecided(response) from None
                if is_refusal(answer):
                    return
                if not has_token(answer):
                    raise _undecided(response)
                self._accepted = (generation, self._begun)
                self._record_refused(repository, generation)
        finally:
            self._checking.release()
        detail = f"{read_failure(response, TOKEN_SERVICE)} about {repository}"
        if self._is_anonymous:
            raise Forbidden(f"{detail} without a login: is registryLogin missing?")
        raise Forbidden(f"{detail}, and accepts the login")

    def _record_refused(self, repository: str, generation: int) -> None:
        with self._lock:
            self._refused[repository] = generation

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
        if answer is not None and has_token(answer):
            self._login.accept(generation)
        elif generation != trial:
            self._login.release(generation)


def _undecided(response: HttpResponse) -> Unauthorized:
    detail = str(read_failure(response, TOKEN_SERVICE))
    return Unauthorized(f"{detail}; whether it is about the login is not known", fault=Fault.IMAGE)
