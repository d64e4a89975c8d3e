"""Output formats of a report: an HTML page, CSV and JSON."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import webhook.audit
from tests.support.builders import DIGEST, HOST, OTHER_DIGEST, policy
from tests.unit.audit.builders import audit, running
from webhook.audit.chinese import HEADINGS, remarks
from webhook.audit.evidence import EvidenceReader
from webhook.audit.pages import render_audit, render_evidence
from webhook.audit.pods import PodPage, Workload
from webhook.audit.report import AuditReport, Drift, DriftRow, ExpiringExemptionRow
from webhook.audit.tables import COLUMNS, audit_as_csv, audit_as_data, write_csv
from webhook.policy.findings import Finding, Mode

HOSTILE = "nginx.example.com/<script>alert(1)</script>\"'&"
VOID = {"meta", "link", "br", "rect"}


@pytest.fixture
def report() -> AuditReport:
    """Return a report with rows of every kind."""
    return audit(
        running("shop/api:1"),
        running(digest=OTHER_DIGEST, name="drifted"),
        running(HOSTILE, name="hostile", namespace="<b>evil</b>"),
        PodPage(gaps=("the API server went away",)),
    )


class Page(HTMLParser):
    """Parses a page; keeps its elements and checks that they are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_has_no_scripts_and_no_external_resources(report: AuditReport) -> None:
    """It can be mailed, opened without a network, and trusted."""
    page = Page(render_audit(report))
    assert page.open == []
    assert {tag for tag, _ in page.seen}.isdisjoint({"script", "img", "iframe", "object", "form"})
    assert [values["href"] for tag, values in page.seen if tag == "link"] == ["data:,"]
    assert not any(name.startswith("on") or name == "src" for _, values in page.seen for name in values)
    assert "url(" not in render_audit(report)
    policy = [values["content"] for tag, values in page.seen if "http-equiv" in values]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_names_from_cluster_are_escaped(report: AuditReport) -> None:
    """Names of images and namespaces are chosen by others."""
    text = render_audit(report)
    assert "<script>" not in text
    assert "<b>evil" not in text
    assert HOSTILE in Page(text).text


