"""``swr-trust doctor`` about signatures: keys, login, an image's signatures, and marks that nothing has."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import webhook.cli.doctor
from tests.emulator.server import Emulator
from tests.support.signed import ENTERPRISE, HOST
from tests.unit.cli.accounts import PODS, Account
from tests.unit.cluster.lists import FakeLists
from webhook.cli.checks import Check, CheckStatus
from webhook.cli.doctor import run_checks
from webhook.cli.main import main
from webhook.cli.running_images import MAX_IMAGES, find_running
from webhook.cli.swr_checks import check_registries
from webhook.errors import ClusterError
from webhook.policy.loading import load_policy
from webhook.policy.model import Policy
from webhook.policy.signing_keys import refresh_keys
from webhook.trust.records import TrustQuery

Output = pytest.CaptureFixture[str]
IMAGE = f"{HOST}/shop/web:1"


@pytest.fixture
def account(emulator: Emulator, tmp_path: Path) -> Account:
    return Account(emulator, tmp_path, FakeLists({PODS: []}))


def checks_of(
    policy: Policy | Path, *images: str, running: Mapping[str, Sequence[TrustQuery]] | None = None
) -> dict[str, Check]:
    """Check the registries of a policy; return the checks by name."""
    loaded = load_policy(str(policy)) if isinstance(policy, Path) else policy
    return {check.name: check for check in check_registries(loaded, images, os.environ, running=running)}


def test_signed_image_passes_all_checks(account: Account) -> None:
    account.push("shop/web:1", "release-2026", bundle=True)
    checks = checks_of(account.write(account.basic(evidence="signature")), IMAGE)
    names = ("getRepoTag", "signing keys", "registry login", "signature")
    assert [checks[name].found for name in names] == [
        f"{IMAGE} exists in SWR",
        "these keys count: release-2026 (ECDSA P-256), release-2025 (ECDSA P-256)",
        "the registry accepts the login",
        f"{IMAGE} is signed by release-2026 (bundle)",
    ]
    assert {checks[name].status for name in checks} == {CheckStatus.OK}


@pytest.mark.parametrize(
    ("signers", "threshold", "found", "advice"),
    [
        ([], 1, "is not signed", "Sign it."),
        (
            ["a stranger"],
            1,
            "has signatures (simple-signing), and none counts: simple-signing: no key that counts has signed it",
            "Sign it with a configured key, or add the public key of its signer.",
        ),
        (
            ["release-2026", "a stranger"],
            2,
            "has signatures (simple-signing), and only those by release-2026 count: threshold",
            "Sign it.",
        ),
    ],
    ids=["unsigned", "by others", "threshold"],
)
def test_image_without_enough_signatures_is_a_warning(
    account: Account, signers: list[str], threshold: int, found: str, advice: str
) -> None:
    """The installation works; the image does not have what it needs."""
    account.push("shop/web:1", *signers)
    entry = account.basic(evidence="signature")
    entry["signatures"]["threshold"] = threshold
    assert checks_of(account.write(entry), IMAGE)["signature"] == Check(
        HOST,
        "signature",
        CheckStatus.WARNING,
        f"{IMAGE} {found}",
        f"{advice} swr-trust survey shows which images are signed, and by which keys.",
    )


def test_enterprise_is_checked_by_its_registry_api_only(account: Account) -> None:
    """It has no API for tags, and no credential."""
    account.push("shop/web:1", "release-2026", host=ENTERPRISE)
    checks = checks_of(account.write(account.enterprise()), f"{ENTERPRISE}/shop/web:1")
    assert {name: check.status for name, check in checks.items()} == dict.fromkeys(
        ["DNS", "TLS", "signing keys", "registry login", "signature"], CheckStatus.OK
    )
    assert account.emulator.calls("/manage/") == 0


def test_digest_alone_is_checked_in_enterprise(account: Account) -> None:
    digest = account.push("shop/web:1", "release-2026", host=ENTERPRISE)
    image = f"{ENTERPRISE}/shop/web@{digest}"
    checks = checks_of(account.write(account.enterprise()), image)
    assert checks["signature"].found == f"{image} is signed by release-2026 (simple-signing)"


def test_missing_image_is_a_warning(account: Account) -> None:
    check = checks_of(account.write(account.enterprise()), f"{ENTERPRISE}/shop/gone:1")["signature"]
    assert (check.status, check.found) == (
        CheckStatus.WARNING,
        f"{ENTERPRISE}/shop/gone:1 does not exist in the registry",
    )


def test_check_of_signature_needs_an_image(account: Account) -> None:
    check = checks_of(account.write(account.basic(evidence="signature")))["signature"]
    assert (check.status, check.found) == (
        CheckStatus.SKIPPED,
        "no image was looked up; use --image with one that is signed",
    )


def test_running_image_is_used_if_none_is_given(account: Account) -> None:
    account.push("shop/web:1", "release-2026")
    policy = load_policy(str(account.write(account.basic(evidence="signature"))))
    checks = checks_of(policy, running=find_running(policy, account.cluster))
    assert checks["signature"].found == f"{IMAGE} is signed by release-2026 (simple-signing)"


def test_rejected_login_is_not_tried_again(account: Account) -> None:
    """Neither for the image nor for another registry: failed logins are counted per account."""
    account.password = "wrong"
    account.push("shop/web:1", "release-2026")
    entries = [account.basic(evidence="signature", organizations=[name]) for name in ("shop", "pay", "ops")]
    policy = load_policy(str(account.write(*entries)))
    found = [
        check
        for check in check_registries(policy, [IMAGE], os.environ)
        if check.name in ("registry login", "signature")
    ]
    assert [check.status for check in found] == [CheckStatus.FAILED, CheckStatus.SKIPPED] * 3
    assert found[0].advice == (
        f"Check the entry of {HOST} in {account.folder}/dockerconfig.json. "
        "Temporary logins of SWR expire after at most 24 hours."
    )
    assert account.emulator.state.registry.failed_logins == 1


def test_missing_login_is_a_warning(account: Account) -> None:
    """Signatures of private images cannot be read, as the check of an image shows."""
    account.push("shop/web:1", "release-2026")
    entry = account.basic(evidence="signature")
    del entry["registryLogin"]
    account.emulator.state.registry.public.add("other/image")
    checks = checks_of(account.write(entry), IMAGE)
    assert (checks["registry login"].status, checks["registry login"].found) == (
        CheckStatus.WARNING,
        "no login is configured, so only signatures of public images can be read",
    )
    assert checks["signature"].status is CheckStatus.FAILED
    assert (checks["signature"].found, checks["signature"].advice) == (
        "the token service answered 401 UNAUTHORIZED about shop/web without a login: is registryLogin missing?",
        "Set registryLogin.dockerConfigFile to a login that may pull images.",
    )


def test_login_that_may_not_pull_is_named(account: Account) -> None:
    account.push("shop/web:1", "release-2026")
    account.emulator.state.registry.private.add("shop/web")
    check = checks_of(account.write(account.basic(evidence="signature")), IMAGE)["signature"]
    assert (check.status, check.advice) == (
        CheckStatus.FAILED,
        "Allow the login to pull images of shop.",
    )


def test_login_made_from_a_rejected_access_key_is_named(account: Account) -> None:
    account.push("shop/web:1", "release-2026")
    entry = account.basic(evidence="signature")
    del entry["registryLogin"]
    for name, text in (("ak", "AK"), ("sk", "wrong")):
        (account.folder / name).write_text(text, encoding="utf-8")
    entry["credentials"] = {
        "kind": "aksk",
        "accessKeyFile": str(account.folder / "ak"),
        "secretKeyFile": str(account.folder / "sk"),
    }
    check = checks_of(account.write(entry), IMAGE)["registry login"]
    assert (check.status, check.advice) == (
        CheckStatus.FAILED,
        "The login is made from the access key. Check the key and its permission to pull images, or set "
        "registryLogin.dockerConfigFile.",
    )


def test_registry_that_asks_for_no_login_passes(account: Account) -> None:
    account.push("shop/web:1", "release-2026")
    account.emulator.state.registry.asks_for_tokens = False
    checks = checks_of(account.write(account.basic(evidence="signature")), IMAGE)
    assert checks["registry login"].found == "the registry asks for no login"
    assert checks["signature"].status is CheckStatus.OK


def test_unreachable_registry_ends_its_checks(account: Account) -> None:
    """The keys are in files, so they are checked nevertheless."""
    entry = account.basic(evidence="signature", registryEndpoint="http://127.0.0.1:1")
    found = list(check_registries(load_policy(str(account.write(entry))), [IMAGE], os.environ))
    assert [(check.name, check.status) for check in found[-4:]] == [
        ("signing keys", CheckStatus.OK),
        ("DNS", CheckStatus.OK),
        ("TLS", CheckStatus.FAILED),
        ("registry login", CheckStatus.SKIPPED),
    ]
    assert found[-1].found == "not checked, because the registry is not reachable"


@pytest.mark.parametrize(
    ("evidence", "broken", "status", "text"),
    [
        (
            "signature",
            ["release-2025"],
            CheckStatus.WARNING,
            "these keys count: release-2026 (ECDSA P-256); release-2025 cannot be read (No such file or directory): "
            "mount the file, or correct the path",
        ),
        (
            "signature",
            ["release-2026", "release-2025"],
            CheckStatus.FAILED,
            "no key counts; release-2026 cannot be read (No such file or directory): mount the file, or correct "
            "the path; release-2025 cannot be read (No such file or directory): mount the file, or correct the "
            "path; 1 must sign, so every image of this registry is denied",
        ),
        (
            "tagDetail",
            ["release-2026", "release-2025"],
            CheckStatus.WARNING,
            "no key counts; release-2026 cannot be read (No such file or directory): mount the file, or correct "
            "the path; release-2025 cannot be read (No such file or directory): mount the file, or correct the path",
        ),
    ],
    ids=["one", "all", "all, for the survey only"],
)
def test_keys_that_do_not_count_are_named(
    account: Account, evidence: str, broken: list[str], status: CheckStatus, text: str
) -> None:
    """As after a change of the key files; at start, such a policy cannot be used at all."""
    policy = load_policy(str(account.write(account.basic(evidence=evidence))))
    for name in broken:
        account.keys.file(name).unlink()
    check = checks_of(refresh_keys(policy, 0.0))["signing keys"]
    assert (check.status, check.found) == (status, text)


def test_lapsed_key_is_named(account: Account) -> None:
    entry = account.basic(evidence="signature")
    day = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=2)
    entry["signatures"]["keys"][1]["notAfter"] = str(day)
    check = checks_of(account.write(entry))["signing keys"]
    assert (check.status, check.found) == (
        CheckStatus.WARNING,
        f"these keys count: release-2026 (ECDSA P-256); release-2025 lapsed on {day}",
    )


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"mode": "enforce"}, True),
        ({"mode": "audit"}, False),
        ({"mode": "audit", "rules": [{"name": "r", "images": ["**"], "mode": "enforce"}]}, True),
    ],
    ids=["enforce", "audit", "a rule enforces"],
)
def test_enforcing_marks_that_no_image_has_is_a_warning(
    account: Account, values: dict[str, Any], count: bool
) -> None:
    """It names the survey, which shows what the account can live with."""
    account.push("shop/web:1")
    account.push("shop/api:1")
    policy = load_policy(str(account.write(account.basic(keys=False), **values)))
    checks = checks_of(policy, running=find_running(policy, account.cluster))
    expected = Check(
        HOST,
        "is_trusted",
        CheckStatus.WARNING,
        "SWR does not mark any of the 2 images that were looked up as trusted, and mode enforce denies such images",
        "Run swr-trust survey before you enforce: it shows which evidence your images have.",
    )
    assert checks.get("is_trusted") == (expected if count else None)


@pytest.mark.parametrize(
    "images", [{"shop/web:1": True, "shop/api:1": False}, {}], ids=["one is trusted", "none runs"]
)
def test_marks_are_no_warning_without_a_reason(account: Account, images: dict[str, bool]) -> None:
    for image, trusted in images.items():
        account.push(image, is_trusted=trusted)
    policy = load_policy(str(account.write(account.basic(keys=False))))
    assert "is_trusted" not in checks_of(policy, running=find_running(policy, account.cluster))


@pytest.mark.parametrize(("evidence", "warned"), [("both", True), ("signature", False)])
def test_marks_count_where_they_are_evidence(account: Account, evidence: str, warned: bool) -> None:
    account.push("shop/web:1", "release-2026")
    assert ("is_trusted" in checks_of(account.write(account.basic(evidence=evidence)), IMAGE)) is warned


def test_registries_of_one_host_are_told_apart(account: Account) -> None:
    entries = [account.basic(evidence="signature", organizations=["shop"]), account.basic()]
    policy = load_policy(str(account.write(*entries)))
    found = [check.area for check in check_registries(policy, (), os.environ) if check.name == "signing keys"]
    assert found == [f"{HOST} (shop)", HOST]


def test_image_that_was_given_is_enough_for_the_warning(account: Account) -> None:
    account.push("shop/web:1")
    check = checks_of(account.write(account.basic(keys=False)), IMAGE)["is_trusted"]
    assert check.found == (
        "SWR does not mark the image that was looked up as trusted, and mode enforce denies such images"
    )


def test_few_running_images_are_found(account: Account) -> None:
    """Those that a review would look up: not exempt ones, and not of the system's namespaces."""
    for number in range(MAX_IMAGES + 3):
        account.run(f"{HOST}/shop/web:{number}")
    account.run(f"{HOST}/addons/dns:1")
    account.run(f"{HOST}/shop/system:1", "kube-system")
    account.run("docker.io/library/nginx:1")
    exemptions = [{"name": "add-ons", "images": [f"{HOST}/addons/**"], "reason": "of Huawei"}]
    policy = load_policy(str(account.write(exemptions=exemptions)))
    account.cluster = FakeLists(account.cluster.collections, size=100)
    (found,) = find_running(policy, account.cluster).values()
    assert [query.tag for query in found] == [str(number) for number in range(MAX_IMAGES)]
    account.cluster.failures = {1: ClusterError(403, "forbidden")}
    account.cluster.calls.clear()
    assert find_running(policy, account.cluster) == {}


def test_doctor_uses_the_cluster_for_images(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """And not with ``--no-cluster``."""
    account.push("shop/web:1", "release-2026")
    config = str(account.write(account.basic(evidence="signature")))
    monkeypatch.setattr(webhook.cli.doctor, "connect", lambda *_: account.cluster)
    monkeypatch.setattr(webhook.cli.doctor, "check_cluster", lambda *_: iter(()))
    found = {
        check.name: check for check in run_checks(config, (), None, "default", None, None, no_cluster=False)
    }
    assert found["signature"].found == f"{IMAGE} is signed by release-2026 (simple-signing)"
    assert main(["doctor", "--no-cluster", "--config", config, "-o", "json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["signature"]["health"] == "skipped"
