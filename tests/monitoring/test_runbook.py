"""The runbook covers every alert, finding and reason in both languages, and its links are valid."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from tests.monitoring.rules import read_alerts
from tests.support.serving import ROOT
from webhook.admission.catalogues import CATALOGUES
from webhook.errors import UnknownReason
from webhook.policy.findings import Finding

TEXTS = {
    name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("runbook.md", "runbook.zh-CN.md")
}
BOTH = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)

WHOLE_REQUESTS = ("unknown-kind", "unreadable", "too-many-images", "crash")


def _headings(text: str) -> list[str]:
    return re.findall(r"^#{2,3} (.+)$", text, re.MULTILINE)


def _section(text: str, heading: str) -> str:
    _, found, rest = text.partition(f"\n### {heading}\n")
    assert found, heading
    return re.split(r"^#{2,3} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def _rows(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \| [^|]+ \| [^|]+ \|$", text, re.MULTILINE)


def _anchors(text: str) -> set[str]:
    named = re.findall(r'<a id="([^"]+)">', text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in _headings(text)} | {
        *named
    }


@BOTH
@pytest.mark.parametrize("alert", [alert["alert"] for alert in read_alerts()])
def test_every_alert_has_runbook_section_with_all_parts(text: str, alert: str) -> None:
    """The parts have the same order everywhere, so that an operator finds them at once."""
    parts = re.findall(r"^\*\*(.+?)\*\*", _section(text, alert), re.MULTILINE)
    if text is TEXTS["runbook.md"]:
        assert parts == ["Meaning.", "Impact.", "Diagnosis.", "Mitigation."]
    else:
        assert parts == ["含义", "影响", "诊断", "处理"]


@BOTH
def test_every_alert_section_has_alert(text: str) -> None:
    """A removed alert must not be explained."""
    named = [heading for heading in _headings(text) if heading.startswith("SwrTrust")]
    assert named == [alert["alert"] for alert in read_alerts()]


@BOTH
def test_alert_table_has_severity_of_every_alert(text: str) -> None:
    """An operator who is paged sees in one table whether the alert can wait."""
    table = re.findall(r"^\| \[(SwrTrust\w+)\]\(#(\w+)\) \| (\w+) \| [^|]+ \|$", text, re.MULTILINE)
    assert table == [
        (alert["alert"], alert["alert"].lower(), alert["labels"]["severity"]) for alert in read_alerts()
    ]


@BOTH
@pytest.mark.parametrize("finding", list(Finding))
def test_every_finding_has_section_with_its_reasons(text: str, finding: Finding) -> None:
    """The reasons of a denial lead to a row, in the catalog's order, and there are no other rows."""
    keys = [key for key in CATALOGUES["en"].what if key.partition("/")[0] == finding]
    assert _rows(_section(text, finding)) == keys


@BOTH
def test_every_unknown_reason_has_row(text: str) -> None:
    """Including the reasons of the exceptions."""
    assert [reason for reason in get_args(UnknownReason) if f"unknown/{reason}" not in _rows(text)] == []


@BOTH
def test_every_request_error_has_row(text: str) -> None:
    """The values of the audit annotation ``error``."""
    assert [error for error in WHOLE_REQUESTS if error not in _rows(text)] == []


@BOTH
def test_runbook_link_anchors_exist(text: str) -> None:
    assert sorted(set(re.findall(r"\]\(#([^)]+)\)", text)) - _anchors(text)) == []


def test_translations_have_same_structure() -> None:
    """The same number of sections, the same anchors, the same rows and the same commands."""
    english, chinese = TEXTS.values()
    assert len(_headings(english)) == len(_headings(chinese))
    assert _anchors(english) <= _anchors(chinese)
    assert _rows(english) == _rows(chinese)
    commands = [
        [
            re.sub(r"^#.*\n", "", block, flags=re.MULTILINE)
            for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        ]
        for text in (english, chinese)
    ]
    assert commands[0] == commands[1]
