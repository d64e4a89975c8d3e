"""Events for those who read Events and not logs: what was refused, and what would have been.

An Event stands on the controller that wants the Pod, on the Pod where it exists already, and on the
namespace otherwise. Deciding only puts it into a bounded memory; the log holds every decision.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

from webhook.admission.decision import Decision, Effect, Outcome
from webhook.admission.messages import Messages, printable
from webhook.admission.request import AdmissionRequest
from webhook.admission.uses import Subject
from webhook.cluster.event_recorder import (
    EventApi,
    EventKey,
    EventMetrics,
    EventRecorder,
    ObjectReference,
    object_reference,
)

CONTROLLER: Final = "swr-trust/webhook"
"""``reportingController``: Kubernetes wants a qualified name."""

MAX_IMAGES: Final = 3
"""Images that a note spells out."""

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PODS: Final = frozenset({Subject.POD.value, Subject.MIRROR_POD.value, Subject.UNKNOWN.value})


class DecisionEvents(EventRecorder):
    """Implements ``webhook.admission.gate.DecisionObserver``."""

    def __init__(
        self,
        api: EventApi,
        instance: str,
        recorder: EventMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to ``api`` in the name of the replica ``instance``."""
        super().__init__(api, CONTROLLER, instance, recorder, clock)

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:  # noqa: ARG002 - how long it took is no matter here
        """Remember what is worth an Event; never waits and never calls."""
        if decision.outcome is Outcome.ALLOW and decision.break_glass is None:
            return
        if request.dry_run or decision.subject not in _PODS:
            return
        if _NAMESPACE.fullmatch(request.namespace) is None:
            return  # It becomes part of a path, and who sends a review is not always the API server.
        reason, note = _tell(request, decision)
        self.enqueue(EventKey(request.namespace, _regarding(request), reason, note))


def _tell(request: AdmissionRequest, decision: Decision) -> tuple[str, str]:
    """Return the reason, in one word as Events have it, and the note."""
    if decision.break_glass is not None:
        user = printable(request.user_info.username, 100)
        told = " ".join((f"{user}: {decision.break_glass}", _images(decision)))
        return "BreakGlassUsed", told.strip()
    if not decision.allowed:
        return "ImageRefused", decision.message
    told = _images(decision) or " ".join(decision.warnings)
    return "ImageWouldBeRefused", told or decision.annotations.get("error", "it could not be judged")


def _images(decision: Decision) -> str:
    """Return the images that were refused, or would have been, in the words of the policy that decided."""
    if decision.policy is None:
        return ""
    warned = [
        msgspec.structs.replace(item, effect=Effect.WARN)
        for item in decision.judged
        if item.effect > Effect.ALLOW
    ]
    lines = Messages(decision.policy).warnings(warned[:MAX_IMAGES])
    if len(warned) > MAX_IMAGES:
        lines.append(f"(+{len(warned) - MAX_IMAGES})")
    return " ".join(lines)


def _regarding(request: AdmissionRequest) -> ObjectReference:
    """Return what the Event stands on: the Pod if it exists, who wants it, or the namespace."""
    meta = request.object.metadata if request.object is not None else None
    if meta is not None:
        if request.operation == "UPDATE" and meta.name:
            return object_reference("v1", "Pod", meta.name, meta.uid)
        for owner in meta.owner_references:
            # A Node has no namespace, an Event about it would belong elsewhere.
            if owner.controller and owner.name and owner.kind != "Node":
                return object_reference(owner.api_version, owner.kind, owner.name, owner.uid)
    return ObjectReference("v1", "Namespace", request.namespace)
