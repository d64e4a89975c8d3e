"""Events on Pods that were denied, would have been denied, or were admitted by break-glass.

An Event regards the Pod's controller, the Pod itself if it exists already, or else its namespace. ``observe``
only adds to a bounded queue; the log has every decision.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

from webhook.admission.decision import Decision, Effect
from webhook.admission.extraction import TargetKind
from webhook.admission.messages import Messages, printable
from webhook.admission.request import AdmissionRequest
from webhook.cluster.event_recorder import (
    EventApi,
    EventKey,
    EventMetrics,
    EventRecorder,
    ObjectReference,
    object_reference,
)
from webhook.policy.model import Policy

CONTROLLER: Final = "swr-trust/webhook"
"""``reportingController``, which must be a qualified name."""

MAX_IMAGES: Final = 3
"""Images that a note lists."""

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PODS: Final = frozenset({TargetKind.POD, TargetKind.MIRROR_POD, TargetKind.UNKNOWN})


class DecisionEvents(EventRecorder):
    """Implements ``webhook.admission.validator.DecisionObserver``."""

    def __init__(
        self,
        api: EventApi,
        policy: Callable[[], Policy],
        instance: str,
        recorder: EventMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to ``api`` as the replica ``instance``, in the language of ``policy``."""
        super().__init__(api, CONTROLLER, instance, recorder, clock)
        self._policy = policy

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:  # noqa: ARG002 - Events do not report the duration
        """Enqueue an Event for a decision that needs one; does not block."""
        if decision.effect is Effect.ALLOW and decision.break_glass is None:
            return
        if request.dry_run or decision.target not in _PODS:
            return
        if _NAMESPACE.fullmatch(request.namespace) is None:
            return  # The name becomes part of a path, and the sender is not always the API server.
        reason, note = _reason_and_note(request, decision, Messages(self._policy()))
        self.enqueue(EventKey(request.namespace, _regarding(request), reason, note))


def _reason_and_note(request: AdmissionRequest, decision: Decision, messages: Messages) -> tuple[str, str]:
    """Return the reason, one word, and the note of an Event."""
    if decision.break_glass is not None:
        user = printable(request.user_info.username, 100)
        note = " ".join((f"{user}: {decision.break_glass}", _images(decision, messages)))
        return "BreakGlassUsed", note.strip()
    if not decision.allowed:
        return "ImageRefused", decision.message
    note = _images(decision, messages) or " ".join(decision.warnings)
    return "ImageWouldBeRefused", note or decision.annotations["error"]


def _images(decision: Decision, messages: Messages) -> str:
    warned = [
        msgspec.structs.replace(item, effect=Effect.WARN)
        for item in decision.results
        if item.effect > Effect.ALLOW
    ]
    lines = messages.warnings(warned[:MAX_IMAGES])
    if len(warned) > MAX_IMAGES:
        lines.append(f"(+{len(warned) - MAX_IMAGES})")
    return " ".join(lines)


def _regarding(request: AdmissionRequest) -> ObjectReference:
    """Return the object of the Event: the Pod if it exists, its controller, or its namespace."""
    meta = request.object.metadata if request.object is not None else None
    if meta is not None:
        if request.operation == "UPDATE" and meta.name:
            return object_reference("v1", "Pod", meta.name, meta.uid)
        for owner in meta.owner_references:
            # A Node has no namespace, so its Event would not be in this one.
            if owner.controller and owner.name and owner.kind != "Node":
                return object_reference(owner.api_version, owner.kind, owner.name, owner.uid)
    return ObjectReference("v1", "Namespace", request.namespace)
