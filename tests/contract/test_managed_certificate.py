"""Contract of the managed certificate: the same tests in memory and on a real API server."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.support.fake_api import FakeApi
from tests.support.fakes import FakeClock, RecorderSpy
from webhook.cluster.ca import LEAF, issue, read_material, renew
from webhook.cluster.certificates import (
    PROPAGATION_DELAY,
    ManagedCertificate,
    ManagedCertificateOptions,
)
from webhook.cluster.client import KubernetesApi, connect
from webhook.cluster.scope import MUTATING, VALIDATING
from webhook.cluster.secrets import SharedSecret
from webhook.errors import ClusterError

NAMESPACE = "certificates"
SECRET_PATH = f"/api/v1/namespaces/{NAMESPACE}/secrets"


def options(name: str, mutating: str = "") -> ManagedCertificateOptions:
    """Return the place in which the replicas of one test keep their certificate."""
    return ManagedCertificateOptions(NAMESPACE, f"{name}-tls", "gate", name, mutating)


def configuration(name: str, *bundles: str | None, kind: str = "Validating") -> dict[str, Any]:
    """Return a webhook configuration with one webhook per bundle."""
    webhooks = [
        {
            "name": f"w{index}.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"service": {"namespace": NAMESPACE, "name": "gate"}}
            | ({"caBundle": bundle} if bundle else {}),
            "rules": [],
        }
        for index, bundle in enumerate(bundles)
    ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": webhooks,
    }


@pytest.fixture
def name(request: pytest.FixtureRequest, api: KubernetesApi) -> str:
    """Return a unique name, and create its webhook configuration with two webhooks."""
    words = request.node.originalname.removeprefix("test_").replace("_", "-")
    api.create(VALIDATING, configuration(words[:50].strip("-"), None, None))
    return str(words[:50].strip("-"))


def trusted(api: KubernetesApi, path: str) -> list[bytes]:
    """Return the CAs that each webhook of a configuration trusts."""
    webhooks = api.get(path)["webhooks"]
    return [base64.b64decode(hook["clientConfig"].get("caBundle", "")) for hook in webhooks]


class Replicas:
    """Replicas that check when the test tells them to."""

    def __init__(self, api: KubernetesApi, name: str, count: int = 1, mutating: str = "") -> None:
        self.api, self.options = api, options(name, mutating)
        self.clock = FakeClock(dt.datetime.now(dt.UTC).timestamp())
        self.notes = RecorderSpy()
        self.all = [self.start() for _ in range(count)]

    def start(self) -> ManagedCertificate:
        """Start one more replica."""
        return ManagedCertificate(self.options, self.api, self.notes, self.clock, lambda seconds: None)

    def check(self) -> None:
        """Run one check of each replica."""
        for replica in self.all:
            replica.check()

    @property
    def secret(self) -> dict[str, bytes]:
        """The data of the Secret."""
        return dict(SharedSecret(self.api, NAMESPACE, self.options.secret).read().data)

    @property
    def bundles(self) -> list[bytes]:
        """The CAs that each webhook of the validating configuration trusts."""
        return trusted(self.api, f"{VALIDATING}/{self.options.validating}")

    @property
    def served(self) -> list[bytes]:
        """The certificate that each replica serves."""
        return [replica._material.leaf if replica._material else b"" for replica in self.all]


def test_replicas_share_one_certificate(api: KubernetesApi, name: str) -> None:
    """Every webhook of the configuration trusts it."""
    replicas = Replicas(api, name, 3)
    replicas.check()
    secret = replicas.secret
    assert replicas.served == [secret["tls.crt"]] * 3
    assert replicas.bundles == [secret["ca.crt"]] * 2


def test_replica_is_not_ready_before_first_check(api: KubernetesApi, name: str) -> None:
    """It serves a certificate that no client trusts, so that probes are answered."""
    (replica,) = Replicas(api, name).all
    assert (replica.not_after, replica.problem) == (0.0, "there is no certificate from the cluster yet")
    replica.check()
    assert replica.not_after > 0
    assert replica.problem == ""


@pytest.mark.parametrize("damage", ["emptied", "foreign"])
def test_damaged_ca_bundle_is_restored(api: KubernetesApi, damage: str) -> None:
    """The next check of any replica restores it in every webhook."""
    name = f"bundle-{damage}"
    api.create(VALIDATING, configuration(name, None, None))
    replicas = Replicas(api, name)
    replicas.check()
    foreign = issue(("x",), dt.datetime.now(dt.UTC)).bundle
    obj = api.get(f"{VALIDATING}/{name}")
    if damage == "emptied":
        del obj["webhooks"][1]["clientConfig"]["caBundle"]
    else:
        obj["webhooks"][1]["clientConfig"]["caBundle"] = base64.b64encode(foreign).decode()
    api.replace(f"{VALIDATING}/{name}", obj)
    assert replicas.bundles[0] != replicas.bundles[1]
    replicas.check()
    assert replicas.bundles == [replicas.secret["ca.crt"]] * 2


def _delete(replicas: Replicas) -> None:
    if isinstance(replicas.api, FakeApi):
        del replicas.api.objects[f"{SECRET_PATH}/{replicas.options.secret}"]
    else:
        replicas.api.delete(f"{SECRET_PATH}/{replicas.options.secret}")


def _empty(replicas: Replicas) -> None:
    secret = SharedSecret(replicas.api, NAMESPACE, replicas.options.secret)
    assert secret.write(secret.read(), {})


def _corrupt(replicas: Replicas) -> None:
    secret = SharedSecret(replicas.api, NAMESPACE, replicas.options.secret)
    stored = secret.read()
    assert secret.write(stored, {**stored.data, LEAF: b"garbage"})


@pytest.mark.parametrize("damage", [_delete, _empty, _corrupt])
def test_lost_secret_is_restored(api: KubernetesApi, request: pytest.FixtureRequest, damage: Any) -> None:
    """The served certificate and the trusted CA do not change."""
    name = f"lost{damage.__name__}".replace("_", "-")
    api.create(VALIDATING, configuration(name, None))
    replicas = Replicas(api, name, 2)
    replicas.check()
    served, trusted = replicas.served, replicas.bundles
    damage(replicas)
    replicas.check()
    assert (replicas.served, replicas.bundles) == (served, trusted)
    assert replicas.secret["tls.crt"] == served[0]


def test_foreign_entries_of_secret_are_kept(api: KubernetesApi, name: str) -> None:
    """Labels, annotations and other entries may belong to another tool."""
    obj = {
        "metadata": {"name": f"{name}-tls", "labels": {"app": "gate"}},
        "data": {"other": base64.b64encode(b"theirs").decode()},
    }
    api.create(SECRET_PATH, obj)
    replicas = Replicas(api, name)
    replicas.check()
    stored = api.get(f"{SECRET_PATH}/{name}-tls")
    assert stored["metadata"]["labels"] == {"app": "gate"}
    assert replicas.secret["other"] == b"theirs"


def test_new_replica_uses_existing_certificate(api: KubernetesApi, name: str) -> None:
    """A restart of all replicas does not change the certificate."""
    first = Replicas(api, name, 2)
    first.check()
    second = Replicas(api, name, 2)
    second.check()
    assert second.served == first.served


def test_expiring_certificate_is_replaced_on_every_replica(api: KubernetesApi, name: str) -> None:
    """The configuration already trusts the new certificate."""
    old = issue(options(name).names, dt.datetime.now(dt.UTC) - dt.timedelta(days=70))
    secret = SharedSecret(api, NAMESPACE, f"{name}-tls")
    assert secret.write(secret.read(), old.data)
    replicas = Replicas(api, name, 3)
    replicas.check()
    replicas.check()
    assert set(replicas.served) == {replicas.secret["tls.crt"]}
    assert replicas.secret["tls.crt"] != old.leaf
    assert replicas.bundles == [old.bundle] * 2


def test_new_ca_is_trusted_beside_old_ca(api: KubernetesApi, name: str) -> None:
    """The served certificate does not change yet."""
    names = options(name).names
    now = dt.datetime.now(dt.UTC)
    old = issue(names, now - dt.timedelta(days=600))
    while old.not_after < now.timestamp():
        grown = renew(old, names, dt.datetime.fromtimestamp(old.not_after, dt.UTC) - dt.timedelta(days=29))
        if grown.bundle != old.bundle:
            break
        old = grown
    secret = SharedSecret(api, NAMESPACE, f"{name}-tls")
    if read_material(old.data, names, now) is None:
        pytest.fail("the test has made nothing that can be served")
    assert secret.write(secret.read(), old.data)
    replicas = Replicas(api, name, 2)
    replicas.check()
    replicas.check()
    assert replicas.secret["ca.crt"].endswith(old.bundle)
    assert replicas.secret["ca.crt"] != old.bundle
    assert replicas.bundles == [replicas.secret["ca.crt"]] * 2
    assert replicas.served == [old.leaf] * 2


def test_missing_webhook_configuration_does_not_block_certificate(api: KubernetesApi) -> None:
    """Charts create it last, and remove it first."""
    replicas = Replicas(api, "not-installed")
    replicas.check()
    assert replicas.served == [replicas.secret["tls.crt"]]


@pytest.fixture
def both(api: KubernetesApi, name: str) -> str:
    """Return a unique name; create its validating and its mutating configuration."""
    api.create(MUTATING, configuration(name, None, None, kind="Mutating"))
    return name


def test_mutating_configuration_trusts_certificate(api: KubernetesApi, both: str) -> None:
    """Every webhook of both configurations does; one that is not named stays as it is."""
    api.create(MUTATING, configuration(f"{both}-other", None, kind="Mutating"))
    replicas = Replicas(api, both, 2, mutating=both)
    replicas.check()
    bundle = replicas.secret["ca.crt"]
    assert replicas.bundles == trusted(api, f"{MUTATING}/{both}") == [bundle] * 2
    assert trusted(api, f"{MUTATING}/{both}-other") == [b""]


def test_mutating_configuration_is_left_alone_unless_named(api: KubernetesApi, both: str) -> None:
    """Without pinning, the webhook has no right to it."""
    Replicas(api, both).check()
    assert trusted(api, f"{MUTATING}/{both}") == [b""] * 2


def test_emptied_ca_bundle_of_mutating_configuration_is_restored(api: KubernetesApi, both: str) -> None:
    """GitOps tools replace the object with one that has none. The certificate does not change."""
    replicas = Replicas(api, both, mutating=both)
    replicas.check()
    served, path = replicas.served, f"{MUTATING}/{both}"
    obj = api.get(path)
    for hook in obj["webhooks"]:
        del hook["clientConfig"]["caBundle"]
    api.replace(path, obj)
    assert trusted(api, path) == [b""] * 2
    replicas.check()
    assert trusted(api, path) == [replicas.secret["ca.crt"]] * 2
    assert replicas.served == served


def test_missing_mutating_configuration_does_not_block_certificate(api: KubernetesApi, name: str) -> None:
    """Charts create it last, and remove it first."""
    replicas = Replicas(api, name, mutating=name)
    replicas.check()
    assert replicas.served == [replicas.secret["tls.crt"]]
    assert replicas.bundles == [replicas.secret["ca.crt"]] * 2
    assert replicas.all[0].problem == ""
    api.create(MUTATING, configuration(name, None, kind="Mutating"))
    replicas.check()
    assert trusted(api, f"{MUTATING}/{name}") == [replicas.secret["ca.crt"]]


def test_missing_validating_configuration_does_not_block_mutating_one(api: KubernetesApi) -> None:
    """Each is maintained by itself."""
    name = "mutating-alone"
    api.create(MUTATING, configuration(name, None, kind="Mutating"))
    replicas = Replicas(api, name, mutating=name)
    replicas.check()
    assert trusted(api, f"{MUTATING}/{name}") == [replicas.secret["ca.crt"]]


def test_new_ca_is_served_after_one_pause_for_both_configurations() -> None:
    """API servers read both at the same time."""
    api = FakeApi()
    api.put(f"{VALIDATING}/pause", configuration("pause", None))
    api.put(f"{MUTATING}/pause", configuration("pause", None, kind="Mutating"))
    clock = FakeClock(dt.datetime.now(dt.UTC).timestamp())
    pauses: list[float] = []
    replica = ManagedCertificate(options("pause", "pause"), api, RecorderSpy(), clock, pauses.append)
    replica.check()
    replica.check()
    assert pauses == [PROPAGATION_DELAY]


class WithoutMutating(FakeApi):
    """Denies every call about mutating webhook configurations."""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        if path.startswith(MUTATING):
            raise ClusterError(403, "forbidden")
        return super().get(path, query)


def test_certificate_is_served_without_right_to_mutating_configuration() -> None:
    """Nothing is pinned then, and ``/validate`` still decides. The problem is reported."""
    api = WithoutMutating()
    api.put(f"{VALIDATING}/denied", configuration("denied", None))
    replicas = Replicas(api, "denied", mutating="denied")
    with pytest.raises(ClusterError, match="forbidden"):
        replicas.check()
    assert replicas.served == [replicas.secret["tls.crt"]]
    assert replicas.bundles == [replicas.secret["ca.crt"]]
    assert replicas.all[0].not_after > 0


def test_unreachable_api_server_keeps_served_certificate(api: KubernetesApi, name: str) -> None:
    """The certificate is still served, and the problem is reported."""
    replicas = Replicas(api, name)
    replicas.check()
    (replica,) = replicas.all
    before = replica.context()
    down = FakeApi()
    down.down = True
    replica._api = down
    replica._secret = SharedSecret(down, NAMESPACE, replicas.options.secret)
    with pytest.raises(ClusterError):
        replica.check()
    assert replica.context() is before


def test_second_writer_uses_certificate_of_first() -> None:
    """Two replicas that find no certificate at the same moment agree on one."""
    api = FakeApi()
    api.put(f"{VALIDATING}/race", configuration("race", None))
    first, second = (Replicas(api, "race") for _ in range(2))

    def check_first() -> None:
        first.check()

    api.before_write = check_first
    second.check()
    assert first.served == second.served


GRANTS: list[tuple[str, dict[str, Any]]] = [
    ("secrets create", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}),
    ("secrets get", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}),
    ("secrets update", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["update"]}),
    (
        "validatingwebhookconfigurations get",
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingwebhookconfigurations"],
            "verbs": ["get"],
        },
    ),
    (
        "validatingwebhookconfigurations patch",
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingwebhookconfigurations"],
            "verbs": ["patch"],
        },
    ),
    (
        "mutatingwebhookconfigurations get",
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations"],
            "verbs": ["get"],
        },
    ),
    (
        "mutatingwebhookconfigurations patch",
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations"],
            "verbs": ["patch"],
        },
    ),
]


def _run_with_rights(control_plane: ControlPlane, name: str, without: str) -> None:
    """Create, damage and restore with the rights of the chart, less one."""
    admin = connect(str(control_plane.kubeconfig("admin")))
    api = connect(str(control_plane.kubeconfig("gate")))
    rules = [
        ({**rule} if "create" in rule["verbs"] else {**rule, "resourceNames": [f"{name}-tls", name]})
        for title, rule in GRANTS
        if title != without
    ]
    admin.create(VALIDATING, configuration(name, None))
    admin.create(MUTATING, configuration(name, None, kind="Mutating"))
    control_plane.grant("gate", NAMESPACE, [rule for rule in rules if rule["apiGroups"] == [""]])
    control_plane.grant("gate", "", [rule for rule in rules if rule["apiGroups"] != [""]], cluster=True)
    replicas = Replicas(api, name, mutating=name)
    replicas.check()
    replicas.api = admin
    _empty(replicas)
    replicas.api = api
    replicas.check()


@pytest.fixture
def certificates(control_plane: ControlPlane) -> ControlPlane:
    """Return a cluster with the namespace of these tests."""
    control_plane.kubectl("create", "namespace", NAMESPACE, check=False)
    return control_plane


def test_rights_of_chart_are_sufficient(certificates: ControlPlane) -> None:
    """Authorization is enabled, and the user has no other rights."""
    _run_with_rights(certificates, "rights-all", "")


@pytest.mark.parametrize("missing", [title for title, _ in GRANTS])
def test_each_right_is_required(certificates: ControlPlane, missing: str) -> None:
    """Without one verb, the log names it."""
    with pytest.raises(ClusterError) as caught:
        _run_with_rights(certificates, f"rights-{missing.replace(' ', '-')}", missing)
    assert caught.value.status == 403
    resource, verb = missing.split()
    assert f'cannot {verb} resource "' in str(caught.value)
    assert resource in str(caught.value)
