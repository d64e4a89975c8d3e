"""Every exception of this product, and what each one leads to.

A refusal is never an exception: it is a value (``webhook.policy.findings``). Exceptions are for
calls that broke::

    WebhookError
    ├── ConfigError              exit code 2; on a reload the last good policy stays
    ├── BadReviewError           HTTP 400, 405, 413 or 415: the body is no AdmissionReview
    ├── InvalidReferenceError    finding ``invalid``
    ├── InvalidPatternError      a problem of the configuration file
    ├── TrustLookupError         finding ``unknown``, its ``reason`` is the finding's reason
    │   ├── LookupTimeout        ``timeout``; whose fault, its raiser says
    │   ├── Throttled            ``throttled``; the same
    │   ├── RegistryUnavailable  ``unavailable``, by default the registry's fault
    │   ├── Unauthorized         ``unauthorized``, by default the registry's fault
    │   ├── Forbidden            ``forbidden``, always the image's fault
    │   └── MalformedAnswer      ``malformed``, always the image's fault
    ├── CertificateError         the last good pair stays; at start, exit code 2
    ├── ManifestError            ``swr-trust review``: exit code 2, names file and line
    ├── SnapshotError            a snapshot of what was trusted is ignored, and written anew
    └── ClusterError             the Kubernetes API refused or did not answer

The tree stands apart from the packages that raise it so that importing an exception never
imports a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal

UnknownReason = Literal["timeout", "throttled", "unavailable", "unauthorized", "forbidden", "malformed"]
"""Why SWR's answer about an image is not known. Stable: a metric label and an audit annotation."""


class WebhookError(Exception):
    """The root of every exception that this product raises itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration file.

    ``path`` is where, as the reader would write it (``registries[0].region``; empty for the whole
    file); ``message`` is what is wrong and what to do, one sentence without a full stop.
    """

    path: str
    message: str

    def __str__(self) -> str:
        """Return ``path: message``, or the message alone where the whole file is meant."""
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(WebhookError):
    """The configuration cannot be used; ``problems`` lists everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems; the text of the exception is one problem a line."""
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BadReviewError(WebhookError):
    """The request is no AdmissionReview v1; ``status`` is the HTTP status to answer with."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP status and one sentence for the caller."""
        self.status = status
        super().__init__(message)


class InvalidReferenceError(WebhookError):
    """A string is no image reference.

    ``reason`` is stable and safe as a metric label (``uppercase``, ``bad-tag``, ...); the
    exception's text is one clause for a person and never repeats the whole hostile input.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keep the stable reason beside the human clause."""
        self.reason = reason
        super().__init__(message)


class InvalidPatternError(WebhookError):
    """A string is no image pattern; the text says what is wrong and what to write instead."""


class Fault(StrEnum):
    """Whose fault a failed lookup is. Stable: a key of the log.

    Stale trust, ``onLookupFailure``, the retry, the circuit breaker and the message all depend on this
    one property (``docs/decisions/0017``). A Pod's author can cause the second and the third, so those
    never lead to an admission. Nor does a throttle, whosever it is (``Throttled``).

    ======== =========== =================== ================ ==========
    fault    stale trust ``onLookupFailure`` circuit breaker  retry
    ======== =========== =================== ================ ==========
    registry is served   counts if transient counts a failure if SWR failed
    local    is not      does not count      is not told      no
    image    is not      does not count      is not told      if SWR failed
    ======== =========== =================== ================ ==========
    """

    REGISTRY = "registry"
    """SWR fails or refuses whoever asks, or is silent to everybody while a call has its full time."""

    LOCAL = "local"
    """Our own queue, rate limit, deadline or bug. Whoever floods the webhook can cause it."""

    IMAGE = "image"
    """It depends on the image asked about. Whoever writes the reference can cause it."""


