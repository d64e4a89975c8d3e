"""Control requests: they show whether a registry answers about manifests at all, or not about one image.

Only what fails for them, too, is the registry's fault (``docs/decisions/0017``). If no token can be had for a
random repository, ``GET /v2/`` is all that is left. Then an outage behind a front end that answers it counts
as a failure of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import Forbidden, Throttled, Unauthorized
from webhook.oci.answers import is_failure, is_refusal
from webhook.oci.calls import ALIVE, Calls
from webhook.oci.control_repositories import ControlRepositories, make_control_tag
from webhook.oci.manifests import ACCEPT, manifest_path
from webhook.oci.tokens import Token, Tokens
from webhook.swr.http import HttpRequest, HttpResponse
from webhook.swr.silence import SendControl
from webhook.trust.records import CallLimiter, Unlimited

_TRIES: Final = 2
"""A kept token that is refused is replaced once."""


class Controls:
    """Makes the control requests of one registry."""

    def __init__(
        self, base_url: str, calls: Calls, tokens: Tokens, repositories: ControlRepositories
    ) -> None:
        """Send them by ``calls`` with tokens of ``tokens``."""
        self._base_url = base_url
        self._calls = calls
        self._tokens = tokens
        self._repositories = repositories

    def is_alive(self, repository: str, deadline: Deadline, call_limiter: CallLimiter) -> bool:
        """Return whether the registry answers a control request beside a failed one about ``repository``.

        Raises:
            TrustLookupError: there was no response, or no more requests are wanted.
        """

        def send(request: HttpRequest) -> HttpResponse:
            return self._calls.send(request, deadline, call_limiter, self.beside(repository))

        control = self._repositories.choose(repository)
        if control is not None:
            response = self._ask(control, lambda: self._tokens.get(control, deadline, call_limiter), send)
            if response is not None:
                return not is_failure(response)
        return self._calls.send_ping(deadline, call_limiter).status in ALIVE

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
        path = manifest_path(control, make_control_tag())
        request = HttpRequest("GET", self._base_url, path, headers={"Accept": ACCEPT})
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
                self._repositories.forget(control)
                return response
            self._tokens.discard(control, token)
        return response


class _Unlimited(Unlimited):
    """Implements ``CallLimiter`` without limits, and records each call."""

    def __init__(self, record_sent: Callable[[], None]) -> None:
        self._record_sent = record_sent

    def call(self, deadline: Deadline) -> AbstractContextManager[None]:
        self._record_sent()
        return super().call(deadline)
