"""The gate: one request in, one decision out, whatever happens in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from webhook.admission.annotations import annotate
from webhook.admission.decision import (
    FORBIDDEN,
    INTERNAL_ERROR,
    OUTCOMES,
    TOO_MANY_REQUESTS,
    Decision,
    Effect,
    JudgedUse,
    Outcome,
    outcome_of,
    status_of,
    temper,
)
from webhook.admission.judging import FEW, Judge, TrustAnswers
from webhook.admission.messages import MAX_WARNING, Messages, printable
from webhook.admission.request import AdmissionRequest
from webhook.admission.uses import (
    ImageUse,
    Subject,
    changed_uses,
    classify,
    count_images,
    find_uses,
    has_same_images,
    shorten,
)
from webhook.deadlines import Deadline, LargeWork
from webhook.policy.findings import Mode
from webhook.policy.model import Policy

logger = logging.getLogger(__name__)

MAX_USES: Final = 200
"""Images of one request that are judged. Pods have a handful, and an object of 3 MB has room for tens of
thousands: they would keep everybody else waiting for seconds."""

MAX_FOUND: Final = 1000
"""Images of one object that are looked through for those that an update adds or changes."""

MAX_AWAITED: Final = 50_000
"""Images of all reviews together from which a review of many waits for none. What is known of an image takes
2 KB until it is answered, while a body names it in 90 bytes; 1,500 ordinary reviews have some thousands."""

BUSY_SECONDS: Final = 2
"""Seconds after which a client that came at a busy moment is told to try again."""

MAX_REASON_LENGTH: Final = 200
"""Characters of a break-glass reason that are kept on record."""


class DecisionObserver(Protocol):
    """Is told of every decision: metrics, the decision log, Events. Must not raise or wait."""

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:
        """Take note of a decision that took ``seconds``."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class _Bench:
    """What sits in judgement under one policy: made once per policy, used until the next one."""

    policy: Policy
    judge: Judge
    messages: Messages