class TrustLookupError(WebhookError):
    """SWR could not be asked, or did not answer properly.

    ``detail`` is one clause for an operator's log; it holds no secret and no raw body.
    ``retry_after`` is in seconds, where the other side named one.
    """

    reason: ClassVar[UnknownReason] = "unavailable"

    def __init__(self, detail: str, *, fault: Fault, retry_after: float | None = None) -> None:
        """Keep the detail, whose fault it is and, where known, the seconds to wait before the next try."""
        self.detail = detail
        self.fault = fault
        self.retry_after = retry_after
        self.is_counted = False
        """Whether a circuit breaker has counted it: many lookups may fail by the same call."""
        super().__init__(detail)

    @property
    def allows_stale(self) -> bool:
        """Whether an earlier trusted answer may be served instead (``cache.staleIfError``)."""
        return self.fault is Fault.REGISTRY

    @property
    def allows_pass(self) -> bool:
        """Whether ``onLookupFailure: allow`` counts for it.

        Not where the credential does not work: that lasts until somebody corrects it, and the webhook
        would admit everything until then.
        """
        return self.fault is Fault.REGISTRY and self.transient

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed in a moment, so that the client is told to repeat it.

        Whosever fault it is: what SWR is slow about, or fails about, it may answer the next time.
        """
        return self.reason in ("timeout", "throttled", "unavailable")


class LookupTimeout(TrustLookupError):
    """No answer within the time that was left."""

    reason: ClassVar[UnknownReason] = "timeout"


class Throttled(TrustLookupError):
    """Too many calls: SWR says so (fault ``registry``), or our own limits keep us from asking (``local``).

    Neither admits anything. An author of Pods can make the account call SWR too often: by names that this
    replica or another one looks up, or that nodes try to pull.
    """

    reason: ClassVar[UnknownReason] = "throttled"

    @property
    def allows_stale(self) -> bool:
        """Never."""
        return False

    @property
    def allows_pass(self) -> bool:
        """Never."""
        return False

    def __init__(
        self,
        detail: str,
        *,
        fault: Fault,
        retry_after: float | None = None,
        blocks_account: bool = False,
    ) -> None:
        """Keep, too, whether SWR refuses every call of the account for ``retry_after`` seconds."""
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
        """Keep, too, whether the request was sent: before, nothing of the image can have mattered."""
        self.was_sent = was_sent
        super().__init__(detail, fault=fault, retry_after=retry_after)


class Unauthorized(TrustLookupError):
    """Our credential is not accepted for anything, or is paused after a failed authentication."""

    reason: ClassVar[UnknownReason] = "unauthorized"

    def __init__(self, detail: str, *, fault: Fault = Fault.REGISTRY) -> None:
        """As in the base class."""
        super().__init__(detail, fault=fault)


class Forbidden(TrustLookupError):
    """Our credential is good but may not see this image; it may belong to another account."""

    reason: ClassVar[UnknownReason] = "forbidden"

    def __init__(self, detail: str) -> None:
        """As in the base class."""
        super().__init__(detail, fault=Fault.IMAGE)


class MalformedAnswer(TrustLookupError):
    """SWR answered something that is not its documented answer about what was asked."""

    reason: ClassVar[UnknownReason] = "malformed"

    def __init__(self, detail: str) -> None:
        """As in the base class."""
        super().__init__(detail, fault=Fault.IMAGE)


class CertificateError(WebhookError):
    """A serving certificate or its key cannot be used; the text names the file and the cause."""


class ManifestError(WebhookError):
    """A manifest cannot be read; the text names the file and the line."""


class SnapshotError(WebhookError):
    """A snapshot cannot be believed or read.

    ``reason`` is stable and safe as a metric label: ``forged``, ``version``, ``oversized`` or
    ``malformed``.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keep the stable reason beside the clause for a person."""
        self.reason = reason
        super().__init__(message)


class ClusterError(WebhookError):
    """The Kubernetes API refused a call or did not answer; the text says which and why.

    ``status`` is its HTTP status, 0 where there was no answer.
    """

    def __init__(self, status: int, message: str) -> None:
        """Keep the status beside the text."""
        self.status = status
        super().__init__(message)
