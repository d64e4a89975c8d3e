"""Findings into a decision: total, and what is not understood denies."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.support.builders import policy
from webhook.admission.decision import OUTCOMES, Effect, JudgedUse, Outcome, outcome_of, refuses, temper
from webhook.admission.uses import ImageUse
from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    Unauthorized,
)
from webhook.policy.evaluation import Judgement
from webhook.policy.findings import Finding, Mode

USE = ImageUse("spec.containers[0].image", ("containers", "main"), "a")
TRANSIENT = [
    LookupTimeout("x", fault=Fault.REGISTRY),
    RegistryUnavailable("x"),
]
OF_AN_AUTHOR = [
    *(
        cause("x", fault=fault)
        for cause in (LookupTimeout, Throttled, RegistryUnavailable)
        for fault in (Fault.LOCAL, Fault.IMAGE)
    ),
    Throttled("x", fault=Fault.REGISTRY),
    Unauthorized("x", fault=Fault.LOCAL),
    Forbidden("x"),
    MalformedAnswer("x"),
]
LASTING = [Unauthorized("x"), *OF_AN_AUTHOR]


def judged(effect: Effect) -> JudgedUse:
    """Return a use with this effect."""
    return JudgedUse(USE, Judgement(Finding.UNTRUSTED), effect, refused=True, mode=Mode.ENFORCE)


ADMITTING: dict[Finding, Effect] = {Finding.TRUSTED: Effect.ALLOW, Finding.EXEMPT: Effect.ALLOW}


@pytest.mark.parametrize("finding", Finding)
def test_every_finding_has_an_effect_and_only_two_admit(finding: Finding) -> None:
    """Under the defaults; a finding of tomorrow denies."""
    assert refuses(Judgement(finding), policy()) is ADMITTING.get(finding, Effect.DENY)


@pytest.mark.parametrize(
    ("setting", "effect"),
    [("deny", Effect.DENY), ("warn", Effect.WARN), ("allow", Effect.ALLOW), ("?", Effect.DENY)],
)
def test_unmanaged_images_are_treated_as_the_policy_says(setting: Any, effect: Effect) -> None:
    """And denied where it says something that nobody knows."""
    assert refuses(Judgement(Finding.UNMANAGED), policy(unmanaged_registries=setting)) is effect


@pytest.mark.parametrize(
    "failure", [*TRANSIENT, *LASTING], ids=lambda failure: f"{type(failure).__name__}-{failure.fault}"
)
@pytest.mark.parametrize("setting", ["deny", "allow"])
def test_a_failed_lookup_passes_only_if_nobody_can_cause_it(setting: Any, failure: Any) -> None:
    """Fault B3: ``onLookupFailure: allow`` is about outages, not about what an author can cause."""
    judgement = Judgement(Finding.UNKNOWN, failure.reason, failure=failure)
    passes = setting == "allow" and failure in TRANSIENT
    assert refuses(judgement, policy(on_lookup_failure=setting)) is (Effect.WARN if passes else Effect.DENY)


def test_an_unknown_without_a_failure_denies() -> None:
    """What is unknown and does not say why is denied."""
    assert refuses(Judgement(Finding.UNKNOWN), policy(on_lookup_failure="allow")) is Effect.DENY


TEMPERED = [
    (Effect.ALLOW, Mode.ENFORCE, Effect.ALLOW),
    (Effect.ALLOW, Mode.WARN, Effect.ALLOW),
    (Effect.ALLOW, Mode.AUDIT, Effect.ALLOW),
    (Effect.WARN, Mode.ENFORCE, Effect.WARN),
    (Effect.WARN, Mode.WARN, Effect.WARN),
    (Effect.WARN, Mode.AUDIT, Effect.RECORD),
    (Effect.DENY, Mode.ENFORCE, Effect.DENY),
    (Effect.DENY, Mode.WARN, Effect.WARN),
    (Effect.DENY, Mode.AUDIT, Effect.RECORD),
]


@pytest.mark.parametrize(("enforced", "mode", "effect"), TEMPERED)
def test_a_mode_makes_an_effect_milder_and_never_stricter(
    enforced: Effect, mode: Mode, effect: Effect
) -> None:
    """``warn`` warns, ``audit`` only records (T50)."""
    assert temper(enforced, mode) is effect


def test_every_effect_has_an_outcome() -> None:
    """The fold is total."""
    assert set(OUTCOMES) == set(Effect)
    assert outcome_of([]) is Outcome.ALLOW


@pytest.mark.parametrize("effects", list(itertools.product(Effect, repeat=2)))
def test_the_strongest_effect_decides(effects: tuple[Effect, Effect]) -> None:
    """In whatever order they come."""
    assert outcome_of([judged(effect) for effect in effects]) is OUTCOMES[max(effects)]


def test_a_failure_about_one_image_is_worth_another_try_and_admits_nothing() -> None:
    """SWR may have failed for a moment only: the client is told to repeat it, and kubectl does."""
    failure = RegistryUnavailable("SWR answered 503", fault=Fault.IMAGE)
    assert (failure.transient, failure.allows_stale, failure.allows_pass) == (True, False, False)
