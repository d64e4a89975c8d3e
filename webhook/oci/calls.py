"""HTTP calls to a registry or its token service: limits, metrics, and the fault of failures.

The author of a Pod chooses the image, and may know one that the registry fails on. So a failure is compared
with control requests that are not about it (``docs/decisions/0017``): about random repositories
(``webhook.oci.controls``), or without any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import MalformedAnswer, RegistryUnavailable, TrustLookupError
from webhook.http_client.counted_calls import send_counted
from webhook.http_client.messages import HttpRequest, HttpResponse, Transport
from webhook.http_client.silence import SendControl, Silence
from webhook.http_client.statuses import FORBIDDEN, NOT_FOUND, OK, TOO_MANY_REQUESTS, UNAUTHORIZED
from webhook.oci.answers import find_block, is_failure, is_page
from webhook.recorder import Recorder
from webhook.registries import Registry
from webhook.trust.records import CallLimiter

PING: Final = "/v2/"
"""The path that shows that a registry offers the API (OCI distribution, determining support)."""

_ALIVE: Final = frozenset({OK, UNAUTHORIZED, FORBIDDEN, TOO_MANY_REQUESTS})


def is_alive(response: HttpResponse) -> bool:
    """Return whether a service that works may answer ``GET /v2/`` so."""
    return response.status in _ALIVE and not is_page(response)


class Calls:
    """Makes the calls to one service of a registry. Thread-safe as far as the transport is."""

    def __init__(
        self,
        registry: Registry,
        base_url: str,
        transport: Transport,
        recorder: Recorder,
        *,
        closes_breaker: bool = True,
    ) -> None:
        """Call the service at ``base_url``, and count the calls as those of ``registry``.

        ``closes_breaker`` is whether an answer shows that lookups succeed again.
        """
        self.answered_at: float | None = None
        """When the service last answered 200 or 404, in epoch seconds."""
        self.last_failed = False
        """Whether there was no answer to the last call, or one that shows a failure."""
        self._name = registry.name
        self._base_url = base_url
        self._transport = transport
        self._recorder = recorder
        self._closes_breaker = closes_breaker
        self._silence = Silence(lambda: transport.received(base_url))

    @property
    def ping(self) -> HttpRequest:
        """A request that has no image and no login in it. Any answer shows that the registry responds."""
        return HttpRequest("GET", self._base_url, PING)

    def send(
        self,
        request: HttpRequest,
        deadline: Deadline,
        call_limiter: CallLimiter,
        send_control: SendControl | None = None,
    ) -> HttpResponse:
        """Send a request when the rate allows; ``send_control`` is ``ping`` unless given.

        Raises:
            LookupTimeout: the service's fault only if it responds to no call.
            Throttled: the account is blocked, or our own rate does not allow the call.
            TrustLookupError: there was no response.
        """
        control = send_control if send_control is not None else self._send_ping
        record_answer = call_limiter.record_answer if self._closes_breaker else _ignore_answer
        with call_limiter.call(deadline):
            with self._silence.watch(
                deadline,
                control,
                record_answer,
                timeout=call_limiter.timeout,
                in_doubt=call_limiter.is_probe,
            ):
                response = self.exchange(request, deadline)
            if not is_failure(response):
                record_answer()
        blocked = find_block(response)
        if blocked is not None:
            # Under any status: a 401 or 404 with this text is about neither the login nor the image.
            raise blocked
        return response

    def exchange(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """Send a request at once and count it.

        Raises:
            TrustLookupError: there was no response.
        """
        is_own = request.base_url == self._base_url
        try:
            response = send_counted(self._transport, request, deadline, self._recorder, self._name)
        except TrustLookupError:
            if is_own:
                self.last_failed = True
            raise
        if is_own:
            self.last_failed = is_failure(response)
            if response.status in (OK, NOT_FOUND):
                self.answered_at = time.time()
            if not self.last_failed:
                self._silence.record_answer()
        return response

    def send_ping(self, deadline: Deadline, call_limiter: CallLimiter) -> HttpResponse:
        """Send a control request when the rate allows.

        Raises:
            RegistryUnavailable: the answer is not one of HTTP, or larger than any of a registry.
            TrustLookupError: there was no response.
        """
        try:
            return self.send(self.ping, deadline, call_limiter)
        except MalformedAnswer as error:
            raise RegistryUnavailable(f"GET {PING}: {error.detail}") from None

    def _send_ping(self, deadline: Deadline, record_sent: Callable[[], None]) -> None:
        """Send a control request while a call waits. It ignores the rate limit, because the call might have
        ended before a token is available.
        """
        record_sent()
        self.exchange(self.ping, deadline)


def _ignore_answer() -> None:
    """Do nothing."""
