"""Results of images and decisions on requests: plain values, made by the evaluator and the validator."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Self

import msgspec

from webhook.admission.extraction import ImageUse, TargetKind
from webhook.errors import TrustLookupError
from webhook.images.reference import ImageReference
from webhook.policy.findings import Finding, Mode
from webhook.policy.model import Exemption, Policy, Rule
from webhook.signatures.check import SignatureCheck
from webhook.trust.lookup import Origin
from webhook.trust.records import TrustRecord

MAX_RETRY_AFTER: Final = 5
"""Seconds. kubectl and controllers wait as long as the response says, so the value is small."""

CRASHED: Final = (
    "denied by image trust policy: the webhook failed, and a request that it cannot evaluate is denied"
)
"""The denial after an internal error, where the policy's language is not known."""


class Effect(IntEnum):
    """The effect on one image, or on a request, in ascending order of strictness.

    The effect on a request is the strictest of its images. The names of both are public: metric labels, audit
    annotations and keys of the log.
    """

    ALLOW = 0
    AUDIT = 1
    """Allowed; ``enforce`` would have denied it or warned about it."""
    WARN = 2
    """Allowed with warnings."""
    DENY = 3
    ERROR = 4
    """Of requests only: an internal error. The mode decides whether the request is allowed."""

    @property
    def decision_label(self) -> str:
        """The name of the effect on a request."""
        return _DECISION_LABELS[self]

    @property
    def image_label(self) -> str:
        """The name of the effect on one image."""
        return "record" if self is Effect.AUDIT else _DECISION_LABELS[self]


_DECISION_LABELS: Final = {effect: effect.name.lower() for effect in Effect}


class CheckResult(msgspec.Struct, frozen=True):
    """The finding of an image and its cause.

    ``reason`` is stable, safe as a metric label, and empty where the finding needs none. ``record`` and
    ``origin`` are set if SWR's answer is known. ``failure`` is set if the lookup failed, also if a stale
    record is served instead.
    """

    finding: Finding
    reason: str = ""
    record: TrustRecord | None = None
    origin: Origin | None = None
    failure: TrustLookupError | None = None

    @property
    def signature(self) -> SignatureCheck | None:
        """The result of the signatures of the image, ``None`` if they were not verified."""
        return self.record.signature if self.record is not None else None

    @property
    def signers(self) -> tuple[str, ...]:
        """The names of the keys whose signatures of the image count."""
        return self.record.signers if self.record is not None else ()


class ImageResult(msgspec.Struct, frozen=True):
    """The result of evaluating one image use.

    ``would_deny`` is true if the finding denies under the mode ``enforce``; ``effect`` is what is done.
    ``reference`` is ``None`` if the image is not a valid reference.
    """

    use: ImageUse
    check: CheckResult
    effect: Effect
    would_deny: bool
    mode: Mode
    reference: ImageReference | None = None
    rule: Rule | None = None
    exemption: Exemption | None = None


class Status(NamedTuple):
    """HTTP code and reason of a denial; ``retry_after_seconds`` is 0 if a retry cannot help."""

    code: int
    reason: str
    retry_after_seconds: int = 0


FORBIDDEN: Final = Status(403, "Forbidden")
TOO_MANY_REQUESTS: Final = Status(429, "TooManyRequests")
INTERNAL_ERROR: Final = Status(500, "InternalError")
SERVICE_UNAVAILABLE: Final = Status(503, "ServiceUnavailable")


class Decision(msgspec.Struct, frozen=True):
    """The response to one request, with the values that metrics, log and Events record.

    Use ``allow``, ``deny`` or ``error`` to make one. ``code`` and ``status_reason`` are those of the denial's
    Status. ``break_glass`` is the reason that an authorized user gave, ``None`` if break-glass was not used.
    """

    effect: Effect
    allowed: bool
    target: TargetKind = TargetKind.UNKNOWN
    results: tuple[ImageResult, ...] = ()
    code: int = 0
    status_reason: str = ""
    message: str = ""
    retry_after_seconds: int = 0
    warnings: Sequence[str] = ()
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    break_glass: str | None = None
    policy: Policy | None = None
    """The policy that evaluated the images, ``None`` if none were; Events use its language."""

    @classmethod
    def allow(
        cls,
        target: TargetKind,
        effect: Effect = Effect.ALLOW,
        *,
        results: tuple[ImageResult, ...] = (),
        warnings: Sequence[str] = (),
        annotations: Mapping[str, str] | None = None,
        break_glass: str | None = None,
        policy: Policy | None = None,
    ) -> Self:
        """Return a decision that admits the request."""
        return cls(
            effect,
            allowed=True,
            target=target,
            results=results,
            warnings=warnings,
            annotations=annotations or {},
            break_glass=break_glass,
            policy=policy,
        )

    @classmethod
    def deny(
        cls,
        target: TargetKind,
        message: str,
        status: Status = FORBIDDEN,
        *,
        effect: Effect = Effect.DENY,
        results: tuple[ImageResult, ...] = (),
        annotations: Mapping[str, str] | None = None,
        policy: Policy | None = None,
    ) -> Self:
        """Return a decision that denies the request with ``message``."""
        return cls(
            effect,
            allowed=False,
            target=target,
            results=results,
            code=status.code,
            status_reason=status.reason,
            message=message,
            retry_after_seconds=status.retry_after_seconds,
            annotations=annotations or {},
            policy=policy,
        )

    @classmethod
    def error(cls, target: TargetKind = TargetKind.UNKNOWN) -> Self:
        """Return the denial after an internal error for which the mode is not known."""
        annotations = {"decision": Effect.ERROR.decision_label, "error": "crash"}
        return cls.deny(target, CRASHED, INTERNAL_ERROR, effect=Effect.ERROR, annotations=annotations)


def status_of(results: Sequence[ImageResult], jitter: Callable[[], float] = random.random) -> Status:
    """Return the Status of a denial; it asks for a retry if every denied image has a transient failure."""
    failures = [item.check.failure for item in results if item.effect is Effect.DENY]
    transient = [failure for failure in failures if failure is not None and failure.transient]
    if not transient or len(transient) < len(failures):
        return FORBIDDEN
    requested = max((failure.retry_after or 0.0 for failure in transient), default=0.0)
    spread = 1 + math.floor(jitter() * (MAX_RETRY_AFTER - 1))
    seconds = max(1, min(MAX_RETRY_AFTER, max(math.ceil(requested), spread)))
    throttled = all(failure.reason == "throttled" for failure in transient)
    return (TOO_MANY_REQUESTS if throttled else SERVICE_UNAVAILABLE)._replace(retry_after_seconds=seconds)
