"""New findings of a round, and the start of the next round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.audit.builders import FACTS, audit, running
from webhook.audit.diff import FindingDiff
from webhook.audit.pods import PodPage
from webhook.audit.report import AuditReport
from webhook.audit.schedule import Schedule
from webhook.errors import Forbidden, RegistryUnavailable
from webhook.trust.records import TrustStatus

GOOD, LOST = FACTS, {"shop/web:1": TrustStatus.UNTRUSTED}
AWAY = {"shop/web:1": RegistryUnavailable("down")}
HIDDEN = {"shop/web:1": Forbidden("another account's")}
GAP = PodPage(gaps=("the API server went away",))


def round_of(facts: Mapping[str, Any], *pods: Any) -> AuditReport:
    """Audit one Pod, or the given ones."""
    return audit(*(pods or (running(),)), facts=facts)


def told(*rounds: AuditReport) -> list[list[str]]:
    """Return the namespaces and workloads with new findings in each round."""
    news = FindingDiff()
    return [[f"{row.namespace}/{row.workload}" for row in news.update(report)] for report in rounds]


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([round_of(LOST)], [[]]),
        ([round_of(GOOD), round_of(LOST)], [[], ["shop/Deployment/web"]]),
        ([round_of(GOOD), round_of(LOST), round_of(LOST)], [[], ["shop/Deployment/web"], []]),
        ([round_of(LOST), round_of(GOOD), round_of(LOST)], [[], [], ["shop/Deployment/web"]]),
        ([round_of(LOST), round_of(AWAY), round_of(LOST)], [[], [], []]),
        ([round_of(LOST), round_of(HIDDEN), round_of(LOST)], [[], [], []]),
        ([round_of(GOOD), round_of(AWAY)], [[], []]),
        ([round_of(GOOD), round_of(LOST, running(namespace="new"))], [[], ["new/Deployment/web"]]),
        ([round_of(GOOD, GAP), round_of(LOST, running(namespace="new"))], [[], []]),
        ([round_of(GOOD, running(), GAP), round_of(LOST)], [[], ["shop/Deployment/web"]]),
        ([round_of(LOST), round_of(GOOD, GAP), round_of(LOST)], [[], [], []]),
    ],
    ids=[
        "the first round tells what there is",
        "trust that is lost",
        "once",
        "again, if it was there meanwhile",
        "an image that SWR could not be queried about is not forgotten",
        "nor what SWR would not show",
        "nor is that news",
        "a namespace that is new since a complete round",
        "a namespace that no round has seen",
        "a namespace that a partial round has seen",
        "a partial round forgets nothing",
    ],
)
def test_diff_holds_denials_of_no_earlier_round(rounds: list[AuditReport], expected: list[list[str]]) -> None:
    """By namespace, workload and image."""
    assert told(*rounds) == expected


def test_remembered_entries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """This covers denials and namespaces."""
    monkeypatch.setattr("webhook.audit.diff.MAX_KNOWN", 3)
    news = FindingDiff()
    news.update(audit(*(running("shop/api:1", f"p{n}", f"n{n}") for n in range(9))))
    assert (len(news._known), len(news._namespaces)) == (3, 3)


def test_round_interval_has_jitter() -> None:
    """At most a tenth more or less."""
    pauses = {Schedule(3600.0).next_pause(complete=True) for _ in range(50)}
    assert len(pauses) > 1
    assert all(3240 <= pause <= 3960 for pause in pauses)


def test_partial_rounds_are_repeated_with_growing_pauses() -> None:
    """A minute, two, four, up to the interval; a complete round resets it."""
    pace = Schedule(600.0, lambda low, high: (low + high) / 2)
    pauses = [pace.next_pause(complete=False) for _ in range(6)]
    assert [*pauses, pace.next_pause(complete=True), pace.next_pause(complete=False)] == pytest.approx(
        [60, 120, 240, 480, 600, 600, 600, 60]
    )
