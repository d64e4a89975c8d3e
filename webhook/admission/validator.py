"""The validator: returns one decision for each request, even if an internal error occurs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from webhook.admission.annotations import annotate
from webhook.admission.decision import (
    FORBIDDEN,
    INTERNAL_ERROR,
    TOO_MANY_REQUESTS,
    Decision,
    Effect,
    ImageResult,
    Status,
    status_of,
)
from webhook.admission.evaluator import CurrentEvaluator, Evaluator, TrustAnswers
from webhook.admission.extraction import ImageUse, TargetKind, classify
from webhook.admission.messages import printable
from webhook.admission.observing import notify
from webhook.admission.request import AdmissionRequest
from webhook.admission.selection import MAX_IMAGES, AwaitedImages, select_images
from webhook.deadlines import Deadline, LargeWork
from webhook.policy.model import Policy

logger = logging.getLogger(__name__)

BUSY_SECONDS: Final = 2
"""Seconds after which a client is told to retry if the webhook was busy."""

MAX_REASON_LENGTH: Final = 200
"""Characters of a break-glass reason that are recorded."""


class DecisionObserver(Protocol):
    """Records decisions: metrics, the decision log, Events. Must not raise or block."""

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:
        """Record a decision that took ``seconds``."""
        ...  # pragma: no cover


class Validator:
    """Validates requests; each is evaluated under the policy that is current when it arrives."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        answers: TrustAnswers,
        observers: Sequence[DecisionObserver] = (),
        clock: Callable[[], float] = time.time,
        large_work: LargeWork | None = None,
        awaited: AwaitedImages | None = None,
    ) -> None:
        """Use ``policy()`` for each request; ``clock`` is in seconds since the epoch.

        ``large_work`` and ``awaited`` are shared with the ``Mutator`` of the process.
        """
        self._evaluator = CurrentEvaluator(policy, answers, large_work or LargeWork())
        self._observers = tuple(observer.observe for observer in observers)
        self._clock = clock
        self._awaited = awaited or AwaitedImages()

    def validate(self, request: AdmissionRequest, deadline: Deadline) -> Decision:
        """Return the decision on a request; never raises. Only the identity of the request is kept.

        An internal error denies the request unless the mode of its namespace is ``warn`` or ``audit``: a
        webhook that does not enforce must not block a cluster.
        """
        return self._respond(
            request, lambda evaluator, target: self._validate(evaluator, request, target, deadline)
        )

    def deny_as_busy(self, request: AdmissionRequest) -> Decision:
        """Return the decision on a request that the webhook has no capacity for; never raises.

        A denial asks the client to retry. As for any request, the mode may admit it with a warning instead.
        """
        status = TOO_MANY_REQUESTS._replace(retry_after_seconds=BUSY_SECONDS)

        def deny(evaluator: Evaluator, target: TargetKind) -> Decision:
            message = evaluator.messages.denial_message("busy")
            return _deny_request(evaluator, request, target, "busy", message, status)

        return self._respond(request, deny)

    def _respond(
        self, request: AdmissionRequest, decide: Callable[[Evaluator, TargetKind], Decision]
    ) -> Decision:
        started = time.monotonic()
        evaluator: Evaluator | None = None
        target = TargetKind.UNKNOWN
        try:
            evaluator = self._evaluator.get()
            target = classify(request)
            decision = decide(evaluator, target)
        except Exception:
            logger.exception("failed to decide a request", extra={"uid": request.uid})
            decision = _crash(evaluator, request, target)
        notify(self._observers, request, decision, time.monotonic() - started)
        return decision

    def _validate(
        self, evaluator: Evaluator, request: AdmissionRequest, target: TargetKind, deadline: Deadline
    ) -> Decision:
        policy, messages = evaluator.policy, evaluator.messages
        if target is TargetKind.IGNORED or (target is TargetKind.WORKLOAD and policy.workloads == "off"):
            return Decision.allow(target)
        if target is TargetKind.UNKNOWN:
            parts = (request.resource.group, request.resource.resource, request.sub_resource)
            resource = printable(f"{request.operation} {'/'.join(part for part in parts if part)}", 120)
            message = messages.denial_message("unknown-kind", resource=resource)
            return _deny_request(evaluator, request, target, "unknown-kind", message)
        if target is TargetKind.MIRROR_POD:
            annotations = annotate(policy, Effect.ALLOW, (), mirror=True)
            return Decision.allow(target, annotations=annotations)
        uses, count = select_images(request, target)
        if uses is None:
            detail = printable(request.unreadable, MAX_REASON_LENGTH) or messages.note("no-pod-spec")
            message = messages.denial_message("unreadable", detail=detail)
            return _deny_request(evaluator, request, target, "unreadable", message)
        if count > MAX_IMAGES:
            detail = messages.note("too-many-images", count=count, limit=MAX_IMAGES)
            message = messages.denial_message("unreadable", detail=detail)
            return _deny_request(evaluator, request, target, "too-many-images", message)
        return self._validate_images(evaluator, request, target, uses, deadline)

    def _validate_images(
        self,
        evaluator: Evaluator,
        request: AdmissionRequest,
        target: TargetKind,
        uses: Sequence[ImageUse],
        deadline: Deadline,
    ) -> Decision:
        messages = evaluator.messages
        # An update that adds no image is admitted anyway, so break-glass is not used.
        break_glass, notes = _break_glass(evaluator, request) if uses else (None, ())
        request.keep_identity()
        results = self._await_results(evaluator, uses, request.namespace, deadline)
        effect = max([item.effect for item in results], default=Effect.ALLOW)
        annotations = annotate(evaluator.policy, effect, results, break_glass=break_glass)
        if break_glass is not None:
            used = "break-glass-used" if effect is Effect.DENY else "break-glass-unneeded"
            note = messages.note(used, annotation=evaluator.policy.break_glass.annotation)
            results = tuple(map(_admit, results))
            return Decision.allow(
                target,
                min(effect, Effect.WARN),
                results=results,
                warnings=messages.warnings(results, note),
                annotations=annotations,
                break_glass=break_glass,
                policy=evaluator.policy,
            )
        if effect is Effect.DENY:
            message = messages.denial(results, notes)
            return Decision.deny(
                target,
                message,
                status_of(results),
                results=results,
                annotations=annotations,
                policy=evaluator.policy,
            )
        warnings = messages.warnings(results) if effect is Effect.WARN else ()
        return Decision.allow(
            target,
            effect,
            results=results,
            warnings=warnings,
            annotations=annotations,
            policy=evaluator.policy,
        )

    def _await_results(
        self, evaluator: Evaluator, uses: Sequence[ImageUse], namespace: str, deadline: Deadline
    ) -> tuple[ImageResult, ...]:
        """Evaluate image uses; their lookups end now if too many images are awaited already."""
        count = len(uses)
        end = self._awaited.enter(count, deadline)
        try:
            return evaluator.evaluate(uses, namespace, end, self._clock())
        finally:
            self._awaited.leave(count)


