"""Records each decision in metrics and in one log line."""

from __future__ import annotations

import logging
from typing import Any, Final

from webhook.admission.decision import Decision, Effect, ImageResult
from webhook.admission.extraction import TargetKind
from webhook.admission.objects import controller_of
from webhook.admission.request import AdmissionRequest
from webhook.telemetry.logs import LineLog
from webhook.telemetry.metrics import Metrics

LOGGER: Final = "webhook.decisions"

MAX_FINDINGS: Final = 20
"""Images of one request that the log lists."""

MAX_NAME: Final = 300
"""Characters of a user name; Kubernetes has no limit."""


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
            decision.target.value,
            request.operation,
            decision.effect.decision_label,
            dry_run=bool(request.dry_run),
            seconds=seconds,
        )
        for item in decision.results:
            check = item.check
            metrics.image_evaluated(
                check.finding.value, check.reason, item.mode.value, item.effect.image_label
            )
        if decision.break_glass is not None and not request.dry_run:
            metrics.break_glass_used()
        level = _level_of(decision)
        if level >= self._lines.level:
            self._lines.write(level, LOGGER, "decided", _fields(request, decision, seconds))


def _level_of(decision: Decision) -> int:
    if decision.effect is Effect.ERROR:
        return logging.ERROR
    if decision.target is TargetKind.IGNORED:
        return logging.DEBUG
    return logging.INFO


def _fields(request: AdmissionRequest, decision: Decision, seconds: float) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "uid": request.uid,
        "decision": decision.effect.decision_label,
        "allowed": decision.allowed,
        "operation": request.operation,
        "kind": request.kind.kind,
        "namespace": request.namespace,
        "object": request.object_name,
        "user": request.user_info.username[:MAX_NAME],
        "milliseconds": round(seconds * 1000, 2),
        "findings": [_finding(item) for item in decision.results[:MAX_FINDINGS]],
    }
    if len(decision.results) > MAX_FINDINGS:
        fields["more"] = len(decision.results) - MAX_FINDINGS
    owner = _owner_of(request)
    if owner:
        fields["owner"] = owner
    if request.sub_resource:
        fields["subresource"] = request.sub_resource
    if request.dry_run:
        fields["dryRun"] = True
    if decision.break_glass is not None:
        fields["breakGlass"] = decision.break_glass
    if decision.message and not decision.results:
        fields["reason"] = decision.message
    return fields


def _owner_of(request: AdmissionRequest) -> str:
    """Return ``Kind/name`` of the object's controller, as its owner references claim."""
    meta = request.object.metadata if request.object is not None else None
    owner = controller_of(meta.owner_references) if meta is not None else None
    return f"{owner.kind[:MAX_NAME]}/{owner.name[:MAX_NAME]}" if owner is not None else ""


def _finding(item: ImageResult) -> dict[str, Any]:
    check = item.check
    finding: dict[str, Any] = {
        "field": item.use.field,
        "image": item.use.image[:300],
        "finding": check.finding.value,
        "effect": item.effect.image_label,
    }
    if check.reason:
        finding["reason"] = check.reason
    if check.origin is not None:
        finding["from"] = check.origin.value
    if check.failure is not None:
        finding["detail"] = check.failure.detail
        finding["fault"] = check.failure.fault.value
    if item.rule is not None:
        finding["rule"] = item.rule.name
    if item.exemption is not None:
        finding["exemption"] = item.exemption.name
    return finding
