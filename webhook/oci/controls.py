"""Control requests: they show whether a registry answers about manifests at all, or not about one image.

Only what fails for them, too, is the registry's fault (``docs/decisions/0017``). If no token can be had for a
random repository, ``GET /v2/`` is all that is left. Then an outage behind a front end that answers it counts
as a failure of the image.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import Forbidden, MalformedAnswer, Throttled, TrustLookupError, Unauthorized
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.http_client.silence import SAMPLES, SendControl
from webhook.oci.answers import FAILURE, MALFORMED, find_oddity, is_of_registry, is_refusal
from webhook.oci.calls import Calls, is_alive
from webhook.oci.control_repositories import ControlRepositories, make_control_tag
from webhook.oci.manifests import ACCEPT, manifest_path
from webhook.oci.tokens import Token, Tokens
from webhook.trust.records import CallLimiter, Unlimited

ACCEPTED_SECONDS: Final = 5.0
"""Seconds in which a refusal is not compared again after the registry has accepted another new token."""

_TRIES: Final = 2
"""A kept token that is refused is replaced once."""


class Controls:
    """Makes the control requests of one registry."""

    def __init__(
        self,
        base_url: str,
        calls: Calls,
        tokens: Tokens,
        repositories: ControlRepositories,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send them by ``calls`` with tokens of ``tokens``; ``clock`` is in monotonic seconds."""
        self._base_url = base_url
        self._calls = calls
        self._tokens = tokens
        self._repositories = repositories
        self._clock = clock
        self._accepted_at = float("-inf")
        """When the registry last accepted a new token in a control request."""

    def is_alive(
        self, repository: str, deadline: Deadline, call_limiter: CallLimiter, oddity: str = FAILURE
    ) -> bool:
        """Return whether the registry answers a control request beside a failed one about ``repository``.

        It does not if it fails, or if the answer is as odd as that to the failed request (``find_oddity``).

        Raises:
            TrustLookupError: there was no response, or no more requests are wanted.
        """

        def send(request: HttpRequest) -> HttpResponse:
            return self._calls.send(request, deadline, call_limiter, self.beside(repository))

        control = self._repositories.choose(repository)
        if control is not None:
            try:
                response = self._ask(control, lambda: self._tokens.get(control, deadline, call_limiter), send)
            except MalformedAnswer:
                return oddity != MALFORMED
            if response is not None:
                return find_oddity(response) not in (FAILURE, oddity)
        return is_alive(self._calls.send_ping(deadline, call_limiter))

    def compare_refused(
        self, refused: Forbidden, repository: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> TrustLookupError:
        """Return the error of a refused request about ``repository``: ``Unauthorized`` if all are refused.

        An author can withdraw our rights to several organizations, but not those to ``GET /v2/``. So this is
        the registry's fault only if it refuses control requests with a new token, and ``GET /v2/`` with a
        token for nothing. The latter alone may be a rule of a front end.
        """
        if self._clock() - self._accepted_at < ACCEPTED_SECONDS:
            return refused
        try:
            detail = self._find_refusal(repository, deadline, call_limiter)
        except TrustLookupError:
            return refused
        return Unauthorized(f"{refused.detail}, and {detail}") if detail else refused

    def _find_refusal(self, repository: str, deadline: Deadline, call_limiter: CallLimiter) -> str:
        """Return how the registry refuses requests about any image, empty if it does not."""
        control = self._repositories.choose(repository)
        if control is None:
            return ""
        token = self._tokens.renew(control, deadline, call_limiter)
        for _ in range(SAMPLES):
            request = self._request(control)
            authorized = token.apply(request) if token is not None else request
            response = self._calls.send(authorized, deadline, call_limiter, self.beside(repository))
            if not is_refusal(response):
                if is_of_registry(response):
                    self._accepted_at = self._clock()
                return ""
        return self._tokens.refuses_all(deadline, call_limiter)

    def beside(self, repository: str) -> SendControl:
        """Return what sends a control request while a call about ``repository`` waits.

        It ignores the rate limit, because the call might have ended before a token is available. It needs a
        token first, whose fetch counts as unanswered until the request itself is sent: the token service may
        be as silent as the registry.
        """

        def send_control(deadline: Deadline, record_sent: Callable[[], None]) -> None:
            def send(request: HttpRequest) -> HttpResponse:
                record_sent()
                return self._calls.exchange(request, deadline)

            def authorize() -> Token | None:
                # Not shared: another caller may wait for its turn, while this one must be sent to count.
                limiter = _Unlimited(record_sent)
                return self._tokens.get(control, deadline, limiter, is_shared=False) if control else None

            control = self._repositories.choose(repository)
            try:
                response = self._ask(control, authorize, send) if control is not None else None
            except Throttled:
                # The token service answers. An author can cause that, so it must not count as no answer.
                response = None
            if response is None:
                send(self._calls.ping)

        return send_control

    def _ask(
        self,
        control: str,
        authorize: Callable[[], Token | None],
        send: Callable[[HttpRequest], HttpResponse],
    ) -> HttpResponse | None:
        """Request a manifest that does not exist; ``None`` if no token can be had for that.

        Raises:
            TrustLookupError: there was no response, also of the token service.
        """
        request = self._request(control)
        response = None
        for _ in range(_TRIES):
            try:
                token = authorize()
            except (Forbidden, Unauthorized):
                self._repositories.forget(control)
                return None
            response = send(token.apply(request) if token is not None else request)
            if not is_refusal(response):
                return response
            if token is None or token.is_new:
                if is_of_registry(response):  # a firewall refuses all of them
                    self._repositories.forget(control)
                return response
            self._tokens.discard(control, token)
        return response

    def _request(self, control: str) -> HttpRequest:
        path = manifest_path(control, make_control_tag())
        return HttpRequest("GET", self._base_url, path, headers={"Accept": ACCEPT})


class _Unlimited(Unlimited):
    """Implements ``CallLimiter`` without limits, and records each call."""

    def __init__(self, record_sent: Callable[[], None]) -> None:
        self._record_sent = record_sent

    def call(self, deadline: Deadline) -> AbstractContextManager[None]:
        self._record_sent()
        return super().call(deadline)
