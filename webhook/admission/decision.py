"""Findings into a decision: total, pure, and what is not understood denies."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from webhook.admission.uses import ImageUse
from webhook.images.reference import ImageReference
from webhook.policy.evaluation import Judgement
from webhook.policy.findings import Finding, Mode
from webhook.policy.model import Exemption, Policy, Rule

FORBIDDEN: Final = (403, "Forbidden")
TOO_MANY_REQUESTS: Final = (429, "TooManyRequests")
SERVICE_UNAVAILABLE: Final = (503, "ServiceUnavailable")
INTERNAL_ERROR: Final = (500, "InternalError")

MAX_RETRY_AFTER: Final = 5
"""Seconds; kubectl and controllers wait as long as they are told, so it stays short."""


class Effect(IntEnum):
    """What a finding does to the request, weakest first."""

    ALLOW = 0
    RECORD = 1
    """It would have been refused, or warned of, but its mode is ``audit``."""
    WARN = 2
    DENY = 3


class Outcome(StrEnum):
    """The decision in one word: a metric label, an audit annotation and a field of the log."""

    ALLOW = "allow"
    AUDIT = "audit"
    """Allowed; ``enforce`` would have refused it."""
    WARN = "warn"
    """Allowed with warnings."""
    DENY = "deny"
    ERROR = "error"
    """Our own failure; whether it was allowed depends on the mode."""


OUTCOMES: Final[Mapping[Effect, Outcome]] = {
    Effect.ALLOW: Outcome.ALLOW,
    Effect.RECORD: Outcome.AUDIT,
    Effect.WARN: Outcome.WARN,
    Effect.DENY: Outcome.DENY,
}
"""The decision that the strongest effect of a request makes."""


class JudgedUse(msgspec.Struct, frozen=True):
    """One image use with all that was found out about it.

    ``refused`` says that the finding refuses where the mode is ``enforce``; ``effect`` is what
    really happens. ``reference`` is ``None`` for a string that is none.
    """

    use: ImageUse
    judgement: Judgement
    effect: Effect
    refused: bool
    mode: Mode
    reference: ImageReference | None = None
    rule: Rule | None = None
    exemption: Exemption | None = None


class Decision(msgspec.Struct, frozen=True):
    """The answer to one request, ready to be written, with what records of it need.

    ``code`` and ``status_reason`` are the HTTP code and the reason of the Status that refuses;
    ``retry_after_seconds`` is 0 where trying again changes nothing. ``break_glass`` is the reason
    that an authorised user gave, ``None`` where no glass was broken.
    """

    outcome: Outcome
    allowed: bool
    judged: tuple[JudgedUse, ...] = ()
    code: int = 0
    status_reason: str = ""
    message: str = ""
    retry_after_seconds: int = 0
    warnings: Sequence[str] = ()
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    subject: str = ""
    break_glass: str | None = None
    policy: Policy | None = None
    """The policy that evaluated the images, ``None`` if none were; Events use its language."""


def refuses(judgement: Judgement, policy: Policy) -> Effect:
    """Return what a finding does where the mode is ``enforce``."""
    match judgement.finding:
        case Finding.TRUSTED | Finding.EXEMPT:
            return Effect.ALLOW
        case Finding.UNMANAGED:
            return {"allow": Effect.ALLOW, "warn": Effect.WARN}.get(policy.unmanaged_registries, Effect.DENY)
        case Finding.UNKNOWN:
            failure = judgement.failure
            may_pass = failure is not None and failure.allows_pass
            return Effect.WARN if may_pass and policy.on_lookup_failure == "allow" else Effect.DENY
        case _:
            return Effect.DENY


def temper(enforced: Effect, mode: Mode) -> Effect:
    """Return the effect that remains under a mode: ``warn`` warns, ``audit`` only records."""
    if enforced is Effect.ALLOW or mode is Mode.ENFORCE:
        return enforced
    return Effect.WARN if mode is Mode.WARN else Effect.RECORD


def outcome_of(judged: Sequence[JudgedUse]) -> Outcome:
    """Return the decision of a list of judged uses: the strongest effect among them."""
    return OUTCOMES[max((item.effect for item in judged), default=Effect.ALLOW)]


def status_of(
    judged: Sequence[JudgedUse], jitter: Callable[[], float] = random.random
) -> tuple[int, str, int]:
    """Return code, reason and seconds to wait for a denial.

    Where every use that denies is one that may pass by itself, the answer invites another try:
    kubectl and controllers then repeat it on their own.
    """
    failures = [item.judgement.failure for item in judged if item.effect is Effect.DENY]
    transient = [failure for failure in failures if failure is not None and failure.transient]
    if not transient or len(transient) < len(failures):
        return (*FORBIDDEN, 0)
    asked = max((failure.retry_after or 0.0 for failure in transient), default=0.0)
    spread = 1 + math.floor(jitter() * (MAX_RETRY_AFTER - 1))
    seconds = max(1, min(MAX_RETRY_AFTER, max(math.ceil(asked), spread)))
    throttled = all(failure.reason == "throttled" for failure in transient)
    return (*(TOO_MANY_REQUESTS if throttled else SERVICE_UNAVAILABLE), seconds)
