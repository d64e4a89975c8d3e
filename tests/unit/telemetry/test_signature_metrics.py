"""The exposed metrics of signatures and their keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from webhook.recorder import Recorder
from webhook.telemetry.audit_metrics import AuditMetrics
from webhook.telemetry.metrics import Metrics


def expose(*calls: Callable[[Recorder], None]) -> dict[str, float]:
    """Return the samples about signatures after some calls, as a scrape has them."""
    metrics = Metrics("test")
    for call in calls:
        call(metrics)
    return samples_in(metrics.render())


def samples_in(page: bytes) -> dict[str, float]:
    """Return the samples about signatures in an exposition."""
    lines = [line for line in page.decode().splitlines() if line.startswith("swr_trust_signature")]
    values = (line.removeprefix("swr_trust_").rpartition(" ") for line in lines)
    return {name: float(value) for name, _, value in values}


def check(registry: str, result: str) -> Callable[[Recorder], None]:
    return lambda recorder: recorder.signature_checked(registry, result)


def change(registry: str, missing: int = 0, **states: int) -> Callable[[Recorder], None]:
    return lambda recorder: recorder.signing_keys_changed(registry, states, missing)


def lapse(registry: str, key: str, at: float) -> Callable[[Recorder], None]:
    return lambda recorder: recorder.signing_key_lapses(registry, key, at)


def states(
    registry: str, counting: int, unreadable: int = 0, lapsed: int = 0, missing: int = 0
) -> dict[str, float]:
    """Return the samples of the keys of a registry."""
    return {
        f'signature_keys_missing{{registry="{registry}"}}': missing,
        f'signature_keys{{registry="{registry}",state="counting"}}': counting,
        f'signature_keys{{registry="{registry}",state="unreadable"}}': unreadable,
        f'signature_keys{{registry="{registry}",state="lapsed"}}': lapsed,
    }


def end(registry: str, key: str, at: float) -> dict[str, float]:
    """Return the sample of the end of a key."""
    return {f'signature_key_not_after_timestamp_seconds{{key="{key}",registry="{registry}"}}': at}


CASES: list[tuple[str, tuple[Callable[[Recorder], None], ...], dict[str, float]]] = [
    ("nothing happened", (), {}),
    (
        "verifications",
        (check("a", "signed"), check("a", "signed"), check("a", "error"), check("b", "unsigned")),
        {
            'signatures_total{registry="a",result="signed"}': 2,
            'signatures_total{registry="a",result="error"}': 1,
            'signatures_total{registry="b",result="unsigned"}': 1,
        },
    ),
    ("a state that no key is in", (change("a", counting=1),), states("a", 1)),
    (
        "a key that does not count any longer",
        (change("a", counting=2), change("a", counting=1, unreadable=1)),
        states("a", 1, unreadable=1),
    ),
    ("no key counts", (change("a", counting=1), change("a", lapsed=1)), states("a", 0, lapsed=1)),
    (
        "keys that lapse",
        (change("a", counting=2), lapse("a", "old", 7.0), lapse("a", "new", 9.0)),
        states("a", 2) | end("a", "old", 7) | end("a", "new", 9),
    ),
    (
        "another end",
        (change("a", counting=1), lapse("a", "k", 7.0), change("a", counting=1), lapse("a", "k", 9.0)),
        states("a", 1) | end("a", "k", 9),
    ),
    (
        "a removed key, and an end that was removed",
        (change("a", counting=2), lapse("a", "old", 7.0), lapse("a", "new", 9.0), change("a", counting=1)),
        states("a", 1),
    ),
    (
        "a removed registry",
        (
            change("a", counting=1),
            lapse("a", "k", 7.0),
            change("b", counting=1),
            lapse("b", "k", 8.0),
            change("a"),
        ),
        states("b", 1) | end("b", "k", 8),
    ),
    ("a registry that never had keys is removed", (change("a"),), {}),
]


@pytest.mark.parametrize(("calls", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_exposed_samples_follow_calls(
    calls: tuple[Callable[[Recorder], None], ...], expected: dict[str, float]
) -> None:
    assert expose(*calls) == expected


def test_audit_exposes_its_own_samples() -> None:
    """It verifies signatures with its own copies of the keys."""
    shared = Metrics("test")
    for call in (check("a", "signed"), change("a", counting=1), lapse("a", "k", 7.0)):
        call(shared)
    audit = AuditMetrics("test", 3600.0, shared)
    assert samples_in(audit.render()) == samples_in(shared.render())
    assert len(samples_in(audit.render())) == 6
