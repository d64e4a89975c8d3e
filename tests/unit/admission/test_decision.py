"""Effects, and the constructors of decisions."""

from __future__ import annotations

import pytest

from webhook.admission.decision import INTERNAL_ERROR, TOO_MANY_REQUESTS, Decision, Effect, Status
from webhook.admission.extraction import TargetKind


def test_effects_are_ordered_from_weakest_to_strongest() -> None:
    """The strongest effect of the images is that of the request."""
    assert sorted(Effect) == [Effect.ALLOW, Effect.AUDIT, Effect.WARN, Effect.DENY, Effect.ERROR]


@pytest.mark.parametrize(
    ("effect", "of_a_request", "of_an_image"),
    [
        (Effect.ALLOW, "allow", "allow"),
        (Effect.AUDIT, "audit", "record"),
        (Effect.WARN, "warn", "warn"),
        (Effect.DENY, "deny", "deny"),
        (Effect.ERROR, "error", "error"),
    ],
)
def test_effects_have_public_names(effect: Effect, of_a_request: str, of_an_image: str) -> None:
    """Metric labels, audit annotations and keys of the log."""
    assert (effect.decision_label, effect.image_label) == (of_a_request, of_an_image)


def test_an_admission_has_no_status() -> None:
    """Status code and message are those of a denial."""
    decision = Decision.allow(TargetKind.POD, Effect.WARN, warnings=["w"], annotations={"a": "b"})
    assert decision == Decision(
        Effect.WARN, allowed=True, target=TargetKind.POD, warnings=["w"], annotations={"a": "b"}
    )


def test_a_denial_has_a_status() -> None:
    """403 by default."""
    assert Decision.deny(TargetKind.POD, "no") == Decision(
        Effect.DENY, allowed=False, target=TargetKind.POD, code=403, status_reason="Forbidden", message="no"
    )
    busy = Decision.deny(TargetKind.POD, "no", Status(*TOO_MANY_REQUESTS[:2], retry_after_seconds=2))
    assert (busy.code, busy.status_reason, busy.retry_after_seconds) == (429, "TooManyRequests", 2)


def test_an_error_denies_with_500() -> None:
    """An internal error admits nothing."""
    decision = Decision.error()
    assert (decision.effect, decision.allowed, decision.code) == (Effect.ERROR, False, INTERNAL_ERROR.code)
    assert decision.annotations == {"decision": "error", "error": "crash"}
