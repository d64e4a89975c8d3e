"""``check``, ``review`` and ``explain`` about signatures: what was found, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import webhook.cli.explain
from tests.emulator.server import Emulator
from tests.support.signed import HOST
from tests.unit.cli.accounts import PODS, Account
from tests.unit.cluster.lists import FakeLists, owned_by
from webhook.cli.main import main

Output = pytest.CaptureFixture[str]
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  template: {{spec: {{containers: [{{name: web, image: "{image}"}}]}}}}
"""


@pytest.fixture
def account(emulator: Emulator, tmp_path: Path) -> Account:
    """An account whose images need signatures."""
    return Account(emulator, tmp_path, FakeLists({PODS: []}))


def by_signature(account: Account, threshold: int = 1, annotations: dict[str, str] | None = None) -> Path:
    """Write a policy with signatures as evidence."""
    entry = account.basic(evidence="signature")
    entry["signatures"] |= {"threshold": threshold, "annotations": annotations or {}}
    return account.write(entry)


def check(policy: Path, *images: str) -> int:
    """Run the command for images of the account."""
    return main(["check", "--config", str(policy), *(f"{HOST}/{image}" for image in images)])


def lines_of(capsys: Output) -> list[str]:
    """Return the lines of the output, with single spaces and without the digests."""
    lines = capsys.readouterr().out.splitlines()
    return [" ".join(word for word in line.split() if not word.startswith("sha256:")) for line in lines]


UPDATED = "2026-01-01T00:00:00Z"


def test_check_shows_signers_and_what_is_missing(account: Account, capsys: Output) -> None:
    """Below the table, for each image that is not trusted: what was examined, why it does not count, and by
    which keys the image should be signed.
    """
    account.push("shop/web:1", "release-2026")
    account.push("shop/other:1", "a stranger")
    account.push("shop/plain:1")
    policy = by_signature(account)
    assert check(policy, "shop/web:1", "shop/other:1", "shop/plain:1", "shop/gone:1") == 1
    assert lines_of(capsys) == [
        "IMAGE FINDING SIGNED BY DIGEST UPDATED MESSAGE",
        f"{HOST}/shop/web:1 trusted release-2026 {UPDATED} is trusted",
        f"{HOST}/shop/other:1 untrusted - {UPDATED} none of its signatures counts in this cluster",
        f"{HOST}/shop/plain:1 untrusted - {UPDATED} the image is not signed",
        f"{HOST}/shop/gone:1 missing - - - tag does not exist in SWR",
        "",
        f"{HOST}/shop/other:1: 1 signature examined (simple-signing)",
        "simple-signing: no key that counts has signed it",
        "Sign it with one of the keys release-2026, release-2025, then try again.",
        f"{HOST}/shop/plain:1: 0 signatures examined",
        "Sign it with one of the keys release-2026, release-2025, then try again.",
    ]


def test_check_shows_signers_that_do_not_suffice(account: Account, capsys: Output) -> None:
    account.push("shop/web:1", "release-2026", "a stranger")
    assert check(by_signature(account, threshold=2), "shop/web:1") == 1
    assert lines_of(capsys)[3:] == [
        f"{HOST}/shop/web:1: 2 signatures examined (simple-signing), of which those by release-2026 count",
        "simple-signing: no key that counts has signed it",
        "It needs signatures of 2 of the keys release-2026, release-2025. Add the missing ones, then try again.",
    ]


def test_check_names_keys_that_do_not_count(account: Account, capsys: Output) -> None:
    """The message for developers is only that no key counts."""
    account.push("shop/web:1", "release-2026")
    entry = account.basic(evidence="signature")
    entry["signatures"]["keys"] = [entry["signatures"]["keys"][0] | {"notAfter": "2020-12-31"}]
    assert check(account.write(entry), "shop/web:1") == 1
    assert lines_of(capsys)[3:] == [
        f"{HOST}/shop/web:1: 1 signature examined (simple-signing)",
        "simple-signing: no key that counts has signed it",
        "the key release-2026 does not count: lapsed on 2020-12-31",
        "Contact your cluster administrators.",
    ]


def test_check_without_signatures_shows_the_former_columns(account: Account, capsys: Output) -> None:
    account.push("shop/web:1", is_trusted=True)
    assert check(account.write(), "shop/web:1") == 0
    assert lines_of(capsys) == [
        "IMAGE FINDING DIGEST UPDATED MESSAGE",
        f"{HOST}/shop/web:1 trusted {UPDATED} is trusted",
    ]