class Gate:
    """Decides requests under whatever policy is current when they arrive.

    A request is decided by one policy from beginning to end.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        answers: TrustAnswers,
        observers: Sequence[DecisionObserver] = (),
        clock: Callable[[], float] = time.time,
        large_work: LargeWork | None = None,
    ) -> None:
        """Decide by ``policy()``; ``clock`` is in seconds since the epoch.

        ``large_work`` is the process's own, shared with whatever else takes long in it.
        """
        self._large_work = large_work if large_work is not None else LargeWork()
        self._policy = policy
        self._answers = answers
        self._observers = tuple(observers)
        self._clock = clock
        self._bench: _Bench | None = None
        self._awaited = 0

    def decide(self, request: AdmissionRequest, deadline: Deadline) -> Decision:
        """Return the decision; never raises. The request is left with what identifies it.

        Our own failure denies, unless the mode of the namespace is a milder one: a gate that only
        watches must not stop a cluster.
        """
        return self._answer(request, lambda bench, subject: self._decide(bench, request, subject, deadline))

    def refuse_as_busy(self, request: AdmissionRequest) -> Decision:
        """Return the decision for a request that there is no room for now; never raises.

        Its client is told to try again. Nothing is admitted for it, unless the mode is a milder one.
        """

        def refuse(bench: _Bench, subject: Subject) -> Decision:
            message = bench.messages.refusal("busy")
            decision = _refuse_whole(bench, request, subject, "busy", message)
            if decision.allowed:
                return decision
            code, reason = TOO_MANY_REQUESTS
            return msgspec.structs.replace(
                decision, code=code, status_reason=reason, retry_after_seconds=BUSY_SECONDS
            )

        return self._answer(request, refuse)

    def _answer(self, request: AdmissionRequest, decide: Callable[[_Bench, Subject], Decision]) -> Decision:
        started = time.monotonic()
        bench: _Bench | None = None
        subject = Subject.UNKNOWN
        try:
            bench = self._current_bench()
            subject = classify(request)
            decision = decide(bench, subject)
        except Exception:
            logger.exception("failed to decide a request", extra={"uid": request.uid})
            decision = _crashed(bench, request, subject)
        seconds = time.monotonic() - started
        for observer in self._observers:
            try:
                observer.observe(request, decision, seconds)
            except Exception:
                logger.exception("failed to record a decision", extra={"uid": request.uid})
        return decision

    def _current_bench(self) -> _Bench:
        policy = self._policy()
        bench = self._bench
        if bench is None or bench.policy is not policy:
            bench = _Bench(policy, Judge(policy, self._answers, self._large_work), Messages(policy))
            self._bench = bench
        return bench

    def _decide(
        self, bench: _Bench, request: AdmissionRequest, subject: Subject, deadline: Deadline
    ) -> Decision:
        policy = bench.policy
        if subject is Subject.IGNORED or (subject is Subject.WORKLOAD and policy.workloads == "off"):
            return Decision(Outcome.ALLOW, allowed=True, subject=subject.value)
        if subject is Subject.UNKNOWN:
            parts = (request.resource.group, request.resource.resource, request.sub_resource)
            resource = printable(f"{request.operation} {'/'.join(part for part in parts if part)}", 120)
            message = bench.messages.refusal("unknown-kind", resource=resource)
            return _refuse_whole(bench, request, subject, "unknown-kind", message)
        found = count_images(subject, request.kind.kind, request.object)
        if found > MAX_FOUND:
            return self._decide_many(bench, request, subject, found)
        uses = find_uses(subject, request.kind.kind, request.object)
        if uses is None:
            if request.unreadable:
                detail = printable(request.unreadable, MAX_REASON_LENGTH)
            else:
                detail = bench.messages.note("no-pod-spec")
            message = bench.messages.refusal("unreadable", detail=detail)
            return _refuse_whole(bench, request, subject, "unreadable", message)
        if subject is Subject.MIRROR_POD:
            return _allow_mirror_pod(bench)
        if request.operation == "UPDATE":
            if count_images(subject, request.kind.kind, request.old_object) > MAX_FOUND:
                request.old_object = None
            uses = changed_uses(uses, find_uses(subject, request.kind.kind, request.old_object))
        if len(uses) > MAX_USES:
            return _refuse_many(bench, request, subject, len(uses))
        uses = [shorten(use) for use in uses]
        return self._decide_uses(bench, request, subject, uses, deadline)

    @contextmanager
    def _awaiting(self, count: int, deadline: Deadline) -> Iterator[Deadline]:
        """Count images that answers are awaited for; yields until when: now, where there are too many."""
        self._awaited += count
        try:
            yield Deadline.after(0) if count > FEW and self._awaited > MAX_AWAITED else deadline
        finally:
            self._awaited -= count

    def _decide_many(
        self, bench: _Bench, request: AdmissionRequest, subject: Subject, found: int
    ) -> Decision:
        """Refuse an object of very many images, unless it is an update that leaves them as they were."""
        kind = request.kind.kind
        if subject is Subject.MIRROR_POD:
            return _allow_mirror_pod(bench)
        if request.operation == "UPDATE" and has_same_images(
            subject, kind, request.object, request.old_object
        ):
            return self._decide_uses(bench, request, subject, (), Deadline.after(0))
        return _refuse_many(bench, request, subject, found)

    def _decide_uses(
        self,
        bench: _Bench,
        request: AdmissionRequest,
        subject: Subject,
        uses: Sequence[ImageUse],
        deadline: Deadline,
    ) -> Decision:
        policy, messages = bench.policy, bench.messages
        # An update that brings in no image passes by itself: there is no glass to break.
        glass, notes = _break_glass(policy, messages, request) if uses else (None, ())
        request.keep_identity()
        with self._awaiting(len(uses), deadline) as may_wait_until:
            judged = bench.judge.judge(uses, request.namespace, may_wait_until, self._clock())
        outcome = outcome_of(judged)
        annotations = annotate(policy, outcome, judged, break_glass=glass)
        if glass is not None:
            passed = tuple(_let_pass(item) for item in judged)
            used = "break-glass-used" if outcome is Outcome.DENY else "break-glass-unneeded"
            note = messages.note(used, annotation=policy.break_glass.annotation)
            return Decision(
                outcome=Outcome.WARN if outcome is Outcome.DENY else outcome,
                allowed=True,
                judged=passed,
                warnings=messages.warnings(passed, note),
                annotations=annotations,
                subject=subject.value,
                break_glass=glass,
                policy=policy,
            )
        if outcome is not Outcome.DENY:
            return Decision(
                outcome=outcome,
                allowed=True,
                judged=judged,
                warnings=messages.warnings(judged) if outcome is Outcome.WARN else (),
                annotations=annotations,
                subject=subject.value,
                policy=policy,
            )
        code, reason, seconds = status_of(judged)
        return Decision(
            outcome=outcome,
            allowed=False,
            judged=judged,
            code=code,
            status_reason=reason,
            message=messages.denial(judged, notes),
            retry_after_seconds=seconds,
            annotations=annotations,
            subject=subject.value,
            policy=policy,
        )


def _crashed(bench: _Bench | None, request: AdmissionRequest, subject: Subject) -> Decision:
    """Return the decision where our own code failed, perhaps in what this calls, too."""
    mode, effect, annotations = Mode.ENFORCE, Effect.DENY, {"decision": str(Outcome.ERROR), "error": "crash"}
    message = "denied by image trust policy: the webhook failed and admits nothing it has not judged"
    if bench is not None:
        try:
            mode, effect = _strictness(bench.policy, request, subject)
            annotations = annotate(bench.policy, Outcome.ERROR, (), error="crash", mode=mode)
            message = bench.messages.refusal("crash")
        except Exception:
            logger.exception("failed to tell the mode of a request", extra={"uid": request.uid})
    denied = effect is Effect.DENY
    return Decision(
        Outcome.ERROR,
        allowed=not denied,
        code=INTERNAL_ERROR[0] if denied else 0,
        status_reason=INTERNAL_ERROR[1] if denied else "",
        message=message if denied else "",
        warnings=_warnings(bench, subject, message) if effect is Effect.WARN else (),
        annotations=annotations,
        subject=subject.value,
    )


def _warnings(bench: _Bench | None, subject: Subject, message: str) -> tuple[str, ...]:
    """Return the warning of a request that is admitted although ``message`` would refuse it."""
    if bench is None:
        return (printable(message, MAX_WARNING),)
    return (bench.messages.refusal_as_warning(message, workload=subject is Subject.WORKLOAD),)


def _strictness(policy: Policy, request: AdmissionRequest, subject: Subject) -> tuple[Mode, Effect]:
    """Return the mode for what cannot be judged by its images, and what that does to it."""
    mode = policy.mode_for(policy.rule_for(request.namespace, None))
    effect = temper(Effect.DENY, mode)
    if subject is Subject.WORKLOAD and policy.workloads != "enforce":
        effect = min(effect, Effect.WARN)
    return mode, effect


def _allow_mirror_pod(bench: _Bench) -> Decision:
    annotations = annotate(bench.policy, Outcome.ALLOW, (), mirror=True)
    return Decision(Outcome.ALLOW, allowed=True, annotations=annotations, subject=Subject.MIRROR_POD.value)


def _refuse_many(bench: _Bench, request: AdmissionRequest, subject: Subject, count: int) -> Decision:
    detail = bench.messages.note("too-many-images", count=count, limit=MAX_USES)
    message = bench.messages.refusal("unreadable", detail=detail)
    return _refuse_whole(bench, request, subject, "too-many-images", message)


def _refuse_whole(
    bench: _Bench, request: AdmissionRequest, subject: Subject, error: str, message: str
) -> Decision:
    """Refuse a request that cannot be judged by its images, or do what its mode says instead."""
    mode, effect = _strictness(bench.policy, request, subject)
    outcome = OUTCOMES[effect]
    denied = effect is Effect.DENY
    return Decision(
        outcome,
        allowed=not denied,
        code=FORBIDDEN[0] if denied else 0,
        status_reason=FORBIDDEN[1] if denied else "",
        message=message if denied else "",
        warnings=_warnings(bench, subject, message) if effect is Effect.WARN else (),
        annotations=annotate(bench.policy, outcome, (), error=error, mode=mode),
        subject=subject.value,
    )


def _break_glass(
    policy: Policy, messages: Messages, request: AdmissionRequest
) -> tuple[str | None, tuple[str, ...]]:
    """Return the reason of a glass that was rightly broken, and what to say of one that was not.

    The annotation stands on the object, where anybody may write it; only the user that the API
    server authenticated for this very request makes it count.
    """
    obj = request.object
    meta = obj.metadata if obj is not None else None
    annotation = policy.break_glass.annotation
    value = meta.annotation(annotation) if meta is not None else None
    if value is None:
        return None, ()
    user = request.user_info
    if not policy.break_glass.allows(user.username, user.groups):
        who = printable(user.username, 100)
        return None, (messages.note("break-glass-ignored", annotation=annotation, user=who),)
    reason = value.strip()
    if not reason:
        return None, (messages.note("break-glass-empty", annotation=annotation),)
    return printable(reason, MAX_REASON_LENGTH), ()


def _let_pass(item: JudgedUse) -> JudgedUse:
    return msgspec.structs.replace(item, effect=Effect.WARN) if item.effect is Effect.DENY else item
