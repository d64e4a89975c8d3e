"""From what is known about an image to a finding: pure and total, and what is unknown stays unknown."""

from __future__ import annotations

from typing import assert_never

import msgspec

from webhook.errors import RegistryUnavailable, TrustLookupError
from webhook.images.reference import ImageReference
from webhook.policy.findings import Finding
from webhook.trust.lookup import Failed, Found, LookupResult, Origin
from webhook.trust.records import TrustRecord, TrustStatus


class Judgement(msgspec.Struct, frozen=True):
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


def evaluate(reference: ImageReference, answer: LookupResult) -> Judgement:
    """Return the finding of an image that was looked up.

    A reference that pins a digest is trusted only if SWR holds that very digest under the tag: a
    runtime pulls the digest and ignores the tag. A tag that is not trusted is just that, whatever
    digest it holds.
    """
    match answer:
        case Failed(failure):
            return Judgement(Finding.UNKNOWN, failure.reason, failure=failure)
        case Found(record):
            pass
        case _:
            assert_never(answer)
    match record.status:
        case TrustStatus.MISSING:
            return _judge(Finding.MISSING, answer)
        case TrustStatus.UNTRUSTED:
            return _judge(Finding.UNTRUSTED, answer)
        case TrustStatus.TRUSTED if reference.digest in (None, record.digest):
            return _judge(Finding.TRUSTED, answer)
        case TrustStatus.TRUSTED:
            return _judge_mismatch(answer)
        case _:
            assert_never(record.status)


def _judge(finding: Finding, answer: Found) -> Judgement:
    return Judgement(finding, "", answer.record, answer.origin, answer.failure)


def _judge_mismatch(answer: Found) -> Judgement:
    """Return the finding where SWR holds another digest; what stands in never proves that."""
    if answer.origin is not Origin.STALE:
        return _judge(Finding.DIGEST_MISMATCH, answer)
    failure = answer.failure or RegistryUnavailable("SWR could not be asked for the digest of the tag")
    return Judgement(Finding.UNKNOWN, failure.reason, failure=failure)
