"""Events about Pods that were denied, or would be denied once enforced, and about pinned images.

An Event is about the controller that creates the Pod, about the Pod if it exists, or about the namespace. It
is only queued during a review; the log contains every decision.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from webhook.admission.decision import Decision, Effect
from webhook.admission.extraction import TargetKind
from webhook.admission.messages import MAX_IMAGE_LENGTH, Messages, printable
from webhook.admission.mutation import Mutation, Pin
from webhook.admission.objects import controller_of
from webhook.admission.request import AdmissionRequest
from webhook.cluster.event_recorder import (
    EventKey,
    EventRecorder,
    ObjectReference,
    object_reference,
)

MAX_IMAGES: Final = 3
"""Images that a note names."""

PIN_ACTION: Final = "PinImages"

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PODS: Final = frozenset({TargetKind.POD, TargetKind.MIRROR_POD, TargetKind.UNKNOWN})


class DecisionEvents(EventRecorder):
    """Implements ``DecisionObserver`` and ``MutationObserver`` of ``webhook.admission``."""

    controller = "swr-trust/webhook"

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:  # noqa: ARG002 - its time is not needed
        """Queue an Event for a denial, warning or break-glass use, without waiting."""
        if decision.effect is Effect.ALLOW and decision.break_glass is None:
            return
        if request.dry_run or decision.target not in _PODS:
            return
        if _NAMESPACE.fullmatch(request.namespace) is None:
            return  # It becomes part of a path, and the sender of a review is not always the API server.
        reason, note = _reason_and_note(request, decision)
        self.enqueue(EventKey(request.namespace, _regarding(request), reason, note))

    def observe_mutation(self, request: AdmissionRequest, mutation: Mutation, seconds: float) -> None:  # noqa: ARG002 - its time is not needed
        """Queue an Event about pinned images, without waiting. A kept pin causes no Event."""
        pins = [pin for pin in mutation.pins if not pin.is_kept]
        if not pins or request.dry_run or _NAMESPACE.fullmatch(request.namespace) is None:
            return
        note = _pins(pins[:MAX_IMAGES])
        if len(pins) > MAX_IMAGES:
            note += f" (+{len(pins) - MAX_IMAGES})"
        self.enqueue(
            EventKey(
                request.namespace,
                _regarding(request),
                "ImagePinned",
                note,
                is_warning=False,
                action=PIN_ACTION,
            )
        )


def _pins(pins: Sequence[Pin]) -> str:
    return " ".join(
        f'{pin.use.field} "{printable(pin.use.image, MAX_IMAGE_LENGTH)}": {pin.digest}' for pin in pins
    )


def _reason_and_note(request: AdmissionRequest, decision: Decision) -> tuple[str, str]:
    """Return the reason, in one word as Events have it, and the note."""
    if decision.break_glass is not None:
        user = printable(request.user_info.username, 100)
        note = " ".join((f"{user}: {decision.break_glass}", _images(decision)))
        return "BreakGlassUsed", note.strip()
    if not decision.allowed:
        return "ImageRefused", decision.message
    note = _images(decision) or " ".join(decision.warnings)
    return "ImageWouldBeRefused", note or decision.annotations.get("error", "it could not be evaluated")


def _images(decision: Decision) -> str:
    """Return the images that were denied, or would have been, in the language of the policy that decided."""
    if decision.policy is None:
        return ""
    warned = [
        msgspec.structs.replace(item, effect=Effect.WARN)
        for item in decision.results
        if item.effect > Effect.ALLOW
    ]
    lines = Messages(decision.policy).warnings(warned[:MAX_IMAGES])
    if len(warned) > MAX_IMAGES:
        lines.append(f"(+{len(warned) - MAX_IMAGES})")
    return " ".join(lines)


def _regarding(request: AdmissionRequest) -> ObjectReference:
    """Return the object of the Event: the Pod if it exists, its controller, or the namespace."""
    meta = request.object.metadata if request.object is not None else None
    if meta is not None:
        if request.operation == "UPDATE" and meta.name:
            return object_reference("v1", "Pod", meta.name, meta.uid)
        owner = controller_of(meta.owner_references)
        # A Node has no namespace, so an Event about it would be elsewhere.
        if owner is not None and owner.kind != "Node":
            return object_reference(owner.api_version, owner.kind, owner.name, owner.uid)
    return ObjectReference("v1", "Namespace", request.namespace)
