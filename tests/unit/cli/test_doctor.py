"""``swr-trust doctor``: its checks, its advice, and the side effects that it must not have."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

import webhook.cli.doctor
from tests.emulator.server import Emulator
from tests.support.builders import HOST, policy, registry, rule
from tests.support.serving import make_certificate
from tests.unit.cli.conftest import WritePolicy
from tests.unit.cluster.lists import FakeLists
from webhook.cli.checks import Check, CheckStatus
from webhook.cli.cluster_checks import check_cluster
from webhook.cli.doctor import run_checks
from webhook.cli.main import main
from webhook.cli.swr_checks import check_registries
from webhook.cluster.scope import VALIDATING
from webhook.errors import ClusterError
from webhook.policy.model import Policy
from webhook.registries import CredentialSettings, RegistryTable

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
Output = pytest.CaptureFixture[str]


def swr(
    emulator: Emulator,
    tmp_path: Path,
    *images: str,
    token: str = "emulator-token",
    digest_only: str = "deny",
    clock: Callable[[], float] | None = None,
    **changes: Any,
) -> dict[str, Check]:
    """Check a registry behind the emulator; return the checks by name."""
    path = tmp_path / "token"
    path.write_text(f"{token}\n", encoding="utf-8")
    values = {
        "endpoint": emulator.url,
        "iam_endpoint": emulator.url,
        "credentials": CredentialSettings("token", token_file=str(path)),
        **changes,
    }
    table = RegistryTable.of([registry(**values)])
    found = check_registries(
        policy(registries=table, digest_only=digest_only),
        [f"{HOST}/{image}" for image in images],
        os.environ,
        clock if clock is not None else time.time,
    )
    return {check.name: check for check in found}


def test_healthy_registry_passes_all_checks(emulator: Emulator, tmp_path: Path) -> None:
    """Name, TLS, clock, credential and both permissions."""
    checks = swr(emulator, tmp_path, "shop/web:1.0")
    assert {name: check.status for name, check in checks.items()} == dict.fromkeys(
        ["DNS", "TLS", "clock", "credential", "getRepoTag", "listRepoTags"], CheckStatus.OK
    )
    assert checks["getRepoTag"].found == f"{HOST}/shop/web:1.0 is trusted"


def test_region_without_the_call_for_one_tag_is_named(emulator: Emulator, tmp_path: Path) -> None:
    """Fault D5: the permission to list tags is needed there."""
    emulator.state.offers_tag_detail = False
    checks = swr(emulator, tmp_path, "shop/web:1.0")
    assert checks["ShowRepoTag"] == Check(
        HOST,
        "ShowRepoTag",
        CheckStatus.WARNING,
        "SWR does not offer the call for one tag here (404 APIGW.0101), so tag lists are used instead",
        "Grant swr:repo:listRepoTags for all images.",
    )
    assert checks["getRepoTag"].found == f"{HOST}/shop/web:1.0 is trusted"
    emulator.break_with("status", match="/v3/", status=403, body='{"error_code":"SVCSTG.SWR.4039001"}')
    check = swr(emulator, tmp_path, "shop/web:1.0")["listRepoTags"]
    assert check.found.startswith("SWR answered 403 SVCSTG.SWR.4039001 (to the tag list: ")
    assert check.advice.startswith("Grant swr:repo:listRepoTags for swr:*:*:repo:shop/* in IAM")


def test_wrong_endpoint_is_not_reported_as_missing_tag_call(emulator: Emulator, tmp_path: Path) -> None:
    """Fault D5: it gives the same answer to everything."""
    emulator.break_with("status", match="/manage/", status=404, body='{"error_code":"APIGW.0101"}')
    checks = swr(emulator, tmp_path, "shop/web:1.0")
    found = "the API gateway answered 404 APIGW.0101: is the endpoint right?"
    assert (checks["credential"].status, checks["credential"].found) == (CheckStatus.UNKNOWN, found)
    assert "ShowRepoTag" not in checks


def test_doctor_without_image_uses_made_up_image(emulator: Emulator, tmp_path: Path) -> None:
    """The output says so, because a missing image may be reported without the permission."""
    check = swr(emulator, tmp_path)["getRepoTag"]
    assert (check.status, check.found) == (
        CheckStatus.OK,
        "SWR answers the lookup of an image that does not exist; use --image to look up a real one",
    )


def test_rejected_credential_causes_one_failed_authentication(emulator: Emulator, tmp_path: Path) -> None:
    """Five lock the account, which the webhook uses, too."""
    checks = swr(emulator, tmp_path, "shop/web:1.0", token="wrong")
    assert checks["credential"].status is CheckStatus.FAILED
    assert checks["credential"].advice.startswith("Write a token that has not expired to the file.")
    assert "getRepoTag" not in checks
    assert emulator.calls("/tags") == 1


def test_rejected_credential_is_not_tried_for_next_registry(emulator: Emulator, tmp_path: Path) -> None:
    """The number of failed authentications is counted per account."""
    path = tmp_path / "token"
    path.write_text("wrong\n", encoding="utf-8")
    common = {
        "endpoint": emulator.url,
        "iam_endpoint": emulator.url,
        "credentials": CredentialSettings("token", token_file=str(path)),
    }
    table = RegistryTable.of(
        [registry(**common, organizations=frozenset({name})) for name in ("shop", "ops", "ml")]
    )
    healths = [
        check.status
        for check in check_registries(policy(registries=table), [], {})
        if check.name == "credential"
    ]
    assert healths == [CheckStatus.FAILED, CheckStatus.SKIPPED, CheckStatus.SKIPPED]
    assert emulator.calls("/tags") == 1


def test_missing_secret_is_failed_credential_check(emulator: Emulator, tmp_path: Path) -> None:
    """The file is named, and no call is made."""
    settings = CredentialSettings("token", token_file=str(tmp_path / "nowhere"))
    check = swr(emulator, tmp_path, credentials=settings)["credential"]
    assert check.status is CheckStatus.FAILED
    assert "nowhere" in check.found
    environment = CredentialSettings("aksk")
    check = swr(emulator, tmp_path, credentials=environment)["credential"]
    assert check.found == "the environment variable HUAWEICLOUD_SDK_AK is not set"
    assert emulator.calls("/tags") == 0


@pytest.mark.parametrize(
    ("images", "health", "advice"),
    [
        (
            ["secret/app:1"],
            CheckStatus.FAILED,
            "Grant swr:repo:getRepoTag for swr:*:*:repo:secret/* in IAM, and read access to the organization in SWR.",
        ),
        (
            [],
            CheckStatus.UNKNOWN,
            "Use --image to look up one of your images: SWR may have refused because this one does not exist.",
        ),
    ],
    ids=["a real image", "a made-up one"],
)
def test_missing_permission_is_named_with_advice(
    emulator: Emulator, tmp_path: Path, images: list[str], health: CheckStatus, advice: str
) -> None:
    """The message uses IAM's name."""
    check = swr(emulator, tmp_path, *images, organizations=frozenset({"secret"}))["getRepoTag"]
    assert (check.status, check.advice) == (health, advice)