def _crash(evaluator: Evaluator | None, request: AdmissionRequest, target: TargetKind) -> Decision:
    """Return the decision after an internal error; the functions called here may fail, too."""
    if evaluator is not None:
        try:
            message = evaluator.messages.denial_message("crash")
            return _deny_request(evaluator, request, target, "crash", message, INTERNAL_ERROR)
        except Exception:
            logger.exception("failed to find the mode of a request", extra={"uid": request.uid})
    return Decision.error(target)


def _deny_request(
    evaluator: Evaluator,
    request: AdmissionRequest,
    target: TargetKind,
    error: str,
    message: str,
    status: Status = FORBIDDEN,
) -> Decision:
    """Deny a request whose images cannot be evaluated, or warn about or record it if the mode says so."""
    mode, effect = evaluator.effect_without_images(request.namespace, target)
    recorded = Effect.ERROR if status is INTERNAL_ERROR else effect
    annotations = annotate(evaluator.policy, recorded, (), error=error, mode=mode)
    if effect is Effect.DENY:
        return Decision.deny(target, message, status, effect=recorded, annotations=annotations)
    is_workload = target is TargetKind.WORKLOAD
    warning = evaluator.messages.denial_as_warning(message, workload=is_workload)
    warnings = (warning,) if effect is Effect.WARN else ()
    return Decision.allow(target, recorded, warnings=warnings, annotations=annotations)


def _break_glass(evaluator: Evaluator, request: AdmissionRequest) -> tuple[str | None, tuple[str, ...]]:
    """Return the reason of an authorized use of break-glass, and a note on an unauthorized one.

    Any author of the object can write the annotation. It takes effect only if the API server authenticated
    the requester as a listed user or group.
    """
    break_glass, messages = evaluator.policy.break_glass, evaluator.messages
    annotation = break_glass.annotation
    meta = request.object.metadata if request.object is not None else None
    value = meta.annotation(annotation) if meta is not None else None
    if value is None:
        return None, ()
    user = request.user_info
    if not break_glass.allows(user.username, user.groups):
        who = printable(user.username, 100)
        return None, (messages.note("break-glass-ignored", annotation=annotation, user=who),)
    reason = value.strip()
    if not reason:
        return None, (messages.note("break-glass-empty", annotation=annotation),)
    return printable(reason, MAX_REASON_LENGTH), ()


def _admit(item: ImageResult) -> ImageResult:
    """Return the result of an image that break-glass admits."""
    return msgspec.structs.replace(item, effect=Effect.WARN) if item.effect is Effect.DENY else item
