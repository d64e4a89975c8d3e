"""Bearer tokens of a registry: one for each repository, fetched once for all callers.

The registry names its token service in its answer to ``GET /v2/``. That request has no image in it, so the
author of an image has no influence on where the login is sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cachetools import LRUCache

from webhook.deadlines import Deadline
from webhook.errors import Fault, RegistryUnavailable, Unauthorized
from webhook.http_client.failures import attribute_failure
from webhook.http_client.messages import Credential, HttpRequest, HttpResponse, Transport
from webhook.http_client.statuses import OK, UNAUTHORIZED, read_retry_after
from webhook.oci.answers import REGISTRY, is_page, is_refusal, read_failure
from webhook.oci.calls import PING, Calls, is_alive
from webhook.oci.challenges import ChallengeError, read_challenge
from webhook.oci.token_service import TokenService
from webhook.oci.urls import Url
from webhook.recorder import Recorder
from webhook.registries import Registry
from webhook.single_flight import SingleFlight
from webhook.trust.records import CallLimiter

MAX_TOKENS: Final = 1000
"""Repositories whose token is kept, the last ones used; fewer if tokens are larger than usual."""

USUAL_TOKEN: Final = 4 * 1024
"""Bytes of a large token. All tokens together have at most ``MAX_TOKENS`` times as many: 4 MB."""

MARGIN_SHARE: Final = 0.2
MAX_MARGIN: Final = 60.0
"""A token is not used in the last fifth of its life, or in the last minute if that is shorter: clocks differ,
and a request takes its time."""


class LoginState(StrEnum):
    """How a registry is called, as ``swr-trust doctor`` says."""

    OPEN = "open"
    """It asks for no token."""
    ANONYMOUS = "anonymous"
    """It gives a token without a login."""
    LOGGED_IN = "logged-in"
    """It gives a token for the login, and accepts it."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and whether it was fetched for this request."""

    text: str = field(repr=False)
    is_new: bool

    def apply(self, request: HttpRequest) -> HttpRequest:
        """Return a request with the token."""
        return request.with_headers({"Authorization": f"Bearer {self.text}"})


@dataclass(frozen=True, slots=True)
class _Held:
    text: str = field(repr=False)
    ends: float