def test_blocked_account_is_a_failure_with_advice(emulator: Emulator, tmp_path: Path) -> None:
    """Fault D6: the credential is valid, and the permissions are not checked."""
    body = json.dumps({"error_msg": "Not allow to login, upload or download image"})
    emulator.break_with("status", match="/tags", status=403, body=body)
    checks = swr(emulator, tmp_path, "shop/web:1.0")
    assert checks["credential"].found == "SWR answered 403: the account is blocked for too many requests"
    assert checks["credential"].status is CheckStatus.FAILED
    assert checks["credential"].advice.startswith("Wait for 30 minutes.")
    assert emulator.calls("/tags") == 1


@pytest.mark.parametrize(
    ("digest_only", "health"), [("resolve", CheckStatus.FAILED), ("deny", CheckStatus.WARNING)]
)
def test_permission_to_list_tags_is_required_for_digests_only(
    emulator: Emulator, tmp_path: Path, digest_only: str, health: CheckStatus
) -> None:
    """It is a warning if the policy does not need it."""
    body = json.dumps({"errors": [{"errorCode": "SVCSTG.SWR.4039001", "errorMessage": "no"}]})
    emulator.break_with("status", match="/v3/", status=403, body=body)
    check = swr(emulator, tmp_path, "shop/web:1.0", digest_only=digest_only)["listRepoTags"]
    assert check.status is health
    assert check.advice.startswith("Grant swr:repo:listRepoTags for swr:*:*:repo:shop/* in IAM")


