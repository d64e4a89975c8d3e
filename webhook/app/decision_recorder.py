"""Records each decision in metrics and in one log line."""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from webhook.admission.decision import Decision, Effect, ImageResult
from webhook.admission.evaluator import NOT_PINNED
from webhook.admission.extraction import TargetKind
from webhook.admission.objects import controller_of
from webhook.admission.request import AdmissionRequest
from webhook.errors import Fault
from webhook.policy.findings import Finding
from webhook.policy.model import Policy
from webhook.telemetry.logs import LineLog
from webhook.telemetry.metrics import Metrics
from webhook.trust.lookup import Origin

LOGGER: Final = "webhook.decisions"

MAX_FINDINGS: Final = 20
"""Images of one request that the log lists."""

MAX_NAME: Final = 300
"""Characters of a user name; Kubernetes has no limit."""


class _Finding(msgspec.Struct, omit_defaults=True, gc=False):
    """The result of one image in the log; optional fields are left out if they are not set."""

    field: str
    image: str
    finding: Finding
    effect: str
    reason: str = ""
    origin: Origin | None = msgspec.field(default=None, name="from")
    detail: str | None = None
    fault: Fault | None = None
    rule: str | None = None
    exemption: str | None = None
    signers: tuple[str, ...] = ()


class _Fields(msgspec.Struct, omit_defaults=True, rename="camel"):
    """The fields of the log line; ``milliseconds`` is the time of the review."""

    uid: str
    decision: str
    allowed: bool
    operation: str
    kind: str
    namespace: str
    object: str
    user: str
    milliseconds: float
    findings: list[_Finding]
    more: int = 0
    owner: str = ""
    subresource: str = ""
    dry_run: bool = False
    break_glass: str | None = None
    reason: str = ""


class DecisionRecorder:
    """Implements ``DecisionObserver``."""

    def __init__(self, metrics: Metrics, lines: LineLog) -> None:
        """Count into ``metrics`` and write to ``lines``."""
        self._metrics = metrics
        self._lines = lines

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:
        """Count a decision and write its log line."""
        metrics = self._metrics
        metrics.request_decided(
            decision.target,
            request.operation,
            decision.effect.decision_label,
            dry_run=bool(request.dry_run),
            seconds=seconds,
        )
        for item in decision.results:
            check = item.check
            metrics.image_evaluated(check.finding, check.reason, item.mode, item.effect.image_label)
        policy = decision.policy
        if (
            policy is not None
            and policy.may_pin
            and decision.target is TargetKind.POD
            and not request.dry_run
        ):
            metrics.pinning.unpinned(sum(_is_unpinned(policy, item) for item in decision.results))
        if decision.break_glass is not None and not request.dry_run:
            metrics.break_glass_used()
        level = _level_of(decision)
        if level >= self._lines.level:
            self._lines.write(level, LOGGER, "decided", _fields_of(request, decision, seconds))


def _level_of(decision: Decision) -> int:
    if decision.effect is Effect.ERROR:
        return logging.ERROR
    if decision.target is TargetKind.IGNORED:
        return logging.DEBUG
    return logging.INFO


def _fields_of(request: AdmissionRequest, decision: Decision, seconds: float) -> _Fields:
    fields = _Fields(
        request.uid,
        decision.effect.decision_label,
        decision.allowed,
        request.operation,
        request.kind.kind,
        request.namespace,
        request.object_name,
        request.user_info.username[:MAX_NAME],
        round(seconds * 1000, 2),
        [_finding(item) for item in decision.results[:MAX_FINDINGS]],
        max(0, len(decision.results) - MAX_FINDINGS),
        owner_of(request),
        request.sub_resource,
        bool(request.dry_run),
        decision.break_glass,
    )
    if not decision.results:
        fields.reason = decision.message
    return fields


def _is_unpinned(policy: Policy, item: ImageResult) -> bool:
    """Return whether the policy pins an image that came by its tag, although it is trusted."""
    check, reference = item.check, item.reference
    return check.reason == NOT_PINNED or (
        check.finding is Finding.TRUSTED
        and reference is not None
        and reference.digest is None
        and policy.pins(item.rule)
    )


def owner_of(request: AdmissionRequest) -> str:
    """Return ``Kind/name`` of the object's controller, as its owner references claim."""
    meta = request.object.metadata if request.object is not None else None
    owner = controller_of(meta.owner_references) if meta is not None else None
    return f"{owner.kind[:MAX_NAME]}/{owner.name[:MAX_NAME]}" if owner is not None else ""


def _finding(item: ImageResult) -> _Finding:
    check = item.check
    finding = _Finding(
        item.use.field,
        item.use.image[:300],
        check.finding,
        item.effect.image_label,
        check.reason,
        check.origin,
    )
    finding.signers = check.signers
    if check.failure is not None:
        finding.detail = check.failure.detail
        finding.fault = check.failure.fault
    if item.rule is not None:
        finding.rule = item.rule.name
    if item.exemption is not None:
        finding.exemption = item.exemption.name
    return finding