def test_check_as_json(account: Account, capsys: Output) -> None:
    """What was found and what is required, apart."""
    account.push("shop/web:1", "release-2026", "a stranger", is_trusted=True)
    policy = by_signature(account, 2, {"stage": "prod"})
    assert main(["check", "--config", str(policy), "-o", "json", f"{HOST}/shop/web:1"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    checked = row["signature"].pop("checked")
    assert checked.endswith("Z")
    assert {key: row[key] for key in ("evidence", "required", "signature", "marked", "reason")} == {
        "evidence": "signature",
        "required": {
            "keys": ["release-2026", "release-2025"],
            "problems": {},
            "threshold": 2,
            "annotations": {"stage": "prod"},
        },
        "signature": {
            "result": "annotations",
            "signers": [],
            "formats": [],
            "storedFormats": ["simple-signing"],
            "examined": 2,
            "problems": [
                "simple-signing: no key that counts has signed it",
                "simple-signing: it lacks annotations that are required",
            ],
        },
        "marked": True,
        "reason": "annotations",
    }


@pytest.mark.parametrize(
    ("image", "values"),
    [
        ("shop/web:1", {"evidence": "tagDetail", "required": None, "signature": None, "marked": True}),
        ("shop/gone:1", {"evidence": "tagDetail", "required": None, "signature": None, "marked": None}),
    ],
)
def test_check_as_json_without_signatures(
    account: Account, capsys: Output, image: str, values: dict[str, Any]
) -> None:
    account.push("shop/web:1", is_trusted=True)
    main(["check", "--config", str(account.write()), "-o", "json", f"{HOST}/{image}"])
    (row,) = json.loads(capsys.readouterr().out)
    assert {key: row[key] for key in values} == values


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "is trusted; signed by release-2026"),
        ({"pinDigests": True}, "is trusted; signed by release-2026; its Pods get"),
        ({"messages": "zh"}, "可信；由 release-2026 签名"),
    ],
    ids=["trusted", "pinned", "Chinese"],
)
def test_review_shows_signers_where_it_shows_digests(
    account: Account, tmp_path: Path, capsys: Output, more: dict[str, Any], message: str
) -> None:
    account.push("shop/web:1", "release-2026")
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text(DEPLOYMENT.format(image=f"{HOST}/shop/web:1"), encoding="utf-8")
    policy = account.write(account.basic(evidence="signature"), **more)
    assert main(["review", "--config", str(policy), str(manifest)]) == 0
    assert lines_of(capsys)[1].endswith(f"trusted {message}")
    assert main(["review", "--config", str(policy), "-o", "json", str(manifest)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["signers"] == ["release-2026"]


@pytest.mark.parametrize(
    ("message", "sentences"),
    [
        (
            "denied by image trust policy: spec.containers[0].image "
            f'"{HOST}/shop/web:1": the image is signed by security only. It needs signatures of 2 of the keys '
            "release, security. Add the missing ones, then try again.",
            [
                "It needs signatures of 2 of the keys release, security.",
                "Add the missing ones, then try again.",
            ],
        ),
        (
            "denied by image trust policy: spec.containers[0].image "
            f'"{HOST}/shop/web:1": none of its signatures counts in this cluster. Sign it with the key release, '
            "then try again.",
            ["Sign it with the key release, then try again."],
        ),
        (
            f'镜像信任策略拒绝：spec.containers[0].image "{HOST}/shop/web:1"：该镜像仅由 security 签名。'
            "需要密钥 release、security 中的 2 个的签名，请补签后重试。",
            ["需要密钥 release、security 中的 2 个的签名，请补签后重试。"],
        ),
    ],
    ids=["threshold", "bad signature", "Chinese"],
)
def test_explain_shows_found_and_missing_signatures(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, message: str, sentences: list[str]
) -> None:
    """One sentence a line: the signers that were found, the keys that would count."""
    template = {"spec": {"containers": [{"name": "web", "image": f"{HOST}/shop/web:1"}]}}
    replica_set = {"metadata": {"name": "web-1", **owned_by("Deployment", "web")}, "spec": {"replicas": 2}}
    event = {
        "involvedObject": {"kind": "ReplicaSet", "name": "web-1"},
        "reason": "FailedCreate",
        "message": f"admission webhook denied the request: {message}",
        "count": 1,
    }
    api = FakeLists(
        {
            "/apis/apps/v1/namespaces/shop/replicasets": [replica_set],
            "/api/v1/namespaces/shop/events": [event],
        }
    )
    api.objects["/apis/apps/v1/namespaces/shop/deployments/web"] = {
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "template": template},
    }
    monkeypatch.setattr(webhook.cli.explain, "connect", lambda *_: api)
    assert main(["explain", "shop/web"]) == 1
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    start = shown.index("Its Pods are denied because of an image:") + 2
    assert shown[start : start + len(sentences)] == sentences
