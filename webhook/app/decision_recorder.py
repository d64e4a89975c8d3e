"""Records each decision in metrics and in one log line."""

from __future__ import annotations

import logging
from typing import Any, Final

from webhook.admission.decision import Decision, Effect, JudgedUse, Outcome
from webhook.admission.request import AdmissionRequest
from webhook.telemetry.logs import LineLog
from webhook.telemetry.metrics import Metrics

LOGGER: Final = "webhook.decisions"

MAX_FINDINGS: Final = 20
"""Images of one request that the log line contains."""

MAX_NAME: Final = 300
"""Characters of a user name; Kubernetes has no limit."""

_EFFECTS = {effect: effect.name.lower() for effect in Effect}


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
            decision.subject or "unknown",
            request.operation,
            decision.outcome.value,
            dry_run=bool(request.dry_run),
            seconds=seconds,
        )
        for item in decision.judged:
            judgement = item.judgement
            metrics.image_judged(
                judgement.finding.value, judgement.reason, item.mode.value, _EFFECTS[item.effect]
            )
        if decision.break_glass is not None and not request.dry_run:
            metrics.break_glass_used()
        level = _level_of(decision)
        if level >= self._lines.level:
            self._lines.write(level, LOGGER, "decided", _fields(request, decision, seconds))


def _level_of(decision: Decision) -> int:
    if decision.outcome is Outcome.ERROR:
        return logging.ERROR
    if decision.subject == "ignored":
        return logging.DEBUG
    return logging.INFO


def _fields(request: AdmissionRequest, decision: Decision, seconds: float) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "uid": request.uid,
        "decision": decision.outcome.value,
        "allowed": decision.allowed,
        "operation": request.operation,
        "kind": request.kind.kind,
        "namespace": request.namespace,
        "object": request.object_name,
        "user": request.user_info.username[:MAX_NAME],
        "milliseconds": round(seconds * 1000, 2),
        "findings": [_finding(item) for item in decision.judged[:MAX_FINDINGS]],
    }
    if len(decision.judged) > MAX_FINDINGS:
        fields["more"] = len(decision.judged) - MAX_FINDINGS
    owner = _owner_of(request)
    if owner:
        fields["owner"] = owner
    if request.sub_resource:
        fields["subresource"] = request.sub_resource
    if request.dry_run:
        fields["dryRun"] = True
    if decision.break_glass is not None:
        fields["breakGlass"] = decision.break_glass
    if decision.message and not decision.judged:
        fields["reason"] = decision.message
    return fields


def _owner_of(request: AdmissionRequest) -> str:
    """Return ``Kind/name`` of the controller that creates the object, according to the object itself."""
    meta = request.object.metadata if request.object is not None else None
    for reference in meta.owner_references if meta is not None else ():
        if reference.controller and reference.kind and reference.name:
            return f"{reference.kind[:MAX_NAME]}/{reference.name[:MAX_NAME]}"
    return ""


def _finding(item: JudgedUse) -> dict[str, Any]:
    judgement = item.judgement
    finding: dict[str, Any] = {
        "field": item.use.field,
        "image": item.use.image[:300],
        "finding": judgement.finding.value,
        "effect": _EFFECTS[item.effect],
    }
    if judgement.reason:
        finding["reason"] = judgement.reason
    if judgement.origin is not None:
        finding["from"] = judgement.origin.value
    if judgement.failure is not None:
        finding["detail"] = judgement.failure.detail
        finding["fault"] = judgement.failure.fault.value
    if item.rule is not None:
        finding["rule"] = item.rule.name
    if item.exemption is not None:
        finding["exemption"] = item.exemption.name
    return finding