class Tokens:
    """The tokens of one registry."""

    def __init__(
        self,
        registry: Registry,
        endpoint: Url,
        transport: Transport,
        login: Credential | None,
        recorder: Recorder,
        calls: Calls,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Log in as ``login``; ``calls`` are those to the registry itself, ``clock`` is monotonic."""
        self._registry = registry
        self._endpoint = endpoint
        self._transport = transport
        self._login = login
        self._recorder = recorder
        self._calls = calls
        self._clock = clock
        self._lock = threading.Lock()
        self._is_known = False
        """Whether the registry has said whether it asks for tokens."""
        self._service: TokenService | None = None
        self._held: LRUCache[str, _Held] = LRUCache(
            MAX_TOKENS * USUAL_TOKEN, getsizeof=lambda held: max(len(held.text), USUAL_TOKEN)
        )
        self._pings: SingleFlight[bool] = SingleFlight()
        self._fetches: SingleFlight[str] = SingleFlight()

    def get(
        self, repository: str, deadline: Deadline, call_limiter: CallLimiter, *, is_shared: bool = True
    ) -> Token | None:
        """Return the token for a repository, ``None`` if the registry asks for none.

        One of all concurrent callers fetches it, unless it is not ``is_shared``.

        Raises:
            TrustLookupError: there is none by the deadline.
        """
        service = self.find_service(deadline, call_limiter)
        if service is None:
            return None
        held = self._find(repository)
        if held is not None:
            return Token(held, is_new=False)

        def fetch() -> str:
            # Another lookup may have fetched it since.
            return self._find(repository) or self._fetch(service, repository, deadline, call_limiter)

        if not is_shared:
            return Token(fetch(), is_new=True)
        text = self._fetches.share(repository, fetch, deadline, f"fetching the token for {repository}")
        return Token(text, is_new=True)

    def find_service(self, deadline: Deadline, call_limiter: CallLimiter) -> TokenService | None:
        """Return the token service, ``None`` if the registry asks for no token.

        Raises:
            TrustLookupError: the registry does not say by the deadline.
        """
        if not self._is_known:
            self._pings.share(
                "ping", lambda: self._ping(deadline, call_limiter), deadline, f"waiting for GET {PING}"
            )
        return self._service

    def discard(self, repository: str, token: Token) -> None:
        """Remove a token that the registry did not accept."""
        with self._lock:
            held = self._held.get(repository)
            if held is not None and held.text == token.text:
                del self._held[repository]

    def learn(self, response: HttpResponse) -> bool:
        """Take the token service from a 401 about an image; return whether it is another one than before.

        Raises:
            Unauthorized: the challenge cannot be used. The fault is the image's, which its author chose.
        """
        return self._set_service(response, Fault.IMAGE)

    def renew(self, repository: str, deadline: Deadline, call_limiter: CallLimiter) -> Token | None:
        """Return a new token for a repository, ``None`` if the registry asks for none.

        Raises:
            TrustLookupError: there is none by the deadline.
        """
        service = self.find_service(deadline, call_limiter)
        if service is None:
            return None
        return Token(self._fetch(service, repository, deadline, call_limiter), is_new=True)

    def check(self, deadline: Deadline, call_limiter: CallLimiter) -> LoginState:
        """Log in without an image, and return how.

        Raises:
            TrustLookupError: the login, or a token for it, is not accepted, or there was no answer.
        """
        service = self.find_service(deadline, call_limiter)
        if service is None:
            return LoginState.OPEN
        token = Token(service.fetch(None, deadline, call_limiter).text, is_new=True)
        response = self._calls.send(token.apply(self._calls.ping), deadline, call_limiter)
        if is_refusal(response):
            raise Unauthorized(f"{read_failure(response)} to a token of its own token service")
        if response.status != OK:
            raise read_failure(response)
        return LoginState.ANONYMOUS if self._login is None else LoginState.LOGGED_IN

    def refuses_all(self, deadline: Deadline, call_limiter: CallLimiter) -> str:
        """Return how the registry refuses a request without an image, empty if it does not.

        The request has a new token without scope, if the registry asks for tokens.

        Raises:
            TrustLookupError: there was no answer, or no token.
        """
        service = self.find_service(deadline, call_limiter)
        request = self._calls.ping
        what = "GET /v2/ without a token"
        if service is not None:
            request = Token(service.fetch(None, deadline, call_limiter).text, is_new=True).apply(request)
            what = "a token of its own token service"
        response = self._calls.send(request, deadline, call_limiter)
        return f"{read_failure(response)} to {what}" if is_refusal(response) else ""

    def _find(self, repository: str) -> str | None:
        with self._lock:
            held = self._held.get(repository)
        return held.text if held is not None and self._clock() < held.ends else None

    def _fetch(
        self, service: TokenService, repository: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> str:
        began = self._clock()
        issued = service.fetch(repository, deadline, call_limiter)
        life = issued.seconds - min(issued.seconds * MARGIN_SHARE, MAX_MARGIN)
        with self._lock:
            self._held[repository] = _Held(issued.text, began + life)
        return issued.text

    @property
    def last_call_failed(self) -> bool:
        """Whether the last call of the token service failed, if there is one."""
        return self._service is not None and self._service.last_call_failed

    def _ping(self, deadline: Deadline, call_limiter: CallLimiter) -> bool:
        """Ask the registry whether it wants tokens. No image is involved: failures are the registry's."""
        try:
            response = self._calls.send_ping(deadline, call_limiter)
            _check_ping(response)
        except RegistryUnavailable as error:
            raise attribute_failure(
                error, lambda: is_alive(self._calls.send_ping(deadline, call_limiter))
            ) from None
        if response.status == OK:
            with self._lock:
                self._is_known, self._service = True, None
            return True
        if is_refusal(response) and response.status != UNAUTHORIZED:
            raise Unauthorized(f"{read_failure(response)} to GET {PING}, which any caller may send")
        if response.status != UNAUTHORIZED:
            raise read_failure(response)
        self._set_service(response, Fault.REGISTRY)
        return True

    def _set_service(self, response: HttpResponse, fault: Fault) -> bool:
        header = response.headers.get("www-authenticate", "")
        try:
            challenge = read_challenge(header, self._endpoint, self._registry.hosts)
        except ChallengeError as error:
            detail = f"{REGISTRY} answered {response.status}, and {error}"
            raise Unauthorized(detail, fault=fault) from None
        with self._lock:
            if self._is_known and self._service is not None and self._service.challenge == challenge:
                return False
            self._service = TokenService(
                self._registry, challenge, self._transport, self._login, self._recorder, self._clock
            )
            self._is_known = True
            self._held.clear()
            return True


def _check_ping(response: HttpResponse) -> None:
    if not is_alive(response):
        what = f"{response.status} with text/html" if is_page(response) else str(response.status)
        detail = f"{REGISTRY} answered {what} to GET {PING}: is registryEndpoint right?"
        raise RegistryUnavailable(detail, retry_after=read_retry_after(response))
