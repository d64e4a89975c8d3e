"""Alerts: Prometheus accepts them, and each fires exactly when it should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.registered import labels_by_sample
from tests.monitoring.rules import PLAIN, read_alerts, render_alerts, render_plain

CASES = Path(__file__).with_name("alerts.test.yaml")
ALERTS = read_alerts()
NAMES = [alert["alert"] for alert in ALERTS]

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is absent; it comes with Prometheus"
)


def _run(*arguments: str, folder: Path) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alert_rules_are_valid_for_promtool(tmp_path: Path) -> None:
    """Every expression and every template parses."""
    (tmp_path / "alerts.yaml").write_text(render_alerts(), encoding="utf-8")
    _run("check", "rules", "alerts.yaml", folder=tmp_path)


def test_plain_rule_file_matches_chart() -> None:
    """``python -m tests.monitoring.rules`` writes it."""
    assert PLAIN.read_text(encoding="utf-8") == render_plain()
    assert "__" not in re.sub(r"__name__", "", render_plain())


@needs_promtool
def test_alerts_evaluate_as_in_test_cases(tmp_path: Path) -> None:
    """Prometheus evaluates alerts.test.yaml."""
    (tmp_path / "alerts.yaml").write_text(render_alerts(), encoding="utf-8")
    shutil.copy(CASES, tmp_path)
    _run("test", "rules", CASES.name, folder=tmp_path)


def _named(text: str) -> set[str]:
    patterns = re.findall(r'alertname=~?"([^"]+)"', text)
    return {name for name in NAMES for pattern in patterns if re.fullmatch(pattern, name)}


def test_every_alert_has_firing_and_inactive_case() -> None:
    """A case with samples or expected alerts fires by their names; a case without samples is inactive."""
    firing: set[str] = set()
    quiet: set[str] = set()
    for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]:
        for question in case["promql_expr_test"]:
            samples = question["exp_samples"]
            if not samples:
                quiet |= _named(question["expr"])
            for sample in samples:
                firing |= _named(sample["labels"]) or _named(question["expr"])
        firing |= {rule["alertname"] for rule in case.get("alert_rule_test", ()) if rule["exp_alerts"]}
    assert [name for name in NAMES if name not in firing] == []
    assert [name for name in NAMES if name not in quiet] == []


def test_alert_names_are_unique() -> None:
    """A page leads to one section of the runbook."""
    assert sorted(set(NAMES)) == sorted(NAMES)


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_alert_has_severity_annotations_and_runbook_link(alert: dict[str, Any]) -> None:
    """Severity, summary, description and the runbook's section."""
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"].endswith(f"/docs/runbook.md#{alert['alert'].lower()}")


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_alert_uses_existing_metrics_and_labels(alert: dict[str, Any]) -> None:
    """After a metric is renamed, an alert on the old name would never fire."""
    known = labels_by_sample()
    for name, matchers in re.findall(r"\b(swr_trust_\w+)(?:\{([^}]*)\})?", alert["expr"]):
        assert name in known
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= set(known[name])
