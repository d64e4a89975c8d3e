"""The metrics of the audit in the cluster: bounded, complete, and separate from those of replicas."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.telemetry.audit_metrics import (
    AuditMetrics,
    NamespaceFigures,
    RegistryFigures,
    RoundFigures,
)
from webhook.telemetry.metrics import Metrics


def namespace(name: str = "shop", refused: int = 1) -> NamespaceFigures:
    """Return a namespace with some denied Pods."""
    return NamespaceFigures(name, {"admitted": 2, "refused": refused, "unknown": 0}, {"untrusted": refused})


def figures(*namespaces: NamespaceFigures, **changes: Any) -> RoundFigures:
    """Return the figures of a complete round."""
    values: dict[str, Any] = {
        "complete": True,
        "seconds": 1.5,
        "pods": 3,
        "images": 2,
        "other_digest": {"moved": 3, "superseded": 1},
        "ending_exemptions": 5,
        "namespaces": namespaces,
    }
    return RoundFigures(**{**values, **changes})


class ScrapedMetrics:
    """Metrics, and their scraped values."""

    def __init__(self) -> None:
        self.shared = Metrics("1")
        self.metrics = AuditMetrics("1", 3600.0, self.shared)

    def lines(self, start: str) -> list[str]:
        return sorted(line for line in self.metrics.render().decode().splitlines() if line.startswith(start))

    def refused(self) -> dict[str, float]:
        return {
            line.split('"')[1]: float(line.rpartition(" ")[2])
            for line in self.lines("swr_trust_audit_pods{")
            if 'state="refused"' in line
        }


def test_audit_round_is_exposed_by_namespace() -> None:
    """Pods by the predicted effect, images by finding."""
    shown = ScrapedMetrics()
    shown.metrics.round_ended(figures(namespace()))
    assert shown.lines("swr_trust_audit_pods{") == [
        'swr_trust_audit_pods{resource_namespace="shop",state="admitted"} 2.0',
        'swr_trust_audit_pods{resource_namespace="shop",state="refused"} 1.0',
        'swr_trust_audit_pods{resource_namespace="shop",state="unknown"} 0.0',
    ]
    assert shown.lines("swr_trust_audit_image_uses{") == [
        'swr_trust_audit_image_uses{finding="untrusted",resource_namespace="shop"} 1.0'
    ]
    assert shown.lines("swr_trust_audit_last_complete_timestamp_seconds ")


def test_namespaces_beyond_limit_are_folded_into_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of series is bounded, and their sum stays complete."""
    monkeypatch.setattr("webhook.telemetry.audit_metrics.MAX_NAMESPACES", 2)
    shown = ScrapedMetrics()
    shown.metrics.round_ended(figures(*(namespace(f"n{number}", 9 - number) for number in range(5))))
    assert shown.refused() == {"n0": 9, "n1": 8, "(others)": 7 + 6 + 5}
    assert shown.lines("swr_trust_audit_namespaces_folded ") == ["swr_trust_audit_namespaces_folded 3.0"]


def test_series_of_deleted_namespace_is_dropped() -> None:
    """After a complete round."""
    shown = ScrapedMetrics()
    shown.metrics.round_ended(figures(namespace("old"), namespace("shop")))
    shown.metrics.round_ended(figures(namespace("shop")))
    assert shown.refused() == {"shop": 1}


def test_partial_round_keeps_figures_of_unseen_namespaces() -> None:
    """It marks itself as partial; the time of the last complete round stays."""
    shown = ScrapedMetrics()
    shown.metrics.round_ended(figures(namespace("a", 1), namespace("b", 1)))
    before = shown.lines("swr_trust_audit_last_complete")
    shown.metrics.round_ended(figures(namespace("a", 7), complete=False))
    assert shown.refused() == {"a": 7, "b": 1}
    assert shown.lines("swr_trust_audit_last_round_complete ") == ["swr_trust_audit_last_round_complete 0.0"]
    assert shown.lines("swr_trust_audit_last_complete") == before
    assert shown.lines("swr_trust_audit_rounds_total") == [
        'swr_trust_audit_rounds_total{result="complete"} 1.0',
        'swr_trust_audit_rounds_total{result="partial"} 1.0',
    ]


def test_partial_round_without_pods_keeps_figures() -> None:
    """An unreachable API server is not a clean cluster."""
    shown = ScrapedMetrics()
    shown.metrics.round_ended(figures(namespace()))
    shown.metrics.round_ended(figures(complete=False, pods=0, other_digest={"moved": 0, "superseded": 0}))
    assert shown.refused() == {"shop": 1}
    assert shown.lines("swr_trust_audit_other_digest_pods ") == ["swr_trust_audit_other_digest_pods 4.0"]


