"""Client of one registry's API (OCI distribution): manifests, referrers and blobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    Forbidden,
    MalformedAnswer,
    RegistryUnavailable,
    TrustLookupError,
    WrongContent,
)
from webhook.http_client.failures import attribute_failure
from webhook.http_client.messages import Credential, HttpRequest, HttpResponse, Transport
from webhook.http_client.statuses import OK, TOO_MANY_REQUESTS, UNAUTHORIZED
from webhook.images.reference import is_digest
from webhook.oci.answers import (
    FAILURE,
    MALFORMED,
    REDIRECTS,
    REGISTRY,
    TOKEN_SERVICE,
    compute_digest,
    find_failure,
    find_manifest_failure,
    find_oddity,
    is_failure,
    is_json,
    is_missing,
    is_refusal,
    read_digest,
    read_failure,
    read_media_type,
)
from webhook.oci.blobs import MAX_BLOB, attribute, follow, read_redirected
from webhook.oci.calls import Calls
from webhook.oci.control_repositories import ControlRepositories
from webhook.oci.controls import Controls
from webhook.oci.manifests import (
    ACCEPT,
    OCI_INDEX,
    Manifest,
    blob_path,
    fallback_tag,
    manifest_path,
    referrers_path,
)
from webhook.oci.tokens import LoginState, Token, Tokens
from webhook.oci.urls import read_url
from webhook.recorder import Recorder
from webhook.registries import Registry
from webhook.signatures.limits import MAX_MANIFEST
from webhook.trust.records import CallLimiter

_NO_REFERRERS: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.NOT_ACCEPTABLE,
    }
)
"""Answers of registries without a referrers API, as go-containerregistry reads them, and 405."""


_LEAST: Final = 64 * 1024
"""Bytes that any answer may have: the body of an error may be longer than a small blob."""


class OciClient:
    """Reads one registry. ``repository`` is ``organization/repository``.

    Every answer is bounded, and content by digest is compared with it. ``None`` means that something does not
    exist.
    """

    def __init__(
        self,
        registry: Registry,
        transport: Transport,
        login: Credential | None,
        recorder: Recorder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call the registry API of ``registry`` as ``login``; ``clock`` is in monotonic seconds."""
        base_url = registry.registry_endpoint
        endpoint = read_url(base_url)
        if endpoint is None:
            raise ValueError(f"registryEndpoint of {registry.name} is not a URL")
        self._endpoint = endpoint
        self._base_url = base_url
        self._login = login
        self._transport = transport
        self._calls = Calls(registry, base_url, transport, recorder)
        self._tokens = Tokens(registry, endpoint, transport, login, recorder, self._calls, clock)
        self._repositories = ControlRepositories(registry.organizations, clock)
        self._controls = Controls(base_url, self._calls, self._tokens, self._repositories, clock)

    @property
    def answered_at(self) -> float | None:
        """When the registry last answered 200 or 404, in epoch seconds."""
        return self._calls.answered_at

    @property
    def last_failure(self) -> str:
        """Which service gave no answer to its last call, or one that shows a failure; empty if none."""
        if self._calls.last_failed:
            return REGISTRY
        return TOKEN_SERVICE if self._tokens.last_call_failed else ""

    @property
    def has_login(self) -> bool:
        """Whether a login is configured; without one, the registry is called anonymously."""
        return self._login is not None

    @property
    def ca_file_problem(self) -> str:
        """Why the content of the CA file is not the one in use, empty if it is."""
        return self._transport.ca_file_problem

    @property
    def login_paused_for(self) -> float:
        """The seconds for which the login is paused after a failed authentication, 0.0 if it is not."""
        return self._login.paused_for if self._login is not None else 0.0

    def record_found(self, repository: str) -> None:
        """Record that the registry has sent a manifest of a repository before."""
        self._repositories.record_found(repository)

    def preconnect(self, deadline: Deadline, call_limiter: CallLimiter) -> None:
        """Connect, and learn how the registry wants to be called, so that the first lookup need not.

        It does not log in: a token service may refuse a login without a repository, which would pause it.

        Raises:
            TrustLookupError: the registry does not answer as documented.
        """
        self._tokens.find_service(deadline, call_limiter)

    def check_login(self, deadline: Deadline, call_limiter: CallLimiter) -> LoginState:
        """Log in without an image, and return how the registry is called.

        Raises:
            TrustLookupError: the login is not accepted, or there was no answer.
        """
        return self._tokens.check(deadline, call_limiter)

    def resolve_tag(
        self, repository: str, tag: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> str | None:
        """Return the digest that a tag has, ``None`` if the tag does not exist.

        Raises:
            TrustLookupError: there is no answer, or it is not about a manifest.
        """
        response = self._head(repository, tag, deadline, call_limiter)
        digest = read_digest(response) if response.status == OK else None
        if digest is not None:
            return digest
        manifest = self.get_manifest(repository, tag, deadline, call_limiter)
        return manifest.digest if manifest is not None else None

    def has_manifest(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> bool:
        """Return whether a manifest exists.

        Raises:
            TrustLookupError: there is no answer, or it is about another manifest.
        """
        response = self._head(repository, digest, deadline, call_limiter)
        if response.status == OK and read_digest(response) == digest:
            return True
        return self.get_manifest(repository, digest, deadline, call_limiter) is not None

    def get_manifest(
        self, repository: str, reference: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> Manifest | None:
        """Return the manifest of a tag or a digest, ``None`` if it does not exist.

        Raises:
            WrongContent: it does not have the digest that was requested, or that the answer states.
            MalformedAnswer: it is too large.
            TrustLookupError: there is no answer.
        """
        response = self._request_manifest("GET", repository, reference, deadline, call_limiter)
        if is_missing(response):
            return None
        if response.status != OK:
            raise read_failure(response)
        manifest = Manifest(response.body, read_media_type(response), compute_digest(response.body))
        if is_digest(reference) and manifest.digest != reference:
            raise WrongContent("the registry answered with another manifest than that of the digest")
        if read_digest(response) not in (None, manifest.digest):
            raise WrongContent("the manifest of the registry does not have the digest that it states")
        return manifest

    def list_referrers(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> bytes | None:
        """Return the OCI index of what refers to a digest, ``None`` if there is none.

        It is the first page of the referrers API, or the fallback tag of registries without one. An ordinary
        tag of that name is not an index, and counts as none.

        Raises:
            TrustLookupError: there is no answer.
        """
        path = referrers_path(repository, digest)
        request = self._request("GET", path, MAX_MANIFEST, {"Accept": OCI_INDEX})
        usual = {OK, *_NO_REFERRERS}
        response = self._send(
            repository, request, deadline, call_limiter, lambda answer: find_failure(answer, usual)
        )
        if response.status == OK and read_media_type(response) == OCI_INDEX:
            return response.body
        if response.status != OK and response.status not in _NO_REFERRERS:
            raise read_failure(response)
        manifest = self.get_manifest(repository, fallback_tag(digest), deadline, call_limiter)
        return manifest.content if manifest is not None and manifest.media_type == OCI_INDEX else None

    def get_blob(
        self, repository: str, digest: str, size: int, deadline: Deadline, call_limiter: CallLimiter
    ) -> bytes | None:
        """Return a blob of exactly ``size`` bytes, ``None`` if it does not exist.

        At most ``size`` bytes are read, or 64 KiB if that is more.

        Raises:
            WrongContent: the bytes do not have the digest.
            MalformedAnswer: the blob has another size than its manifest states: the author is the cause.
            TrustLookupError: there is no answer.
        """
        if not 0 <= size <= MAX_BLOB:
            raise MalformedAnswer(f"a blob of {size} bytes is not read")
        request = self._request("GET", blob_path(repository, digest), max(size, _LEAST))
        try:
            content = self._download(repository, request, deadline, call_limiter)
        except MalformedAnswer as error:
            # It was not read to its end, so that its digest is not known. It may be any page.
            raise WrongContent(error.detail) from None
        if content is None:
            return None
        if compute_digest(content) != digest:
            raise WrongContent("a blob does not have its digest")
        if len(content) != size:
            raise MalformedAnswer(f"a blob does not have the {size} bytes that its manifest states")
        return content

    def _download(
        self, repository: str, request: HttpRequest, deadline: Deadline, call_limiter: CallLimiter
    ) -> bytes | None:
        usual = {OK, *REDIRECTS}
        response = self._send(
            repository, request, deadline, call_limiter, lambda answer: find_failure(answer, usual)
        )
        if is_missing(response):
            return None
        if response.status in REDIRECTS:
            return self._follow(response, request, deadline, call_limiter)
        if response.status != OK:
            raise read_failure(response)
        return response.body

    def _follow(
        self, response: HttpResponse, request: HttpRequest, deadline: Deadline, call_limiter: CallLimiter
    ) -> bytes:
        target = follow(response, request, self._endpoint)
        try:
            with call_limiter.call(deadline):
                answer = self._calls.exchange(target, deadline)
        except TrustLookupError as error:
            raise attribute(error, target) from None
        return read_redirected(answer, target)

    def _head(
        self, repository: str, reference: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> HttpResponse:
        """Return the answer to ``HEAD`` of a manifest. It has no body, so that only a 200 is of use.

        Raises:
            TrustLookupError: there was no answer, or no more requests are wanted.
        """
        response = self._request_manifest("HEAD", repository, reference, deadline, call_limiter)
        if response.status == TOO_MANY_REQUESTS:
            raise read_failure(response)
        return response

    def _request_manifest(
        self, method: str, repository: str, reference: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> HttpResponse:
        path = manifest_path(repository, reference)
        request = self._request(method, path, MAX_MANIFEST, {"Accept": ACCEPT})
        find = find_manifest_failure if method == "GET" else _find_head_failure
        response = self._send(repository, request, deadline, call_limiter, find)
        if response.status == OK and _is_of_manifest(response):
            self._repositories.record_found(repository)
        return response

    def _request(
        self, method: str, path: str, max_answer: int, headers: dict[str, str] | None = None
    ) -> HttpRequest:
        return HttpRequest(method, self._base_url, path, headers=headers or {}, max_answer=max_answer)

    def _send(
        self,
        repository: str,
        request: HttpRequest,
        deadline: Deadline,
        call_limiter: CallLimiter,
        find: Callable[[HttpResponse], TrustLookupError | None],
    ) -> HttpResponse:
        """Send a request with the token of a repository; after a refusal at most once more, with a new one.

        ``find`` returns the error of an answer that no registry that works gives. It is compared with control
        requests.

        Raises:
            Forbidden: the registry does not accept a new token for this repository.
            Unauthorized: it accepts none for any repository.
            MalformedAnswer: the answer is too large or compressed, but not that to control requests.
            TrustLookupError: there was no answer, or it shows that the registry fails.
        """
        is_last = False
        while True:
            token = self._tokens.get(repository, deadline, call_limiter)
            authorized = token.apply(request) if token is not None else request
            oddity = FAILURE
            try:
                response = self._calls.send(
                    authorized, deadline, call_limiter, self._controls.beside(repository)
                )
                failure = find(response)
                if failure is not None:
                    oddity = find_oddity(response)
                    raise failure
            except RegistryUnavailable as error:
                raise self._compare(error, oddity, repository, deadline, call_limiter) from None
            except MalformedAnswer as error:
                failed = RegistryUnavailable(error.detail)
                compared = self._compare(failed, MALFORMED, repository, deadline, call_limiter)
                raise error if compared.fault is Fault.IMAGE else compared from None
            if not is_refusal(response):
                return response
            if token is not None:
                self._tokens.discard(repository, token)
            if is_last or not self._may_retry(response, token):
                refused = self._refused(response, repository, token)
                raise self._controls.compare_refused(refused, repository, deadline, call_limiter)
            is_last = True

    def _compare(
        self,
        error: RegistryUnavailable,
        oddity: str,
        repository: str,
        deadline: Deadline,
        call_limiter: CallLimiter,
    ) -> RegistryUnavailable:
        """Return the error as the registry's fault if control requests fail, or are answered as oddly."""
        compared = attribute_failure(
            error, lambda: self._controls.is_alive(repository, deadline, call_limiter, oddity)
        )
        if compared.fault is Fault.REGISTRY:
            self._calls.last_failed = True  # the status of a page or a redirect does not show it
        return compared

    def _may_retry(self, response: HttpResponse, token: Token | None) -> bool:
        """Return whether a refused request may succeed with another token."""
        if token is not None and not token.is_new:
            return True
        if response.status != UNAUTHORIZED or "www-authenticate" not in response.headers:
            return False
        return self._tokens.learn(response)

    def _refused(self, response: HttpResponse, repository: str, token: Token | None) -> Forbidden:
        what = "a request without a token" if token is None else "a new token"
        hint = ": is registryLogin missing?" if self._login is None else ""
        return Forbidden(f"{read_failure(response)} to {what} for {repository}{hint}")


def _is_of_manifest(response: HttpResponse) -> bool:
    """Return whether an answer 200 is one of a registry; a page is not."""
    return read_digest(response) is not None or is_json(read_media_type(response))


def _find_head_failure(response: HttpResponse) -> TrustLookupError | None:
    """Return the error of an answer to ``HEAD``. It has no body, so that ``GET`` follows all others."""
    return read_failure(response) if is_failure(response) else None