@pytest.mark.parametrize(
    ("skew", "health"),
    [(0, CheckStatus.OK), (-120, CheckStatus.WARNING), (3600, CheckStatus.FAILED)],
    ids=["right", "two minutes", "an hour"],
)
def test_clock_is_compared_with_that_of_swr(
    emulator: Emulator, tmp_path: Path, skew: float, health: CheckStatus
) -> None:
    """A signature is valid for fifteen minutes."""
    moment = dt.datetime.now(dt.UTC).timestamp() + skew
    assert swr(emulator, tmp_path, clock=lambda: moment)["clock"].status is health


def test_expired_signature_is_reported_as_clock_skew(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault D4: the former advice was to check the access key."""
    (access, key), *_ = emulator.state.keys.items()
    monkeypatch.setitem(key, "skew", 3600.0)
    monkeypatch.setenv("HUAWEICLOUD_SDK_AK", access)
    monkeypatch.setenv("HUAWEICLOUD_SDK_SK", key["secret"])
    check = swr(emulator, tmp_path, "shop/web:1.0", credentials=CredentialSettings("aksk"))["credential"]
    assert check.status is CheckStatus.FAILED
    assert re.fullmatch(
        r"SWR answered 401 APIGW\.0301: this machine's clock is 3[56][0-9]{2} s behind SWR's", check.found
    )
    assert check.advice.startswith("Synchronize the clock (chrony, NTP)")


def test_unresolvable_endpoint_skips_credential_check(emulator: Emulator, tmp_path: Path) -> None:
    """The credential is not tried."""
    checks = swr(emulator, tmp_path, endpoint="https://swr-api.nowhere.invalid")
    assert checks["DNS"].status is CheckStatus.FAILED
    assert checks["credential"].status is CheckStatus.SKIPPED
    assert emulator.calls() == 0


def test_endpoint_in_no_proxy_is_resolved(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault D3: doctor said that the proxy resolves it."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    assert swr(emulator, tmp_path)["DNS"].found == "127.0.0.1 resolves to 127.0.0.1"


def test_refused_connection_is_failed_tls_check(emulator: Emulator, tmp_path: Path) -> None:
    """The message names the address."""
    check = swr(emulator, tmp_path, endpoint="http://127.0.0.1:1")["TLS"]
    assert check.status is CheckStatus.FAILED
    assert check.advice == "Check the endpoint, and that no firewall or proxy refuses the connection."


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[Emulator, Path]]:
    """Return an emulator with TLS, and the CA of its certificate."""
    files = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with Emulator(context=context) as running:
        yield running, files.ca


def test_untrusted_certificate_is_failed_tls_check(over_tls: tuple[Emulator, Path], tmp_path: Path) -> None:
    """With ``caFile`` it passes."""
    emulator, ca = over_tls
    check = swr(emulator, tmp_path)["TLS"]
    assert check.status is CheckStatus.FAILED
    assert "its certificate is not trusted" in check.found
    assert check.advice == "Set caFile to the CA that signed it, or exclude SWR from TLS inspection."
    assert swr(emulator, tmp_path, ca_file=str(ca))["TLS"].status is CheckStatus.OK
    assert swr(emulator, tmp_path, ca_file="/nowhere.pem")["TLS"].found == (
        "caFile /nowhere.pem: No such file or directory"
    )
    empty = tmp_path / "empty.pem"
    empty.touch()
    assert (
        swr(emulator, tmp_path, ca_file=str(empty))["TLS"].found == f"caFile {empty}: no certificate in PEM"
    )


def test_image_of_unknown_registry_is_failed_check(emulator: Emulator, tmp_path: Path) -> None:
    """``--image`` must name a registry of the policy."""
    checks = list(check_registries(policy(registries=RegistryTable.of([])), ["docker.io/x/y:1"], {}))
    assert [(check.status, check.found) for check in checks] == [
        (CheckStatus.FAILED, "docker.io/x/y:1: its registry is not in the policy")
    ]


# The cluster.


class Cluster(FakeLists):
    """An API server whose webhook answers the probe with ``refusal``, or admits it."""

    def __init__(self, hook: Mapping[str, Any] | None, refusal: ClusterError | None) -> None:
        found = [{"metadata": {"name": "gate"}, "webhooks": [hook]}] if hook is not None else []
        super().__init__(
            {
                VALIDATING: found,
                "/apis/discovery.k8s.io/v1/namespaces/swr-trust/endpointslices": [endpoints(2)],
            }
        )
        self.objects["/version"] = {"gitVersion": "v1.37.2"}
        self.objects["/api/v1/namespaces/swr-trust/services/gate"] = {"spec": {"type": "ClusterIP"}}
        self.refusal = refusal
        self.created: list[str] = []

    def create(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        self.created.append(path)
        if self.refusal is not None:
            raise self.refusal
        return {}


def test_lapsed_signing_key_is_a_warning(tmp_path: Path) -> None:
    """The webhook starts with it, but what only it has signed is denied."""
    config = tmp_path / "policy.yaml"
    config.write_text(
        "{apiVersion: swr-trust/v1, kind: TrustPolicy, registries: [{edition: enterprise, "
        "hosts: [images.example.com], evidence: signature, "
        "signatures: {keys: [{name: old, file: /nowhere/old.pub, notAfter: 2026-03-31}]}}]}",
        encoding="utf-8",
    )
    checks = run_checks(str(config), (), None, "default", None, None, no_cluster=True)
    valid, lapsed = next(checks), next(checks)
    assert (valid.status, lapsed.status) == (CheckStatus.OK, CheckStatus.WARNING)
    assert lapsed.found == (
        "registries[0].signatures.keys[0].notAfter: key 'old' lapsed on 2026-03-31: remove it, or set a later notAfter"
    )


def endpoints(ready: int) -> dict[str, Any]:
    """Return an EndpointSlice with one ready and one unready address."""
    addresses = [
        {"addresses": [f"10.0.0.{number}"], "conditions": {"ready": True}} for number in range(ready)
    ]
    return {"endpoints": [*addresses, {"addresses": ["10.0.1.1"], "conditions": {"ready": False}}]}


CA = trustme.CA().cert_pem.bytes()
DENIED = ClusterError(403, 'admission webhook "x" denied the request: denied by image trust policy: ...')


def hook(**changes: Any) -> dict[str, Any]:
    """Return a webhook as the chart registers it."""
    excluded = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
    return {
        "name": "pods.gate",
        "clientConfig": {
            "caBundle": base64.b64encode(CA).decode(),
            "service": {"namespace": "swr-trust", "name": "gate", "port": 443},
        },
        "rules": [
            {"apiGroups": [""], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]},
            {"apiGroups": [""], "operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"]},
        ],
        "failurePolicy": "Fail",
        "timeoutSeconds": 10,
        "namespaceSelector": {"matchExpressions": [excluded]},
        **changes,
    }


def cluster(
    changed: Mapping[str, Any] | None,
    refusal: ClusterError | None = DENIED,
    current: Policy | None = None,
    prepare: Callable[[Cluster], object] = lambda _api: None,
    now: dt.datetime | None = None,
) -> dict[str, Check]:
    """Check a cluster; return the checks by name."""
    api = Cluster(changed, refusal)
    prepare(api)
    moment = now if now is not None else dt.datetime.now(dt.UTC)
    checks = check_cluster(api, None, "default", current if current is not None else policy(), moment)
    return {check.name: check for check in checks}


def test_healthy_installation_passes_all_checks() -> None:
    """Checks that are impossible from here are skipped; the dry run covers the whole path."""
    checks = cluster(hook())
    assert {name: check.status.value for name, check in checks.items()} == {
        "API server": "ok",
        "rules": "ok",
        "failurePolicy": "ok",
        "timeoutSeconds": "ok",
        "namespaces left out": "ok",
        "caBundle": "ok",
        "replicas": "ok",
        "serving certificate": "skipped",
        "dry run": "ok",
    }
    assert checks["namespaces left out"].found == "pods.gate: excluded: kube-system"
    assert checks["replicas"].found == "pods.gate: 2 replicas are ready behind Service swr-trust/gate"


@pytest.mark.parametrize(
    ("changes", "name", "health", "found"),
    [
        (
            {"failurePolicy": "Ignore"},
            "failurePolicy",
            "warning",
            "pods.gate: Ignore admits Pods when the webhook cannot be called",
        ),
        ({"timeoutSeconds": 3}, "timeoutSeconds", "warning", "pods.gate: 3 s, a lookup takes up to 3 s"),
        (
            {"rules": [{"apiGroups": [""], "operations": ["CREATE"], "resources": ["pods"]}]},
            "rules",
            "failed",
            "gate does not cover UPDATE pods, UPDATE pods/ephemeralcontainers",
        ),
        (
            {"rules": [{"apiGroups": ["apps"], "operations": ["*"], "resources": ["*"]}]},
            "rules",
            "failed",
            "gate does not cover CREATE pods, UPDATE pods, UPDATE pods/ephemeralcontainers",
        ),
        ({"rules": [{"apiGroups": ["*"], "operations": ["*"], "resources": ["*/*"]}]}, "rules", "ok", None),
        (
            {"objectSelector": {"matchLabels": {"gate": "on"}}},
            "objectSelector",
            "warning",
            "pods.gate: the labels of a Pod decide whether it is reviewed",
        ),
        (
            {"namespaceSelector": {"matchLabels": {"gate": "on"}}},
            "namespaceSelector",
            "warning",
            "pods.gate: called only for namespaces with gate=on",
        ),
        ({"clientConfig": {"url": "https://127.0.0.1:1/"}}, "caBundle", "failed", "pods.gate: empty"),
        (
            {"clientConfig": {"url": "https://127.0.0.1:1/", "caBundle": base64.b64encode(b"x").decode()}},
            "caBundle",
            "failed",
            "pods.gate: contains no certificate",
        ),
    ],
)
def test_webhook_configuration_problem_is_reported_with_advice(
    changes: dict[str, Any], name: str, health: str, found: str | None
) -> None:
    """Each has its own advice."""
    check = cluster(hook(**changes))[name]
    assert check.status.value == health
    assert found is None or check.found == found
    assert bool(check.advice) == (health != "ok")


@pytest.mark.parametrize(
    ("years", "health"), [(0, CheckStatus.OK), (1000, CheckStatus.FAILED)], ids=["now", "in a thousand years"]
)
def test_expired_ca_is_failed_check(years: int, health: CheckStatus) -> None:
    """The API server can no longer call the webhook."""
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(days=365 * years)
    assert cluster(hook(), now=moment)["caBundle"].status is health


@pytest.mark.parametrize(
    ("ready", "health"), [(0, CheckStatus.FAILED), (1, CheckStatus.WARNING), (2, CheckStatus.OK)]
)
def test_replicas_are_counted(ready: int, health: CheckStatus) -> None:
    """At least two: with one, no replica answers during its replacement."""

    def prepare(api: Cluster) -> None:
        path = "/apis/discovery.k8s.io/v1/namespaces/swr-trust/endpointslices"
        api.collections[path] = [endpoints(ready)]

    assert cluster(hook(), prepare=prepare)["replicas"].status is health


def test_missing_service_is_reported() -> None:
    """The API server cannot call the webhook."""
    check = cluster(hook(), prepare=lambda api: api.objects.pop("/api/v1/namespaces/swr-trust/services/gate"))
    assert check["replicas"].found == "pods.gate: Service swr-trust/gate does not exist"


def test_missing_webhook_configuration_is_failed_check() -> None:
    """No configuration has the chart's labels."""
    check = cluster(None)["webhook configuration"]
    assert (check.status, check.found) == (
        CheckStatus.FAILED,
        "none has the label app.kubernetes.io/name=swr-trust-webhook",
    )


@pytest.mark.parametrize(
    ("refusal", "mode", "health", "advice"),
    [
        (DENIED, "enforce", "ok", ""),
        (ClusterError(403, "镜像信任策略拒绝：..."), "enforce", "ok", ""),
        (None, "warn", "skipped", ""),
        (
            ClusterError(
                500, 'Internal error: failed calling webhook "x": tls: x509: certificate signed by unknown'
            ),
            "enforce",
            "failed",
            "caBundle does not match the serving certificate. Renew the certificate, or correct caBundle.",
        ),
        (
            ClusterError(500, 'failed calling webhook "x": no endpoints available for service "gate"'),
            "enforce",
            "failed",
            "No replica is reachable. Check the webhook's Pods and Service.",
        ),
        (
            ClusterError(500, 'failed calling webhook "x": context deadline exceeded'),
            "enforce",
            "failed",
            "Open the webhook's port to the control plane in security groups and network policies.",
        ),
        (
            ClusterError(403, 'pods is forbidden: User "dev" cannot create resource "pods"'),
            "enforce",
            "unknown",
            "Choose a namespace in which you may create Pods, with -n.",
        ),
        (
            ClusterError(422, "something else"),
            "enforce",
            "unknown",
            "Another check denied the Pod before the webhook was called. Choose another namespace with -n.",
        ),
    ],
)
def test_dry_run_error_determines_health_and_advice(
    refusal: ClusterError | None, mode: str, health: str, advice: str
) -> None:
    """The advice follows from the API server's message."""
    check = cluster(hook(), refusal, policy(rules=(rule(mode=mode),)))["dry run"]
    assert (check.status.value, check.advice) == (health, advice)


def test_dry_run_admitted_in_enforce_mode_is_failed_check() -> None:
    """It is the most severe finding of the doctor."""
    check = cluster(hook(), None)["dry run"]
    assert (check.status, check.found) == (
        CheckStatus.FAILED,
        "a Pod with an invalid image would be admitted in default",
    )


def test_doctor_creates_pod_as_dry_run_only() -> None:
    """No object is created."""
    api = Cluster(hook(), None)
    list(check_cluster(api, None, "shop", None, NOW))
    assert api.created == ["/api/v1/namespaces/shop/pods?dryRun=All"]


# The command.


@pytest.fixture
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise ClusterError(0, "no access to a cluster: none")

    monkeypatch.setattr(webhook.cli.doctor, "connect", connect)


@pytest.mark.usefixtures("_no_cluster")
def test_doctor_prints_each_check_and_summary(write_policy: WritePolicy, capsys: Output) -> None:
    """One line each, the advice below it, a summary at the end; exit code 3 for unknown results."""
    path = write_policy("")
    assert main(["doctor", "--config", str(path), "--image", f"{HOST}/shop/web:1.0"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"ok       configuration: {path}: valid, mode enforce, 1 registries, version ")
    assert f"ok       {HOST}: getRepoTag: {HOST}/shop/web:1.0 is trusted" in lines
    assert lines[-4:] == [
        "unknown  cluster: API server: no access to a cluster: none",
        "         Use --kubeconfig, or skip the checks of the cluster with --no-cluster.",
        "",
        "7 ok, 0 warnings, 0 failed, 1 unknown, 0 skipped",
    ]


def test_doctor_exit_code_follows_checks(
    write_policy: WritePolicy, emulator: Emulator, tmp_path: Path
) -> None:
    """0 all passed, 1 a check failed, 2 an invalid policy."""
    path = write_policy("")
    assert main(["doctor", "--no-cluster", "--config", str(path)]) == 0
    (tmp_path / "token").write_text("wrong\n", encoding="utf-8")
    assert main(["doctor", "--no-cluster", "--config", str(path)]) == 1
    path.write_text("mode: block\n", encoding="utf-8")
    assert main(["doctor", "--no-cluster", "--config", str(path)]) == 2


def test_doctor_output_does_not_contain_secrets(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """Not in a failure either."""
    path = write_policy("")
    (tmp_path / "token").write_text("very-secret-token\n", encoding="utf-8")
    main(["doctor", "--no-cluster", "--config", str(path), "-o", "json"])
    said = capsys.readouterr()
    assert "very-secret" not in said.out + said.err
    assert {row["health"] for row in json.loads(said.out)} == {"ok", "failed"}