def test_pods_with_other_digest_are_exposed_by_reason() -> None:
    """Their sum keeps its own metric."""
    shown = ScrapedMetrics()
    shown.metrics.round_ended(figures())
    assert shown.lines("swr_trust_audit_other_digest_") == [
        "swr_trust_audit_other_digest_pods 4.0",
        'swr_trust_audit_other_digest_reason_pods{reason="moved"} 3.0',
        'swr_trust_audit_other_digest_reason_pods{reason="superseded"} 1.0',
    ]


def surveyed(advice: str = "switch", signed: int = 3, name: str = "swr") -> RegistryFigures:
    """Return the survey of a registry."""
    images = {"existing": 4, "missing": 1, "unknown": 0, "marked": 0, "signed": signed}
    return RegistryFigures(name, "tagDetail", advice, images, {"tagDetail": 5, "signature": 5 - signed})


def test_survey_is_exposed_by_registry() -> None:
    """Entries of one host are added up; what they are advised is not."""
    shown = ScrapedMetrics()
    shown.metrics.round_ended(
        figures(mode="audit", registries=(surveyed(), surveyed("prepare", 1), surveyed("ready", 4, "pro")))
    )
    assert shown.lines("swr_trust_audit_evidence_info{") == [
        'swr_trust_audit_evidence_info{advice="prepare",evidence="tagDetail",mode="audit",registry="swr"} 1.0',
        'swr_trust_audit_evidence_info{advice="ready",evidence="tagDetail",mode="audit",registry="pro"} 1.0',
        'swr_trust_audit_evidence_info{advice="switch",evidence="tagDetail",mode="audit",registry="swr"} 1.0',
    ]
    assert shown.lines('swr_trust_audit_evidence_images{registry="swr"') == [
        'swr_trust_audit_evidence_images{registry="swr",state="existing"} 8.0',
        'swr_trust_audit_evidence_images{registry="swr",state="marked"} 0.0',
        'swr_trust_audit_evidence_images{registry="swr",state="missing"} 2.0',
        'swr_trust_audit_evidence_images{registry="swr",state="signed"} 4.0',
        'swr_trust_audit_evidence_images{registry="swr",state="unknown"} 0.0',
    ]
    assert shown.lines("swr_trust_audit_evidence_denied_images{") == [
        'swr_trust_audit_evidence_denied_images{evidence="signature",registry="pro"} 1.0',
        'swr_trust_audit_evidence_denied_images{evidence="signature",registry="swr"} 6.0',
        'swr_trust_audit_evidence_denied_images{evidence="tagDetail",registry="pro"} 5.0',
        'swr_trust_audit_evidence_denied_images{evidence="tagDetail",registry="swr"} 10.0',
    ]


def test_survey_of_a_partial_round_is_not_exposed() -> None:
    """It would claim that fewer images are signed; the next complete round replaces everything."""
    shown = ScrapedMetrics()
    shown.metrics.round_ended(figures(registries=(surveyed(),)))
    shown.metrics.round_ended(figures(registries=(surveyed(signed=0),), complete=False))
    line = 'swr_trust_audit_evidence_images{registry="swr",state="signed"}'
    assert shown.lines(line) == [f"{line} 3.0"]
    shown.metrics.round_ended(figures())
    assert shown.lines("swr_trust_audit_evidence_i") == []


def test_audit_exposes_shared_metrics_but_no_replica_metrics() -> None:
    """Alerts on build_info and on requests are about the webhook."""
    shown = ScrapedMetrics()
    shown.shared.record_call("swr", "200", 0.1)
    text = shown.metrics.render().decode()
    assert 'swr_trust_swr_requests_total{code="200",registry="swr"} 1.0' in text
    assert "process_resident_memory_bytes " in text
    for name in (
        "swr_trust_build_info",
        "swr_trust_admission",
        "swr_trust_break_glass",
        "swr_trust_certificate",
    ):
        assert name not in text


def test_report_api_metric_has_one_series() -> None:
    """An upgrade of the cluster changes it."""
    shown = ScrapedMetrics()
    shown.metrics.report_api_found("none")
    shown.metrics.report_api_found("openreports.io/v1alpha1")
    assert shown.lines("swr_trust_audit_report_api_info") == [
        'swr_trust_audit_report_api_info{api="openreports.io/v1alpha1"} 1.0'
    ]
