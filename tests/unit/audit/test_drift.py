"""Running digests compared with pinned ones and with SWR's, and the effect of a tag that moved on."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.support.builders import DIGEST, HOST, NOW, OTHER_DIGEST, exemption, policy, rule
from tests.unit.audit.builders import FACTS, audit, running
from webhook.audit.report import AuditReport
from webhook.errors import RegistryUnavailable
from webhook.policy.findings import Finding
from webhook.trust.records import TrustStatus

AWAY = {"shop/web:1": RegistryUnavailable("down")}
CURRENT, OLD = f"shop/web:1@{DIGEST}", f"shop/web:1@{OTHER_DIGEST}"
OTHER_THAN_PINNED, MOVED, SUPERSEDED = "other-than-pinned", "moved", "superseded"


def rows(report: AuditReport) -> list[tuple[str, str, str, str]]:
    """Return reason, running digest, digest in SWR and finding of each row."""
    return [(row.reason.value, row.running, row.current, row.finding.value) for row in report.drift]


@pytest.mark.parametrize(
    ("image", "node", "facts", "row"),
    [
        ("shop/web:1", DIGEST, FACTS, None),
        ("shop/web:1", OTHER_DIGEST, FACTS, (MOVED, OTHER_DIGEST, DIGEST, "trusted")),
        ("shop/web:1", OTHER_DIGEST, AWAY, None),
        (CURRENT, DIGEST, FACTS, None),
        (CURRENT, OTHER_DIGEST, FACTS, (OTHER_THAN_PINNED, OTHER_DIGEST, DIGEST, "trusted")),
        (CURRENT, "", FACTS, None),
        (OLD, OTHER_DIGEST, FACTS, (SUPERSEDED, OTHER_DIGEST, DIGEST, "trusted")),
        (OLD, DIGEST, FACTS, (OTHER_THAN_PINNED, DIGEST, DIGEST, "trusted")),
        (OLD, OTHER_DIGEST, {}, None),
        (OLD, DIGEST, {}, (OTHER_THAN_PINNED, DIGEST, "", "missing")),
        (OLD, OTHER_DIGEST, AWAY, None),
        (OLD, DIGEST, AWAY, (OTHER_THAN_PINNED, DIGEST, "", "unknown")),
        (
            f"shop/api:1@{OTHER_DIGEST}",
            OTHER_DIGEST,
            FACTS,
            (SUPERSEDED, OTHER_DIGEST, DIGEST, "untrusted"),
        ),
        (
            f"shop/web@{DIGEST}",
            OTHER_DIGEST,
            {f"shop/web@{DIGEST}": TrustStatus.TRUSTED},
            (OTHER_THAN_PINNED, OTHER_DIGEST, DIGEST, "trusted"),
        ),
        (f"nginx.example.com/x:1@{DIGEST}", OTHER_DIGEST, {}, None),
        (f"ops/tool:1@{DIGEST}", OTHER_DIGEST, {}, None),
    ],
    ids=[
        "the tag runs",
        "the tag was moved",
        "the digest of the tag is unknown",
        "the pinned digest runs",
        "another digest runs than the pinned one",
        "the node has reported none",
        "the tag of the pinned digest was moved",
        "the new digest of the tag runs instead of the pinned one",
        "the tag was deleted",
        "another digest runs and the tag was deleted",
        "the pinned digest runs while SWR is down",
        "another digest runs while SWR is down",
        "the tag was moved and lost its trust",
        "another digest runs than the one without a tag",
        "an image that is not from SWR",
        "an exempt image",
    ],
)
def test_running_digest_is_compared_with_pinned_and_current_one(
    image: str, node: str, facts: Any, row: tuple[str, str, str, str] | None
) -> None:
    """A node that runs what the Pod pins is told apart from one that runs something else."""
    current = policy(
        pin_digests=True,
        digest_only="resolve",
        exemptions=(exemption("tools", [f"{HOST}/ops/**"]),),
    )
    report = audit(running(image, digest=node), facts=facts, current=current)
    assert rows(report) == ([] if row is None else [row])


PINNING = policy(pin_digests=True)
BY_RULE = policy(rules=(rule(pin_digests=True),))
NOT_BY_RULE = policy(pin_digests=True, rules=(rule(pin_digests=False),))
ONLY_DIGESTS = policy(pin_digests=True, rules=(rule(require_digest=True),))


@pytest.mark.parametrize(
    ("current", "image", "facts", "finding", "refused"),
    [
        (policy(), OLD, FACTS, Finding.DIGEST_MISMATCH, 1),
        (PINNING, OLD, FACTS, Finding.TRUSTED, 0),
        (BY_RULE, OLD, FACTS, Finding.TRUSTED, 0),
        (NOT_BY_RULE, OLD, FACTS, Finding.DIGEST_MISMATCH, 1),
        (ONLY_DIGESTS, OLD, FACTS, Finding.TRUSTED, 0),
        (PINNING, CURRENT, {"shop/web:1": TrustStatus.UNTRUSTED}, Finding.UNTRUSTED, 1),
        (PINNING, OLD, {"shop/web:1": TrustStatus.UNTRUSTED}, Finding.UNTRUSTED, 1),
        (PINNING, OLD, {}, Finding.MISSING, 1),
    ],
    ids=[
        "no pinning",
        "the policy pins",
        "the rule pins",
        "the rule does not pin",
        "only digests",
        "trust was lost",
        "the tag was moved and is not trusted",
        "the tag was deleted",
    ],
)
def test_moved_tag_denies_pinned_pod_only_without_pinning(
    current: Any, image: str, facts: Any, finding: Finding, refused: int
) -> None:
    """A template has the tag alone if the webhook pins, so the next Pod gets the new digest."""
    report = audit(running(image, digest=OTHER_DIGEST), facts=facts, current=current)
    assert (dict(report.findings), report.refused) == ({finding: 1}, refused)


def test_row_of_pinned_image_names_image_of_pod() -> None:
    """With its digest, although the policy is applied to its tag."""
    (row,) = audit(running(OLD, digest=OTHER_DIGEST), current=PINNING).drift
    assert row.image == f"{HOST}/{OLD}"


def test_moved_tag_of_exempt_image_is_evaluated_by_tag() -> None:
    """The end of the exemption denies the Pod only if the policy does not pin."""
    ends = dt.datetime.fromtimestamp(NOW + 86400, dt.UTC)
    ending = (exemption("soon", [f"{HOST}/shop/**"], expires=ends),)
    found = [
        [row.finding for row in audit(running(OLD), current=current).endings]
        for current in (policy(exemptions=ending), policy(exemptions=ending, pin_digests=True))
    ]
    assert found == [[Finding.DIGEST_MISMATCH], []]


def test_each_reason_has_remark_and_severest_is_first() -> None:
    """What a node runs instead of the pinned image comes first, in the list and in the remarks."""
    report = audit(
        running(OLD, name="a", digest=OTHER_DIGEST),
        running(name="b", digest=OTHER_DIGEST),
        running(CURRENT, name="c", digest=OTHER_DIGEST),
        running(CURRENT, name="d", digest=OTHER_DIGEST),
        running("shop/api:1", name="e"),
        current=policy(pin_digests=True, rules=(rule(mode="audit"),)),
    )
    assert [(row.reason.value, row.example, row.pods) for row in report.drift] == [
        (OTHER_THAN_PINNED, "c", 2),
        (MOVED, "b", 1),
        (SUPERSEDED, "a", 1),
    ]
    assert report.remarks == [
        "NOT THE PINNED IMAGE: nodes report another digest than the pinned one for 2 Pods. What runs there may "
        "never have been evaluated. Find out whether both digests are the same image.",
        "With the policy's modes as they are (mode enforce), 0 Pods would be denied.",
        "Running another image than the tag names in SWR now: 1 Pod. SWR's mark of the tag does not apply to "
        "the running image.",
        "Pinned to an image that its tag no longer names in SWR: 1 Pod. They run what they pin; restart their "
        "workloads to run the new image.",
    ]
