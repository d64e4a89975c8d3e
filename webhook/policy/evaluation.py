"""From what is known about an image to a finding: pure and total, and what is unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass

from webhook.errors import TrustLookupError
from webhook.images.reference import ImageReference
from webhook.policy.findings import Finding
from webhook.trust.lookup import Answer, Known, Origin, Unknown
from webhook.trust.records import TrustRecord, TrustStatus


@dataclass(frozen=True, slots=True)
class Judgement:
    """The one finding of an image, and what led to it.

    ``reason`` is stable and safe as a metric label, and empty where the finding says all.
    ``record`` and ``origin`` are set where SWR's answer is known, ``failure`` where it is not, or
    where an earlier answer had to stand in.
    """

    finding: Finding
    reason: str = ""
    record: TrustRecord | None = None
    origin: Origin | None = None
    failure: TrustLookupError | None = None


def evaluate(reference: ImageReference, answer: Answer) -> Judgement:
    """Return the finding of an image that was looked up.

    A reference that pins a digest is trusted only if SWR holds that very digest under the tag: a
    runtime pulls the digest and ignores the tag. An answer that merely stands in proves trust, but
    never a mismatch.
    """
    if isinstance(answer, Unknown):
        return Judgement(Finding.UNKNOWN, answer.failure.reason, failure=answer.failure)
    record = answer.record
    if record.status is TrustStatus.MISSING:
        return _judge(Finding.MISSING, answer)
    if record.status is not TrustStatus.TRUSTED:
        return _judge(Finding.UNTRUSTED, answer)
    pinned = reference.digest if reference.tag is not None else None
    if pinned is not None and record.digest != pinned:
        if answer.origin is Origin.STALE and answer.failure is not None:
            return Judgement(Finding.UNKNOWN, answer.failure.reason, failure=answer.failure)
        return _judge(Finding.DIGEST_MISMATCH, answer)
    return _judge(Finding.TRUSTED, answer)


def _judge(finding: Finding, answer: Known) -> Judgement:
    return Judgement(finding, "", answer.record, answer.origin, answer.failure)
