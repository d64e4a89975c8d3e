"""All exceptions of this product, and their consequences.

A denial is not an exception but a value (``webhook.policy.findings``). Exceptions are for failures::

    WebhookError
    ├── ConfigError              exit code 2; on a reload the last good policy stays
    ├── BadRequestError          HTTP 400, 405, 414, 417, 431 or 501: not a request of HTTP/1.1
    ├── BadReviewError           HTTP 400, 405, 413 or 415: the body is not an AdmissionReview
    ├── InvalidReferenceError    finding ``invalid``
    ├── InvalidPatternError      a problem of the configuration file
    ├── TrustLookupError         finding ``unknown``, its ``reason`` is the finding's reason
    │   ├── LookupTimeout        ``timeout``; the fault is set where it is raised
    │   ├── Throttled            ``throttled``; the same
    │   ├── RegistryUnavailable  ``unavailable``, by default the registry's fault
    │   ├── Unauthorized         ``unauthorized``, by default the registry's fault
    │   ├── Forbidden            ``forbidden``, always the image's fault
    │   └── MalformedAnswer      ``malformed``, always the image's fault
    │       └── WrongContent     the same; no one can have pushed it, so the store fails
    ├── CertificateError         the last good pair stays; at start, exit code 2
    ├── ManifestError            ``swr-trust review``: exit code 2, names file and line
    ├── SnapshotError            the stored snapshot is ignored and replaced
    ├── SigningKeyError          a problem of the configuration; later, the key does not count
    ├── MalformedSignature       the signature does not count; stays inside ``webhook.signatures``
    └── ClusterError             the Kubernetes API refused or did not respond

The module is below the packages that raise them, so that importing an exception does not import a layer.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import ClassVar, Literal

UnknownReason = Literal["timeout", "throttled", "unavailable", "unauthorized", "forbidden", "malformed"]
"""Why the trust of an image is not known. Stable: a metric label and an audit annotation."""


class WebhookError(Exception):
    """Base class of all exceptions of this product."""


def forget_variables(error: BaseException) -> None:
    """Remove the local variables of the calls that an exception has ended, also of those that led to it.

    An exception that is kept refers to them by its traceback, in a cycle that only the garbage collector
    removes. They may be megabytes that a registry has sent.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            pending += [one.__cause__, one.__context__]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a configuration file.

    ``path`` is its place, such as ``registries[0].region``, empty for the whole file. ``message`` is the
    problem and the remedy, in one sentence without a full stop.
    """

    path: str
    message: str

    def __str__(self) -> str:
        """Return ``path: message``, or the message alone for the whole file."""
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(WebhookError):
    """The configuration cannot be used; ``problems`` lists all problems.

    ``depends_on_files`` says that all of them are about other files than the configuration file: it may be
    valid later although it does not change.
    """

    def __init__(self, problems: Sequence[Problem], *, depends_on_files: bool = False) -> None:
        """Keep the problems; the text has one per line."""
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.depends_on_files = depends_on_files
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process builds an equal error, from the problems instead of the text."""
        return partial(ConfigError, depends_on_files=self.depends_on_files), (self.problems,)


class BadRequestError(WebhookError):
    """A request is not one of HTTP/1.1, or exceeds a limit; the connection ends after the response."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP status of the response; ``message`` quotes nothing of the request."""
        super().__init__(message)
        self.status = status


class BadReviewError(WebhookError):
    """The request is not an AdmissionReview v1; ``status`` is the HTTP status of the response."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP status and one sentence for the caller."""
        self.status = status
        super().__init__(message)


class InvalidReferenceError(WebhookError):
    """A string is not an image reference.

    ``reason`` is stable and safe as a metric label (``uppercase``, ``bad-tag``, ...). The text is one clause
    and does not quote the whole input.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason."""
        self.reason = reason
        super().__init__(message)


class InvalidPatternError(WebhookError):
    """A string is not an image pattern; the text has the problem and the remedy."""


class Fault(StrEnum):
    """The fault of a failed lookup. Stable: a key of the log.

    Stale trust, ``onLookupFailure``, the retry, the circuit breaker and the message depend on it
    (``docs/decisions/0017``). The author of a Pod can cause ``local`` and ``image``, so they never lead to an
    admission. Nor does throttling, regardless of its fault (``Throttled``).

    ======== =========== =================== ================ ==========
    fault    stale trust ``onLookupFailure`` circuit breaker  retry
    ======== =========== =================== ================ ==========
    registry is served   counts if transient counts a failure if SWR failed
    local    is not      does not count      does not count   no
    image    is not      does not count      does not count   if SWR failed
    ======== =========== =================== ================ ==========
    """

    REGISTRY = "registry"
    """SWR fails or refuses all calls, or responds to none of them, nor to control requests."""

    LOCAL = "local"
    """Our own queue, rate limit, deadline or bug. Many requests can cause it."""

    IMAGE = "image"
    """It depends on the image. The author of the reference can cause it."""


