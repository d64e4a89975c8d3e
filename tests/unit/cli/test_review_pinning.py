"""``swr-trust review`` and ``check`` under a policy that pins images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import WritePolicy
from webhook.cli.main import main

HOST = "swr.cn-north-4.myhuaweicloud.com"
ZEROS, ONES = f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  template: {{spec: {{containers: [{{name: web, image: "{image}"}}]}}}}
"""
Output = pytest.CaptureFixture[str]


def review(policy: Path, *arguments: str) -> int:
    """Run the command."""
    return main(["review", "--config", str(policy), *arguments])


@pytest.mark.parametrize("lines", ["", "pinDigests: true\n"], ids=["no pinning", "pinning"])
@pytest.mark.parametrize(
    ("image", "finding", "reason", "pinned"),
    [
        ("shop/web:1.0", "trusted", "", ONES),
        ("shop/web:2.0", "untrusted", "", None),
        (f"shop/web:1.0@{ONES}", "trusted", "", None),
        (f"shop/web:1.0@{ZEROS}", "digest-mismatch", "", None),
        ("partner/web:1", "unknown", "forbidden", None),
    ],
    ids=["trusted tag", "untrusted tag", "pinned", "outdated pin", "unknown"],
)
def test_review_shows_digest_that_pods_get(
    write_policy: WritePolicy,
    tmp_path: Path,
    capsys: Output,
    lines: str,
    image: str,
    finding: str,
    reason: str,
    pinned: str | None,
) -> None:
    """Only of images that the webhook would pin; ``null`` otherwise."""
    path = tmp_path / "deployment.yaml"
    path.write_text(DEPLOYMENT.format(image=f"{HOST}/{image}"), encoding="utf-8")
    review(write_policy(lines), "-o", "json", str(path))
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["image"], row["finding"], row["reason"], row["pinned"]) == (
        f"{HOST}/{image}",
        finding,
        reason,
        pinned if lines else None,
    )


def test_review_table_shows_digest_that_pods_get(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """Shortened, in the message."""
    path = tmp_path / "deployment.yaml"
    path.write_text(DEPLOYMENT.format(image=f"{HOST}/shop/web:1.0"), encoding="utf-8")
    assert review(write_policy("pinDigests: true\n"), str(path)) == 0
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "WHERE OBJECT IMAGE FINDING MESSAGE",
        f"{path}:5 Deployment/web {HOST}/shop/web:1.0 trusted is trusted; its Pods get {ONES[:19]}",
        "",
        "1 image(s) in 1 object(s), 0 denied",
    ]


def test_chinese_table_joins_sentences_in_chinese(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """Without the full stop and the space of English."""
    path = tmp_path / "deployment.yaml"
    for image, message in (
        ("1.0", f"可信；其 Pod 中将写入 {ONES[:19]}"),
        ("2.0", "SWR 未将该镜像版本标记为可信。请在 SWR 中将该镜像版本标记为可信，或改用可信的镜像版本。"),
    ):
        path.write_text(DEPLOYMENT.format(image=f"{HOST}/shop/web:{image}"), encoding="utf-8")
        review(write_policy("pinDigests: true\nmessages: zh\n"), str(path))
        assert message in capsys.readouterr().out


REQUIRED = "rules: [{name: digests, images: ['**'], requireDigest: true}]\n"


@pytest.mark.parametrize(
    ("lines", "image", "code", "reason"),
    [
        (REQUIRED, "shop/web:1.0", 1, "digest-required"),
        (f"{REQUIRED}pinDigests: true\n", "shop/web:1.0", 0, ""),
        (f"{REQUIRED}pinDigests: true\n", f"shop/web:1.0@{ZEROS}", 1, ""),
    ],
    ids=["no pinning", "pinning", "outdated pin"],
)
@pytest.mark.parametrize("command", ["check", "review"])
def test_required_digest_is_not_missed_if_webhook_pins(
    write_policy: WritePolicy,
    tmp_path: Path,
    capsys: Output,
    command: str,
    lines: str,
    image: str,
    code: int,
    reason: str,
) -> None:
    """Images are evaluated as their authors write them, before the webhook pins them."""
    path = tmp_path / "pod.yaml"
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": f"{HOST}/{image}"}]}}
    path.write_text(json.dumps(pod), encoding="utf-8")
    argument = f"{HOST}/{image}" if command == "check" else str(path)
    assert main([command, "--config", str(write_policy(lines)), "-o", "json", argument]) == code
    (row,) = json.loads(capsys.readouterr().out)
    assert row["reason"] == reason
