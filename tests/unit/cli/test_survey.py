"""``swr-trust survey``: its output, its calls and its exit codes, on the emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import webhook.cli.pod_selection
import webhook.cli.survey
from tests.emulator.server import Emulator
from tests.support.signed import ENTERPRISE, HOST
from tests.unit.cli.accounts import PODS, Account
from tests.unit.cluster.lists import FakeLists, owned_by
from webhook.app.trust_service import TrustService
from webhook.cli.main import main
from webhook.errors import ClusterError

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def account(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account without images, and a cluster without Pods."""
    cluster = FakeLists({PODS: [], CONFIGURATIONS: []})
    monkeypatch.setattr(webhook.cli.pod_selection, "connect", lambda *_: cluster)
    monkeypatch.setattr("webhook.cluster.client.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("webhook.audit.caching_lookup.OUTAGE_RETRY_BUDGET", 0.0)
    return Account(emulator, tmp_path, cluster)


def survey(policy: Path, *arguments: str) -> int:
    """Run the command; no namespace is excluded."""
    return main(["survey", "--config", str(policy), "--exclude-namespace", "nothing", *arguments])


def lines_of(capsys: Output) -> list[str]:
    """Return the lines of the output, with single spaces."""
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def push_typical(account: Account) -> None:
    """Run images with each kind of evidence, one that does not exist, and one in two namespaces."""
    account.push("shop/web:1", "release-2026")
    account.push("shop/api:1", "release-2026", "release-2025")
    account.push("shop/tool:1", "release-2025", bundle=True, is_trusted=True)
    account.push("shop/other:1", "a stranger")
    account.push("shop/plain:1")
    account.run(f"{HOST}/shop/gone:1", "ops")
    account.run(f"{HOST}/shop/web:1", "ops")


def test_table_shows_counts_images_and_recommendation(account: Account, capsys: Output) -> None:
    """Exit code 1: the configured evidence denies an image."""
    push_typical(account)
    assert survey(account.write()) == 1
    assert lines_of(capsys) == [
        f"{HOST}, evidence: tagDetail, mode enforce",
        "NAMESPACE IMAGES EXIST MARKED WITH SIGNATURES SIGNED UNKNOWN "
        "DENIED BY tagDetail DENIED BY signature DENIED BY both",
        "(all) 6 5 1 4 3 0 5 3 5",
        "ops 2 1 0 1 1 0 2 1 2",
        "shop 5 5 1 4 3 0 4 2 4",
        "",
        "IMAGE EXISTS MARKED SIGNED BY FORMAT WHY NOT",
        f"{HOST}/shop/gone:1 no - - - -",
        f"{HOST}/shop/other:1 yes no - simple-signing simple-signing: no key that counts has signed it",
        f"{HOST}/shop/plain:1 yes no - - no signature",
        f"{HOST}/shop/api:1 yes no release-2026, release-2025 simple-signing -",
        f"{HOST}/shop/web:1 yes no release-2026 simple-signing -",
        f"{HOST}/shop/tool:1 yes yes release-2025 bundle -",
        "",
        "Images signed by each key: release-2025 (2), release-2026 (2).",
        "Formats of these signatures: simple-signing (2), bundle (1).",
        "ShowRepoTag is published here.",
        "No project ID is configured. SWR answers without one.",
        "Recommendation: Set evidence: signature. It accepts 3 of the 5 images that exist, and evidence: "
        "tagDetail accepts 1. Sign the others before you enforce. Not in the registry, so that every evidence "
        "denies them: 1 image.",
        "",
    ]


@pytest.mark.parametrize("evidence", ["tagDetail", "signature", "both"])
@pytest.mark.parametrize("threshold", [1, 2])
def test_counts_do_not_depend_on_the_configured_evidence(
    account: Account, capsys: Output, evidence: str, threshold: int
) -> None:
    """Only the threshold decides how many images are signed."""
    push_typical(account)
    entry = account.basic(evidence=evidence)
    entry["signatures"]["threshold"] = threshold
    assert survey(account.write(entry), "-o", "json") == 1
    (found,) = json.loads(capsys.readouterr().out)["registries"]
    signed = {1: 3, 2: 1}[threshold]
    assert found["counts"] == {
        "images": 6,
        "existing": 5,
        "missing": 1,
        "marked": 1,
        "withSignatures": 4,
        "signed": signed,
        "unknown": 0,
        "denied": {"tagDetail": 5, "signature": 6 - signed, "both": {1: 5, 2: 6}[threshold]},
        "undetermined": {"tagDetail": 0, "signature": 0, "both": 0},
        "signers": {"release-2025": 2, "release-2026": 2},
        "formats": {"bundle": 1, "simple-signing": 2},
        "storedFormats": {"bundle": 1, "simple-signing": 3},
    }


def test_stored_signatures_are_shown_without_keys(account: Account, capsys: Output) -> None:
    """They are not verified, and the recommendation says what is missing."""
    account.push("shop/web:1", "a stranger")
    account.push("shop/api:1")
    assert survey(account.write(account.basic(keys=False), mode="audit")) == 1
    lines = lines_of(capsys)
    assert lines[2] == "(all) 2 2 0 1 0 0 2 1 2"
    assert lines[6:] == [
        f"{HOST}/shop/api:1 yes no - - no signature",
        f"{HOST}/shop/web:1 yes no - simple-signing simple-signing: no key that counts has signed it",
        "",
        "Formats of the signatures, which were not verified: simple-signing (1).",
        "ShowRepoTag is published here.",
        "No project ID is configured. SWR answers without one.",
        "Recommendation: Signatures are stored for 1 image, and no key is configured to verify them. Add the "
        "public keys of the signers under signatures.keys, then run swr-trust survey again.",
        "",
    ]


def test_enterprise_has_no_marks(account: Account, capsys: Output) -> None:
    account.push("shop/web:1", "release-2026", bundle=True, host=ENTERPRISE)
    assert survey(account.write(account.enterprise())) == 0
    assert lines_of(capsys) == [
        f"{ENTERPRISE}, evidence: signature, mode enforce",
        "NAMESPACE IMAGES EXIST MARKED WITH SIGNATURES SIGNED UNKNOWN "
        "DENIED BY tagDetail DENIED BY signature DENIED BY both",
        "(all) 1 1 - 1 1 0 - 0 -",
        "shop 1 1 - 1 1 0 - 0 -",
        "",
        "IMAGE EXISTS MARKED SIGNED BY FORMAT WHY NOT",
        f"{ENTERPRISE}/shop/web:1 yes - release-2026 bundle -",
        "",
        "Images signed by each key: release-2026 (1).",
        "Formats of these signatures: bundle (1).",
        "Recommendation: evidence: signature can be enforced: it accepts every image that exists (1).",
        "",
    ]


def test_sentences_are_in_the_language_of_the_policy(account: Account, capsys: Output) -> None:
    """In the table and in JSON."""
    account.push("shop/web:1", "release-2026")
    policy = account.write(messages="zh")
    advice = (
        "请设置 evidence: signature。它接受全部 1 个现有镜像，而 evidence: tagDetail 只接受其中 0 个。"
        "当前模式为 enforce，因此该镜像仓库服务的所有镜像现在都会被拒绝。"
    )
    assert survey(policy) == 1
    assert f"建议：{advice}" in lines_of(capsys)
    assert survey(policy, "-o", "json") == 1
    assert json.loads(capsys.readouterr().out)["registries"][0]["recommendation"] == advice


def test_images_without_lookup_are_left_out(account: Account, capsys: Output) -> None:
    """Exempt and invalid ones, those of other registries, static Pods, and excluded namespaces."""
    account.push("shop/web:1", "release-2026")
    account.run(f"{HOST}/addons/dns:1")
    account.run("docker.io/library/nginx:1")
    account.run(f"{HOST}/shop/web@sha256:{'1' * 64}")
    account.run(f"{HOST}/shop/api:1", "kube-system")
    mirror: dict[str, Any] = {"annotations": {"kubernetes.io/config.mirror": "x"}}
    account.run(f"{HOST}/shop/proxy:1", **mirror, **owned_by("Node", "n1"))
    exemptions = [{"name": "add-ons", "images": [f"{HOST}/addons/**"], "reason": "of Huawei"}]
    policy = account.write(account.basic(evidence="signature"), exemptions=exemptions)
    assert main(["survey", "--config", str(policy), "--exclude-namespace", "kube-*"]) == 0
    assert lines_of(capsys)[-5:] == [
        "Left out, exempt: 1 image.",
        "Left out, of registries that are not configured: 1 image.",
        "Left out, that the policy denies without a lookup: 1 image.",
        "Left out, because they are static: 1 Pod.",
        "Left out, in excluded namespaces (kube-*): 1 Pod.",
    ]


def test_last_lines_are_in_the_language_of_the_policy(
    account: Account, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left out or missing, and why the excluded namespaces are not certain."""
    monkeypatch.setattr(webhook.cli.survey, "SHOWN", 1)
    account.push("shop/web:1", "release-2026")
    account.push("shop/api:1")
    account.run("docker.io/library/nginx:1")
    account.run(f"{HOST}/shop/web:1", "kube-system")
    policy = account.write(account.basic(evidence="signature"), messages="zh")
    assert main(["survey", "--config", str(policy)]) == 1
    lines = lines_of(capsys)
    assert "另有 1 个镜像，使用 -o json 可查看全部" in lines
    assert lines[-3:] == [
        "镜像仓库服务未配置，未计入：1 个镜像。",
        "位于排除的命名空间（kube-system、kube-public、kube-node-lease、swr-trust），未计入：1 个 Pod。",
        "无法得知哪些命名空间的请求不发送到 Webhook：没有带有标签 app.kubernetes.io/name=swr-trust-webhook 且接收 Pod "
        "的 ValidatingWebhookConfiguration。因此按 Chart 的默认值排除；如需排除其他命名空间，请使用 --exclude-namespace。",
    ]
    account.cluster.failures = {call: ClusterError(0, "connection refused") for call in range(1, 99)}
    assert survey(policy) == 3
    assert lines_of(capsys)[-2:] == [
        "盘点结果不完整：未能读取所有命名空间的全部 Pod：connection refused。",
        "没有发现 Pod。",
    ]


def test_images_beyond_the_table_are_in_json(
    account: Account, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook.cli.survey, "SHOWN", 1)
    account.push("shop/web:1", "release-2026")
    account.push("shop/api:1")
    assert survey(account.write()) == 1
    assert "1 more: use -o json for all images" in lines_of(capsys)


def test_cluster_without_pods(account: Account, capsys: Output) -> None:
    assert survey(account.write()) == 0
    assert lines_of(capsys) == [
        f"{HOST}, evidence: tagDetail, mode enforce",
        "Recommendation: No image that exists runs from this registry, so nothing can be recommended.",
        "",
        "No Pods were seen.",
    ]


def test_region_without_the_call_for_one_tag_is_named(account: Account, capsys: Output) -> None:
    account.emulator.state.offers_tag_detail = False
    account.push("shop/web:1", "release-2026")
    assert survey(account.write(account.basic(evidence="signature"))) == 0
    assert (
        "ShowRepoTag is not published here. Tag lists are used instead, which need the action "
        "swr:repo:listRepoTags."
    ) in lines_of(capsys)


@pytest.mark.parametrize(
    ("configured", "accepted", "code", "sentence"),
    [
        ("own", ["own", ""], 0, "SWR answers with the configured project ID, and answers without one."),
        ("own", ["own"], 0, "SWR answers with the configured project ID, and refuses without one."),
        ("own", [""], 3, "SWR refuses with the configured project ID, and answers without one."),
        ("own", [], 3, "SWR refuses with the configured project ID, and refuses without one."),
        (None, [""], 0, "No project ID is configured. SWR answers without one."),
        (None, ["own"], 3, "No project ID is configured. SWR refuses without one."),
    ],
)
def test_working_project_id_is_found(
    account: Account,
    capsys: Output,
    configured: str | None,
    accepted: list[str],
    code: int,
    sentence: str,
) -> None:
    """An ID of the cluster's project instead of the region's makes SWR refuse all images."""
    account.push("shop/web:1", "release-2026")
    account.emulator.state.project_ids = accepted
    project = {"projectId": configured} if configured is not None else {}
    assert survey(account.write(account.basic(evidence="signature", **project))) == code
    assert sentence in lines_of(capsys)


def test_project_id_takes_one_call_for_each_account(account: Account) -> None:
    """SWR blocks accounts that call too often."""
    for organization in ("shop", "pay", "ops"):
        account.push(f"{organization}/web:1", "release-2026")
    entries = [
        account.basic(evidence="signature", projectId="own", organizations=[organization])
        for organization in ("shop", "pay", "ops")
    ]
    assert survey(account.write(*entries)) == 0
    assert account.emulator.calls("/tags/1") == 4


def test_rejected_credential_causes_one_failed_authentication(account: Account, capsys: Output) -> None:
    """More than five lock the access key; no call without a project ID is tried, either."""
    for number in range(20):
        account.push(f"shop/web{number}:1", "release-2026")
    (account.folder / "token").write_text("wrong\n", encoding="utf-8")
    assert survey(account.write(account.basic(projectId="own"))) == 3
    lines = lines_of(capsys)
    assert "SWR refuses with the configured project ID, and was not asked without one." in lines
    assert "This survey is PARTIAL: not everything is known about 20 images." in lines
    assert account.emulator.calls("/tags") == 1


def test_rejected_login_is_not_tried_for_each_registry(account: Account, capsys: Output) -> None:
    """One request with a scope and one without show that it is the login; then it is paused for all entries.

    What SWR's API says is reported nevertheless.
    """
    account.password = "wrong"
    for organization in ("shop", "pay"):
        for number in range(5):
            account.push(f"{organization}/web{number}:1", "release-2026", is_trusted=True)
    entries = [account.basic(organizations=[organization]) for organization in ("shop", "pay")]
    assert survey(account.write(*entries), "-o", "json") == 3
    said = capsys.readouterr()
    assert said.err == "partial: not everything is known about 10 images\n"
    for found in json.loads(said.out)["registries"]:
        counts = found["counts"]
        assert (counts["existing"], counts["marked"], counts["signed"], counts["unknown"]) == (5, 5, 0, 5)
        assert counts["denied"] == {"tagDetail": 0, "signature": 0, "both": 0}
        assert (found["advice"], found["recommended"]) == ("ready", "tagDetail")
    assert account.emulator.state.registry.failed_logins == 2


def test_outage_of_swr_is_a_partial_survey(account: Account, capsys: Output) -> None:
    account.push("shop/web:1", "release-2026")
    account.emulator.break_with("status", status=500)
    assert survey(account.write()) == 3
    lines = lines_of(capsys)
    assert lines[2] == "(all) 1 0 0 0 0 1 0 0 0"
    assert lines[-1] == "This survey is PARTIAL: not everything is known about 1 image."


def test_image_of_another_account_is_not_known(account: Account, capsys: Output) -> None:
    """Exit code 3; the survey is complete, because no retry would help."""
    account.push("shop/web:1", "release-2026", is_trusted=True)
    account.run(f"{HOST}/secret/app:1")
    assert survey(account.write()) == 3
    lines = lines_of(capsys)
    assert "Not known of 1 image: SWR answered 403 SVCSTG.SWR.4039001." in lines
    assert not any("PARTIAL" in line for line in lines)


def test_interrupted_survey_is_partial(account: Account, capsys: Output) -> None:
    """Ctrl-C: the report contains what was found until then."""
    account.push("shop/web:1", "release-2026")

    class Interrupted(FakeLists):
        def get(self, path: str, query: Any = None) -> dict[str, Any]:
            if (query or {}).get("continue"):
                raise KeyboardInterrupt
            return super().get(path, query)

    account.run(f"{HOST}/shop/api:1")
    account.run(f"{HOST}/shop/api:2")
    with pytest.MonkeyPatch.context() as patch:
        cluster = Interrupted(account.cluster.collections)
        patch.setattr(webhook.cli.pod_selection, "connect", lambda *_: cluster)
        # The fake is called in a thread; the interrupt arrives in the main one.
        patch.setattr(
            "webhook.cluster.client.RetryingClient._get_once",
            lambda _self, path, query: cluster.get(path, query),
        )
        assert survey(account.write()) == 3
    lines = lines_of(capsys)
    assert lines[2].startswith("(all) 2 ")
    assert lines[-1] == "This survey is PARTIAL: it was interrupted."


def test_api_server_that_fails_makes_survey_partial(account: Account, capsys: Output) -> None:
    account.push("shop/web:1", "release-2026")
    account.cluster.failures = {call: ClusterError(0, "connection refused") for call in range(1, 99)}
    assert survey(account.write(), "-o", "json") == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["partial"] is True
    assert said.err == "partial: Pods in all namespaces could not be read to the end: connection refused\n"


def test_namespaces_outside_webhook_selector_are_left_out(account: Account, capsys: Output) -> None:
    """As of the audit; without a webhook configuration, those of the chart's defaults."""
    account.push("shop/web:1", "release-2026")
    account.run(f"{HOST}/shop/web:1", "kube-system")
    policy = account.write(account.basic(evidence="signature"))
    assert main(["survey", "--config", str(policy)]) == 0
    lines = lines_of(capsys)
    assert "(all) 1 1 0 1 1 0 1 0 1" in lines
    assert lines[-1].startswith("It is not known which namespaces are not sent to the webhook: ")
    account.cluster.collections["/api/v1/namespaces/kube-system/pods"] = account.cluster.collections[PODS]
    assert main(["survey", "--config", str(policy), "-n", "kube-system"]) == 0


def test_all_lookups_share_the_rate_of_the_account(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under whichever evidence an image is looked up."""
    services: list[TrustService] = []

    def open_service(*values: Any) -> TrustService:
        services.append(TrustService(*values))
        return services[-1]

    monkeypatch.setattr(webhook.cli.survey, "TrustService", open_service)
    push_typical(account)
    assert survey(account.write(account.basic(projectId="own"))) == 1
    (service,) = services
    assert len(service.lookup._limiters) == 1
    assert len(service.lookup._queues) > 1


def test_survey_without_cluster_exits_with_code_2(emulator: Emulator, tmp_path: Path, capsys: Output) -> None:
    """The error says what is missing."""
    policy = Account(emulator, tmp_path, FakeLists({})).write()
    assert survey(policy, "--kubeconfig", str(tmp_path / "none")) == 2
    assert capsys.readouterr().err.startswith("swr-trust: no access to a cluster: ")