class TrustLookupError(WebhookError):
    """SWR could not be called, or its response is invalid.

    ``detail`` is one clause for the log, without secrets and raw bodies. ``retry_after`` is in seconds, if
    the other side sent one.
    """

    reason: ClassVar[UnknownReason] = "unavailable"

    def __init__(self, detail: str, *, fault: Fault, retry_after: float | None = None) -> None:
        """Keep the detail, the fault and, if known, the seconds until a retry."""
        self.detail = detail
        self.fault = fault
        self.retry_after = retry_after
        self.is_counted = False
        """Whether a circuit breaker has counted it; many lookups may share the same failed call."""
        super().__init__(detail)

    @property
    def allows_stale(self) -> bool:
        """Whether a trusted record may be served stale instead (``cache.staleIfError``)."""
        return self.fault is Fault.REGISTRY

    @property
    def allows_pass(self) -> bool:
        """Whether ``onLookupFailure: allow`` applies.

        It does not if the credential is not accepted: the webhook would admit everything until an operator
        corrects it.
        """
        return self.fault is Fault.REGISTRY and self.transient

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later, so that the client is told to retry.

        It does not depend on the fault: SWR may respond the next time.
        """
        return self.reason in ("timeout", "throttled", "unavailable")


class LookupTimeout(TrustLookupError):
    """There was no response in time."""

    reason: ClassVar[UnknownReason] = "timeout"

    is_proven = False
    """Whether control requests have shown that the endpoint responds to nobody; see
    ``webhook.http_client.silence``."""


class Throttled(TrustLookupError):
    """Too many calls: SWR throttles us (fault ``registry``), or our own limits do (``local``).

    Neither admits anything. The author of Pods can exhaust the account's rate, by names that replicas look up
    or that nodes try to pull.
    """

    reason: ClassVar[UnknownReason] = "throttled"

    @property
    def allows_stale(self) -> bool:
        """Return ``False``."""
        return False

    @property
    def allows_pass(self) -> bool:
        """Return ``False``."""
        return False

    def __init__(
        self,
        detail: str,
        *,
        fault: Fault,
        retry_after: float | None = None,
        blocks_account: bool = False,
    ) -> None:
        """Also keep whether SWR refuses all calls of the account for ``retry_after`` seconds."""
        self.blocks_account = blocks_account
        super().__init__(detail, fault=fault, retry_after=retry_after)


class RegistryUnavailable(TrustLookupError):
    """SWR cannot be reached, fails (5xx, gateway 404) or its circuit breaker is open."""

    reason: ClassVar[UnknownReason] = "unavailable"

    def __init__(
        self,
        detail: str,
        *,
        fault: Fault = Fault.REGISTRY,
        retry_after: float | None = None,
        was_sent: bool = True,
    ) -> None:
        """Also keep whether the request was sent; before that, the image cannot be the cause."""
        self.was_sent = was_sent
        super().__init__(detail, fault=fault, retry_after=retry_after)


class Unauthorized(TrustLookupError):
    """Our credential is not accepted, or is paused after a failed authentication."""

    reason: ClassVar[UnknownReason] = "unauthorized"

    def __init__(self, detail: str, *, fault: Fault = Fault.REGISTRY) -> None:
        """As in the base class."""
        super().__init__(detail, fault=fault)


class Forbidden(TrustLookupError):
    """Our credential is valid but may not read this image, which may belong to another account."""

    reason: ClassVar[UnknownReason] = "forbidden"

    def __init__(self, detail: str) -> None:
        """As in the base class."""
        super().__init__(detail, fault=Fault.IMAGE)


class MalformedAnswer(TrustLookupError):
    """SWR's response is not the documented one for the request."""

    reason: ClassVar[UnknownReason] = "malformed"

    def __init__(self, detail: str) -> None:
        """As in the base class."""
        super().__init__(detail, fault=Fault.IMAGE)


class WrongContent(MalformedAnswer):
    """The bytes are not those that the digest names, or they are compressed.

    No one can have pushed them so: the store, or something before it, has answered with something else.
    """


class CertificateError(WebhookError):
    """A serving certificate or its key cannot be used; the text names the file and the cause."""


class ManifestError(WebhookError):
    """A manifest cannot be parsed; the text names the file and the line."""


class SnapshotError(WebhookError):
    """A snapshot is not authentic, or cannot be read.

    ``reason`` is stable and safe as a metric label: ``forged``, ``version``, ``oversized`` or
    ``malformed``.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason."""
        self.reason = reason
        super().__init__(message)


class ClusterError(WebhookError):
    """The Kubernetes API refused a call or did not respond; the text has the call and the cause.

    ``status`` is the HTTP status, 0 if there was no response.
    """

    def __init__(self, status: int, message: str) -> None:
        """Keep the status."""
        self.status = status
        super().__init__(message)


class SigningKeyError(WebhookError):
    """A file does not contain a public key that can verify image signatures.

    The text follows the name of the file: the problem, a colon and the remedy. It quotes nothing of the file,
    which may be a private key.
    """


class MalformedSignature(WebhookError):
    """Data of a registry is not in the format of a signature; the text is one clause without its content.

    It does not leave ``webhook.signatures``: callers get an ``Attempt`` that does not count.
    """
