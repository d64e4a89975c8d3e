"""One HTTP exchange with SWR or IAM, as data, and who makes it and signs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout

MAX_ANSWER: Final = 256 * 1024
"""Bytes of an answer: a tag's detail is below 100 KiB, a token some kilobytes. As many as there are calls
under way may be in memory at once."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request before it is sent. ``path`` is percent-encoded; ``query`` values are not.

    ``base_url`` is scheme, host and port without a trailing slash. The representation leaves
    headers and body out: they carry secrets.
    """

    method: str
    base_url: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    max_answer: int = MAX_ANSWER
    """Bytes of an answer from which it is no answer any more."""

    def with_headers(self, headers: Mapping[str, str]) -> HttpRequest:
        """Return a copy with more headers."""
        return replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response read to its end. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Transport(Protocol):
    """Sends one request, without following redirects.

    It does not try again, unless a kept connection turns out to be dead before a GET has arrived.
    """

    @property
    def ca_file_problem(self) -> str:
        """Why the content of the CA file is not the one in use, empty if it is."""
        ...  # pragma: no cover

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """Return the whole answer, whatever its status.

        Raises:
            LookupTimeout: it was not complete by the deadline; the connection has been cut.
            RegistryUnavailable: no connection, TLS not verified, or the connection broke.
            MalformedAnswer: larger than allowed, or no HTTP.
        """
        ...  # pragma: no cover

    def received(self, base_url: str) -> int:
        """Return how many bytes of answers have arrived from an endpoint so far, of incomplete ones, too."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class Authorization:
    """The headers that authorise one request, and which secret they were made from.

    ``generation`` changes whenever the secret does: a 401 is told about the generation that was
    used, so that an answer to an old secret never counts against a new one.
    """

    headers: Mapping[str, str] = field(repr=False)
    generation: int


class Credential(Protocol):
    """An identity towards SWR, shared by everything that asks with it."""

    @property
    def paused_for(self) -> float:
        """The seconds for which it is paused after a failed authentication, 0.0 if it is not."""
        ...  # pragma: no cover

    def authorize(self, request: HttpRequest, deadline: Deadline, trial: int | None = None) -> Authorization:
        """Return the headers for this request; may log in to IAM first, once for all callers.

        ``trial`` is the generation that another request of the same caller is trying, if any: this one
        does not wait for its fate.

        Raises:
            Unauthorized: no secret to be had, or paused after a failed authentication.
            LookupTimeout: the secret is being tried by somebody else; SWR's fault where that got no answer.
            TrustLookupError: IAM could not be asked.
        """
        ...  # pragma: no cover

    def reject(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Tell that SWR answered 401 to this generation; return whether to try once more.

        ``fault`` is ``local`` where it is not certain that the 401 is about the credential: a pause that
        the author of a Pod may have caused admits nothing.

        ``True`` only where a fresh secret can be had (one fresh login for ``iamUser``, a file
        that has changed); otherwise the credential is paused until its file changes or six to
        ten minutes have passed, jittered: five failures lock an account, over all replicas.
        """
        ...  # pragma: no cover

    def accept(self, generation: int) -> None:
        """Tell that this generation was accepted: earlier failures no longer count."""
        ...  # pragma: no cover

    def release(self, generation: int, unanswered: LookupTimeout | None = None) -> None:
        """Tell that a request with this generation ended without a word on it: a 5xx, or ``unanswered``."""
        ...  # pragma: no cover
