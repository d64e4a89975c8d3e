"""HTTP calls to one registry: authorization, metrics, and the fault of failures.

The author of a Pod chooses the image, and may know one that SWR, or a firewall in front of it, fails on. So a
failure is compared with a control request about a random image: only if that fails, too, it is the registry's
fault (``docs/decisions/0017``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import LookupTimeout, RegistryUnavailable
from webhook.http_client.counted_calls import send_counted
from webhook.http_client.failures import attribute_failure
from webhook.http_client.messages import Credential, HttpRequest, HttpResponse, Transport
from webhook.http_client.silence import Silence
from webhook.recorder import Recorder
from webhook.registries import Registry
from webhook.swr.answers import (
    is_failure,
    is_unauthorized,
    is_unpublished,
    names_credential,
    read_block,
    read_error,
    shows_acceptance,
)
from webhook.swr.fallback import NO_IMAGE, TagDetail
from webhook.trust.records import CallLimiter

CONTENT_TYPE: Final = "application/json;charset=utf-8"


class Calls:
    """Makes the calls of one registry's client. Thread-safe as far as transport and credential are."""

    def __init__(
        self,
        registry: Registry,
        transport: Transport,
        credential: Credential,
        recorder: Recorder,
        detail: TagDetail,
    ) -> None:
        """Call ``registry`` over ``transport`` as ``credential``; ``detail`` makes control requests."""
        self.answered_at: float | None = None
        """When the registry last answered 200 or 404, in epoch seconds."""
        self._name = registry.name
        self._transport = transport
        self._credential = credential
        self._recorder = recorder
        self._detail = detail
        self._silence = Silence(lambda: transport.received(registry.endpoint))
        self._headers = {"Content-Type": CONTENT_TYPE}
        if registry.project_id is not None:
            self._headers["X-Project-Id"] = registry.project_id

    def authorize(
        self, request: HttpRequest, deadline: Deadline, call_limiter: CallLimiter, trial: int | None = None
    ) -> tuple[HttpRequest, int]:
        """Return a request with all its headers, and the generation of the secret that they were made from.

        ``trial`` is the generation whose trial the caller holds, if any.

        Raises:
            TrustLookupError: there is no secret that may be used.
        """
        with call_limiter.timed(deadline):
            return self._authorize(request, deadline, trial)

    def send(
        self, request: HttpRequest, generation: int, deadline: Deadline, call_limiter: CallLimiter
    ) -> HttpResponse:
        """Send an authorized request when the rate allows.

        Raises:
            LookupTimeout: the registry's fault only if the endpoint responds to no call.
            Throttled: the account is blocked, or our own rate does not allow the call.
            TrustLookupError: there was no response.
        """

        def send_control(until: Deadline, record_sent: Callable[[], None]) -> None:
            self._send_any_control(generation, until, record_sent)

        with call_limiter.call(deadline):
            with self._silence.watch(
                deadline,
                send_control,
                call_limiter.record_answer,
                timeout=call_limiter.timeout,
                in_doubt=call_limiter.is_probe,
            ):
                response = self._exchange(request, deadline)
            if not is_failure(response):
                call_limiter.record_answer()
            blocked = read_block(response)
            if blocked is not None:
                # Under any status: a 401 or 404 with this text is about neither the credential nor the image.
                raise blocked
            return response

    def send_control(
        self,
        request: HttpRequest,
        deadline: Deadline,
        call_limiter: CallLimiter,
        trial: int | None = None,
    ) -> HttpResponse:
        """Send a control request, about a random image: its response shows the state of the registry.

        ``trial`` is the generation whose trial the caller holds, if any: the trial ends if it was accepted.

        Raises:
            TrustLookupError: there was no response.
        """
        request, generation = self.authorize(request, deadline, call_limiter, trial)
        answer = None
        try:
            answer = self.send(request, generation, deadline, call_limiter)
            return answer
        finally:
            self._record_outcome(generation, trial, answer)

    def try_credential(self, deadline: Deadline, call_limiter: CallLimiter) -> None:
        """Call the registry about a random image, so that its credential need not be tried by a lookup.

        Its organization is one of the policy, if that names any: the credential may not read a random one.

        Raises:
            LookupTimeout: the registry's fault only if the endpoint responds to no call.
            TrustLookupError: the registry fails, or does not accept the credential.
        """
        controls = self._make_controls(of_list=self._detail.is_missing, organization=NO_IMAGE)
        answers = (self._send_trial(control, deadline, call_limiter) for control in controls)
        answer = next((answer for answer in answers if not is_unpublished(answer)), None)
        if answer is None:
            raise RegistryUnavailable("the API gateway answers 404 APIGW.0101: is the endpoint right?")
        if not shows_acceptance(answer):
            raise read_error(answer)

    def _send_trial(
        self, control: HttpRequest, deadline: Deadline, call_limiter: CallLimiter
    ) -> HttpResponse:
        """Send a control request for whose answer lookups may wait, because it tries the credential.

        Raises:
            TrustLookupError: there was no response.
        """
        request, generation = self.authorize(control, deadline, call_limiter)
        send = partial(self.send, request, generation, deadline, call_limiter)
        unanswered: LookupTimeout | None = None
        try:
            return self._settle(generation, generation, send)
        except LookupTimeout as error:
            unanswered = error
            raise
        finally:
            # If the trial has ended already, this does nothing.
            self._credential.release(generation, unanswered)

    def compare(
        self,
        error: RegistryUnavailable,
        deadline: Deadline,
        call_limiter: CallLimiter,
        *,
        of_list: bool = False,
    ) -> RegistryUnavailable:
        """Return the error with its fault; see ``attribute_failure``.

        A control request is the call for one tag, or the call for a list if that failed or the first is not
        offered.

        Raises:
            TrustLookupError: there was no response to a control request.
        """
        return attribute_failure(error, lambda: self._is_alive(deadline, call_limiter, of_list=of_list))

    def _is_alive(self, deadline: Deadline, call_limiter: CallLimiter, *, of_list: bool) -> bool:
        """Return whether a control request succeeds; raises ``TrustLookupError``."""
        for control in self._make_controls(of_list=of_list):
            answer = self.send_control(control, deadline, call_limiter)
            if not is_unpublished(answer):
                return not is_failure(answer)
        return False

    def _make_controls(self, *, of_list: bool, organization: str | None = None) -> list[HttpRequest]:
        """Return the control requests; each is sent if the registry does not offer the one before.

        ``organization`` is that of ``TagDetail.make_control``.
        """
        of_tags = self._detail.make_list_control(organization)
        return [of_tags] if of_list else [self._detail.make_control(organization), of_tags]

    def _authorize(
        self, request: HttpRequest, deadline: Deadline, trial: int | None
    ) -> tuple[HttpRequest, int]:
        request = request.with_headers(self._headers)
        authorization = self._credential.authorize(request, deadline, trial)
        return request.with_headers(authorization.headers), authorization.generation

    def _send_any_control(self, trial: int, deadline: Deadline, record_sent: Callable[[], None]) -> None:
        """Send a control request while a call waits; any response shows that the registry responds.

        It may also end the trial of a credential: otherwise an author could prolong the trial, and block all
        other lookups, by names that SWR is slow about. It ignores the rate limit, because the call might have
        ended before a token is available.
        """
        for control in self._make_controls(of_list=self._detail.is_missing):
            request, generation = self._authorize(control, deadline, trial)
            record_sent()
            answer = self._settle(generation, trial, partial(self._exchange, request, deadline))
            if not is_unpublished(answer):
                return

    def _settle(self, generation: int, trial: int | None, send: Callable[[], HttpResponse]) -> HttpResponse:
        """Return the response to a control request, and reject the credential if it says so.

        Raises:
            TrustLookupError: there was no response.
        """
        answer = None
        try:
            answer = send()
            return answer
        finally:
            if answer is not None and is_unauthorized(answer) and names_credential(answer):
                # More than five failures lock the access key, and each waiting call may send some.
                self._credential.reject(generation)
            else:
                self._record_outcome(generation, trial, answer)

    def _record_outcome(self, generation: int, trial: int | None, answer: HttpResponse | None) -> None:
        """Accept or release a credential after the response to a control request, if there was one."""
        if answer is not None and shows_acceptance(answer):
            self._credential.accept(generation)
        elif generation != trial:
            self._credential.release(generation)

    def _exchange(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        response = send_counted(self._transport, request, deadline, self._recorder, self._name)
        if response.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            self.answered_at = time.time()
        if not is_failure(response):
            self._silence.record_answer()
        return response
