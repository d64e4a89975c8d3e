"""HTTP requests and responses, and the interfaces that send and authorize them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout

MAX_ANSWER: Final = 256 * 1024
"""Bytes of a response: the detail of a tag has less than 100 KiB, a token some kilobytes. One per call in
progress may be in memory."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request before it is sent. ``path`` is percent-encoded; ``query`` values are not.

    ``base_url`` is scheme, host and port without a trailing slash. ``repr`` omits headers and body, because
    they contain secrets.
    """

    method: str
    base_url: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    max_answer: int = MAX_ANSWER
    """Bytes of a response; a larger one is an error."""

    def with_headers(self, headers: Mapping[str, str]) -> HttpRequest:
        """Return a copy with more headers."""
        return replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Transport(Protocol):
    """Sends requests, without following redirects.

    A request is not repeated, except for a GET or HEAD over a kept connection that turns out to be dead.
    """

    @property
    def ca_file_problem(self) -> str:
        """Why the content of the CA file is not the one in use, empty if it is."""
        ...  # pragma: no cover

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """Return the complete response, with any status.

        Raises:
            LookupTimeout: it was not complete by the deadline; the connection was closed.
            RegistryUnavailable: no connection, TLS not verified, or the connection broke.
            MalformedAnswer: larger than allowed, or compressed (``WrongContent``).
        """
        ...  # pragma: no cover

    def received(self, base_url: str) -> int:
        """Return the bytes of all responses of an endpoint so far, also of incomplete ones."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class Authorization:
    """The headers that authorize one request, and the generation of the secret they were made from.

    ``generation`` changes with the secret, so that a 401 for an old secret does not count against a new one.
    """

    headers: Mapping[str, str] = field(repr=False)
    generation: int


class Credential(Protocol):
    """An identity, shared by all registries that use it."""

    @property
    def paused_for(self) -> float:
        """The seconds for which it is paused after a failed authentication, 0.0 if it is not."""
        ...  # pragma: no cover

    def authorize(self, request: HttpRequest, deadline: Deadline, trial: int | None = None) -> Authorization:
        """Return the headers for this request; may log in to IAM first, once for all callers.

        ``trial`` is the generation that another request of the same caller is trying, if any: this request
        does not wait for the outcome.

        Raises:
            Unauthorized: there is no secret, or it is paused after a failed authentication.
            LookupTimeout: another request is trying the secret; the registry's fault if it did not respond.
            TrustLookupError: IAM could not be called.
        """
        ...  # pragma: no cover

    def reject(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Record that the registry responded 401 to this generation; return whether to retry.

        ``fault`` is ``local`` if it is not certain that the 401 is about the credential: a pause that the
        author of a Pod may have caused admits nothing.

        A retry needs another secret (one new login for ``iamUser``, a file that has changed). Without one,
        the credential is paused until its file changes, or for 6 to 10 minutes, because more than
        five failures of all replicas lock the access key.
        """
        ...  # pragma: no cover

    def accept(self, generation: int) -> None:
        """Record that this generation was accepted; earlier failures no longer count."""
        ...  # pragma: no cover

    def release(self, generation: int, unanswered: LookupTimeout | None = None) -> None:
        """Record that a request ended without showing whether the credential is accepted, as a 5xx does."""
        ...  # pragma: no cover