def test_page_shows_verdict_before_details(report: AuditReport) -> None:
    """The summary, and that it is partial; then charts and reasons."""
    text = Page(render_audit(report)).text
    order = [
        "Image trust audit (PARTIAL)",
        "Enforcing now would deny 2 of the 3 Pods that were seen in 2 namespaces.",
        "This report is PARTIAL: the API server went away.",
        "Uses of images by finding",
        "Images that enforcement would deny or warn of, and why",
        "SWR does not mark this tag as trusted",
        "Nodes that run another image than the tag names now",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_charts_are_drawn_to_scale(report: AuditReport) -> None:
    """The longest bar has the full width; denied Pods are part of their namespace's bar."""
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([0-9.]+)"', render_audit(report))]
    assert max(widths) == 420.0
    assert 210.0 in widths


def test_empty_report_is_rendered() -> None:
    """A cluster without Pods."""
    assert "no Pods were seen" in Page(render_audit(audit())).text.lower().replace("no pods", "no Pods")


def test_csv_holds_every_row(report: AuditReport) -> None:
    """Findings, other digests and gaps in one table."""
    rows = list(csv.reader(io.StringIO(audit_as_csv(report))))
    assert rows[0] == list(COLUMNS)
    assert [row[:5] for row in rows[1:]] == [
        ["finding", "<b>evil</b>", "Deployment/web", HOSTILE, "invalid"],
        ["finding", "shop", "Deployment/web", f"{HOST}/shop/api:1", "untrusted"],
        ["other-digest", "shop", "Deployment/web", f"{HOST}/shop/web:1", "trusted"],
        ["partial", "", "", "", ""],
    ]


@pytest.fixture
def drifted() -> AuditReport:
    """Return a report with a digest that differs for every reason."""
    return audit(
        running(digest=OTHER_DIGEST),
        running(f"shop/web:1@{OTHER_DIGEST}", digest=OTHER_DIGEST, name="old"),
        running(f"shop/gone:1@{DIGEST}", digest=OTHER_DIGEST, name="other"),
        current=policy(pin_digests=True),
    )


def test_json_has_reason_and_message_of_other_digest(drifted: AuditReport) -> None:
    """All keys of a row; ``current`` is empty if SWR has named no digest."""
    common = {"namespace": "shop", "workload": "Deployment/web", "pods": 1, "running": OTHER_DIGEST}
    assert audit_as_data(drifted)["otherDigest"] == [
        {
            **common,
            "image": f"{HOST}/shop/gone:1@{DIGEST}",
            "finding": "missing",
            "reason": "other-than-pinned",
            "current": "",
            "example": "other",
            "message": f"a node reports {OTHER_DIGEST} instead of the pinned digest",
        },
        {
            **common,
            "image": f"{HOST}/shop/web:1",
            "finding": "trusted",
            "reason": "moved",
            "current": DIGEST,
            "example": "web-1",
            "message": f"a node runs {OTHER_DIGEST}, SWR holds {DIGEST}",
        },
        {
            **common,
            "image": f"{HOST}/shop/web:1@{OTHER_DIGEST}",
            "finding": "trusted",
            "reason": "superseded",
            "current": DIGEST,
            "example": "old",
            "message": f"a node runs the pinned digest, SWR holds {DIGEST}",
        },
    ]


def test_csv_has_reason_and_message_of_other_digest(drifted: AuditReport) -> None:
    """In the columns of findings."""
    rows = csv.DictReader(io.StringIO(audit_as_csv(drifted)))
    assert [(row["reason"], row["message"]) for row in rows if row["kind"] == "other-digest"] == [
        ("other-than-pinned", f"a node reports {OTHER_DIGEST} instead of the pinned digest"),
        ("moved", f"a node runs {OTHER_DIGEST}, SWR holds {DIGEST}"),
        ("superseded", f"a node runs the pinned digest, SWR holds {DIGEST}"),
    ]


def test_page_has_table_for_each_reason_of_other_digest(drifted: AuditReport) -> None:
    """The severest first; the remark about it is prominent."""
    rendered = render_audit(drifted)
    text = Page(rendered).text
    order = [
        "NOT THE PINNED IMAGE: ",
        "Nodes that report another image than the Pod pins",
        "Nodes that run another image than the tag names now",
        "Pinned images whose tag names another image now",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert re.findall(r'<p class="prominent">([A-Z ]+):', rendered) == ["NOT THE PINNED IMAGE"]
    assert [text.count(f"{HOST}/{image}") for image in ("shop/gone:1@", "shop/web:1@")] == [2, 1]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_csv_cell_with_formula_is_quoted(text: str) -> None:
    """An image named ``=cmd|...`` must not be executed on the auditor's machine."""
    assert next(csv.reader([write_csv(("a",), [(text,)]).splitlines()[1]]))[0] == f"'{text}"


def test_json_holds_same_figures_as_page(report: AuditReport) -> None:
    """For programs, with a named schema."""
    data = audit_as_data(report)
    assert {key: data[key] for key in ("schema", "partial", "verdict", "pods", "refused", "uses")} == {
        "schema": "swr-trust/audit/v1",
        "partial": True,
        "verdict": "enforcing now would deny 2 of the 3 Pods that were seen in 2 namespaces",
        "pods": 3,
        "refused": 2,
        "uses": {"invalid": 1, "trusted": 1, "untrusted": 1},
    }
    assert data["otherDigest"][0]["current"] == DIGEST


def test_evidence_page_escapes_names_from_log() -> None:
    """All elements are closed, and no markup of a name is active."""
    reader = EvidenceReader()
    reader.read(
        io.BytesIO(
            b'{"ts":"2026-11-01T00:00:00.000Z","logger":"webhook.decisions","decision":"warn",'
            b'"user":"<i>eve</i>","breakGlass":"<script>","namespace":"a","findings":[]}'
        )
    )
    text = render_evidence(reader.finish())
    page = Page(text)
    assert page.open == []
    assert "<i>eve" not in text
    assert "<i>eve</i>" in page.text


def test_templates_are_part_of_package() -> None:
    """They are installed with the code."""
    folder = Path(webhook.audit.__file__).parent / "templates"
    assert sorted(path.name for path in folder.iterdir()) == [
        "audit.html.j2",
        "base.html.j2",
        "chart.html.j2",
        "evidence.html.j2",
    ]


TEXT = re.compile(r"t\(\"([^\"]+)\"")


def test_every_template_text_is_in_chinese_catalog() -> None:
    """Fault E11: the catalog contains no other text; both languages have the same placeholders."""
    folder = Path(webhook.audit.__file__).parent / "templates"
    texts = {text for path in folder.iterdir() for text in TEXT.findall(path.read_text(encoding="utf-8"))}
    assert texts == set(HEADINGS)
    assert [text for text in texts if text.count("{}") != HEADINGS[text].count("{}")] == []


def test_audit_page_is_completely_in_chinese() -> None:
    """Fault E11: language, headings, summary and remarks, by ``messages: zh``."""
    report = audit(
        running("shop/api:1"),
        running(digest=OTHER_DIGEST, name="drifted"),
        running(f"shop/web:1@{OTHER_DIGEST}", digest=OTHER_DIGEST, name="superseded"),
        running(f"shop/web:1@{DIGEST}", digest=OTHER_DIGEST, name="other"),
        PodPage(gaps=("x",)),
        current=policy(messages="zh", pin_digests=True),
    )
    page = Page(render_audit(report, "zh"))
    assert dict(page.seen)["html"] == {"lang": "zh-CN"}
    assert "如果现在强制执行，已发现的 4 个 Pod 中将有 1 个被拒绝，涉及 1 个命名空间。" in page.text
    assert "SWR 未将该镜像版本标记为可信" in page.text
    assert "镜像信任审计（不完整）" in page.text.replace(" ", "")
    assert [text for text in HEADINGS if len(text) > 8 and text in page.text] == []
    assert dict(Page(render_audit(report)).seen)["html"] == {"lang": "en"}


def test_chinese_remarks_correspond_to_english_ones() -> None:
    """Fault E11: one for each, in the same order."""
    workload, ends = Workload("Deployment", "web"), dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    drift = [
        DriftRow("shop", workload, "web:1", reason, DIGEST, OTHER_DIGEST, Finding.UNTRUSTED, "web-1", pods)
        for pods, reason in enumerate(Drift, 21)
    ]
    ending = ExpiringExemptionRow("shop", workload, "web:1", "e", ends, Finding.UNTRUSTED, "why", pods=3)
    report = AuditReport(
        dt.datetime(2026, 11, 1, tzinfo=dt.UTC), "v1", Mode.WARN, pods=9, static=1, excluded=2, refused=3,
        unknown=1, omitted=4, excluded_namespaces=("kube-system", "ops"), never_trusted=[("swr", 5)],
        failures=[("timeout", 6)], gaps=["gap"], notes=["note"], drift=drift, endings=[ending],
    )  # fmt: skip
    assert len(remarks(report)) == len(report.remarks) == 13
    for ours, theirs in zip(remarks(report), report.remarks, strict=True):
        assert sorted(re.findall(r"\d+", ours)) == sorted(re.findall(r"\d+", theirs))


def test_evidence_page_is_completely_in_chinese() -> None:
    """Fault E11: by ``--language zh``, because a log does not name the policy's language."""
    page = Page(render_evidence(EvidenceReader().finish(), "zh"))
    assert dict(page.seen)["html"] == {"lang": "zh-CN"}
    assert "紧急放行：用户、时间与原因" in page.text
    assert [text for text in HEADINGS if len(text) > 8 and text in page.text] == []
