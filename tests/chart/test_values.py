"""Values of the chart: valid ones, the messages for invalid ones, and the rendered result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import (
    NAME,
    NAMESPACE,
    VALUES,
    HelmError,
    Objects,
    find_helms,
    merged,
    render,
    template,
)
from tests.chart.test_versions import OPTIONS
from webhook.policy.loading import load_policy
from webhook.regions import REGIONS

OIDC = {"credentials": {"kind": "oidc", "existingSecret": "", "oidc": {"audience": "swr"}}}
AGENCY = {"policy": {"credentials": {"identityProvider": "cluster-1"}}}

REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    (
        "no registry",
        {"policy": {"registries": []}},
        "set policy.registries to the SWR registries of your images, "
        "for example: policy: {registries: [{region: cn-north-4}]}",
    ),
    (
        "no key pair",
        {"credentials": {"existingSecret": ""}},
        "set credentials.existingSecret to the name of a Secret in this namespace with the keys ak and sk, "
        "or credentials.kind to podIdentity or oidc",
    ),
    (
        "no token",
        {"credentials": {"kind": "token", "existingSecret": ""}},
        "set credentials.existingSecret to the name of a Secret in this namespace with the key token, "
        "or credentials.kind to podIdentity or oidc",
    ),
    (
        "a user without names",
        {"credentials": {"kind": "iamUser"}},
        "set policy.credentials.domainName: kind iamUser needs it\n"
        "set policy.credentials.userName: kind iamUser needs it",
    ),
    (
        "kinds that contradict",
        {"policy": {"credentials": {"kind": "token"}}},
        "policy.credentials.kind is token and credentials.kind is aksk: remove policy.credentials.kind, "
        "the chart renders it",
    ),
    (
        "OIDC without anything",
        {"credentials": {"kind": "oidc"}},
        "set credentials.oidc.audience to the client ID of the identity provider\n"
        "set policy.credentials.identityProvider for IAM, or policy.credentials.providerUrn and agencyUrn for STS",
    ),
    (
        "two Secrets",
        {"credentials": {"insecureValues": {"ak": "a", "sk": "b"}}},
        "set credentials.existingSecret or credentials.insecureValues, not both",
    ),
    (
        "no certificate",
        {"certificates": {"mode": "existingSecret"}},
        "set certificates.existingSecret to the name of a TLS Secret for the DNS name "
        f"{NAME}.{NAMESPACE}.svc",
    ),
    (
        "a caBundle that another owns",
        {"certificates": {"caBundle": "-----BEGIN CERTIFICATE-----\n"}},
        "certificates.existingSecret and certificates.caBundle need certificates.mode existingSecret, but it is self",
    ),
    (
        "two monitors",
        {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
        "enable serviceMonitor or podMonitor, not both: every metric would be scraped twice",
    ),
    (
        "a grace period that is too short",
        {"terminationGracePeriodSeconds": 25},
        "terminationGracePeriodSeconds must be at least 30: preStopSeconds, and 20 for requests in progress",
    ),
    (
        "a lookup longer than the call",
        {"policy": {"lookup": {"timeout": "4s"}}},
        "webhook.timeoutSeconds is 5 and policy.lookup.timeout is 4s: the difference must be more than one second",
    ),
    (
        "digests without pinning",
        {
            "policy": {
                "pinDigests": True,
                "rules": [
                    {"name": "a", "images": ["**"]},
                    {"name": "b", "images": ["**"], "pinDigests": True},
                ],
            }
        },
        "nothing would be pinned: pinDigests is true (policy.pinDigests, policy.rules[1].pinDigests), and "
        "pinning.enabled is false, so that no mutating webhook is called. "
        "Set pinning.enabled=true, or remove pinDigests",
    ),
    (
        "pinning without digests",
        {
            "pinning": {"enabled": True},
            "policy": {
                "pinDigests": False,
                "rules": [{"name": "a", "images": ["**"], "pinDigests": False}],
            },
        },
        "nothing would be pinned: pinning.enabled is true, but policy.pinDigests is false and no rule sets "
        "pinDigests: true. Remove policy.pinDigests, set it in a rule, or set pinning.enabled=false",
    ),
    (
        "a stage and another mode",
        {"presets": {"stage": "audit"}, "policy": {"mode": "warn"}},
        "presets.stage is audit and policy.mode is warn: set only one of them.",
    ),
]


@pytest.mark.parametrize(
    ("changes", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_missing_or_contradictory_values_are_rejected_with_message(
    changes: dict[str, Any], words: str
) -> None:
    """Each Helm says what to set, and nothing is rendered."""
    for helm in find_helms():
        with pytest.raises(HelmError) as refused:
            template(merged(VALUES, changes), helm=helm)
        assert f"\n\n{words}\n" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"replicas": 3}, "replicas"),
        ({"policy": {"modes": "audit"}}, "modes"),
        ({"policy": {"mode": "off"}}, "/policy/mode"),
        ({"policy": {"registries": [{"region": "cn-north-4", "regoin": "x"}]}}, "regoin"),
        ({"policy": {"cache": {"trusted": "1 minute"}}}, "/policy/cache/trusted"),
        ({"policy": {"cache": {"trusted": ""}}}, "/policy/cache/trusted"),
        ({"policy": {"exemptions": [{"name": "a", "images": ["x"]}]}}, "reason"),
        ({"policy": {"credentials": {"accessKeyFile": "/etc/ak"}}}, "accessKeyFile"),
        ({"webhook": {"failurePolicy": "Open"}}, "/webhook/failurePolicy"),
        ({"webhook": {"timeoutSeconds": 60}}, "/webhook/timeoutSeconds"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"containerPort": 443}, "/containerPort"),
        ({"runAsUser": 0}, "/runAsUser"),
        ({"certificates": {"mode": "helm"}}, "/certificates/mode"),
        ({"credentials": {"kind": "password"}}, "/credentials/kind"),
        ({"pinning": {"enabled": "yes"}}, "/pinning/enabled"),
        ({"pinning": {"failurePolicy": "Fail"}}, "failurePolicy"),
    ],
)
def test_invalid_values_are_rejected_with_path(changes: dict[str, Any], place: str) -> None:
    """The schema rejects them before anything is rendered."""
    for helm in find_helms():
        with pytest.raises(HelmError) as refused:
            template(merged(VALUES, changes), helm=helm)
        message = str(refused.value)
        assert "values don't meet the specifications of the schema" in message
        assert place in message or place.removeprefix("/").replace("/", ".") in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            {
                "kind": "aksk",
                "accessKeyFile": "/etc/swr-trust/credentials/ak",
                "secretKeyFile": "/etc/swr-trust/credentials/sk",
            },
        ),
        (
            {"credentials": {"keys": {"accessKey": "id", "secretKey": "key", "securityToken": "session"}}},
            {
                "kind": "aksk",
                "accessKeyFile": "/etc/swr-trust/credentials/id",
                "secretKeyFile": "/etc/swr-trust/credentials/key",
                "securityTokenFile": "/etc/swr-trust/credentials/session",
            },
        ),
        (
            {"credentials": {"kind": "token"}},
            {"kind": "token", "tokenFile": "/etc/swr-trust/credentials/token"},
        ),
        (
            {
                "credentials": {"kind": "iamUser"},
                "policy": {"credentials": {"domainName": "acme", "userName": "robot"}},
            },
            {
                "kind": "iamUser",
                "domainName": "acme",
                "userName": "robot",
                "passwordFile": "/etc/swr-trust/credentials/password",
            },
        ),
        ({"credentials": {"kind": "podIdentity", "existingSecret": ""}}, {"kind": "podIdentity"}),
        (
            merged(OIDC, AGENCY),
            {
                "kind": "oidc",
                "identityProvider": "cluster-1",
                "idTokenFile": "/var/run/secrets/swr-trust/oidc/token",
            },
        ),
    ],
)
def test_policy_names_files_of_each_credential_kind(
    changes: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    """No secret is in the policy, and the program accepts it."""
    objects = render(changes)
    assert objects.policy["credentials"] == expected
    path = tmp_path / "policy.yaml"
    path.write_text(objects.policy_text, encoding="utf-8")
    assert load_policy(str(path)).registries.registries[0].credentials.kind == expected["kind"]


def test_credential_files_are_mounted_from_secret() -> None:
    """They are readable only by the group of the process."""
    objects = render({"credentials": {"extraSecrets": ["other.account"]}})
    volumes = {volume["name"]: volume for volume in objects.pod["volumes"]}
    assert volumes["credentials"]["secret"] == {"secretName": "swr-credentials", "defaultMode": 0o440}
    assert volumes["secret-other-account"]["secret"]["secretName"] == "other.account"
    mounts = {mount["name"]: mount for mount in objects.container["volumeMounts"]}
    assert mounts["credentials"]["mountPath"] == "/etc/swr-trust/credentials"
    assert mounts["secret-other-account"]["mountPath"] == "/etc/swr-trust/secrets/other.account"
    assert all(mount["readOnly"] for mount in mounts.values())
    assert all("subPath" not in mount for mount in mounts.values())


def test_oidc_token_is_projected_for_audience() -> None:
    """The ServiceAccount's own token is only for the API server."""
    (volume,) = [one for one in render(merged(OIDC, AGENCY)).pod["volumes"] if one["name"] == "oidc"]
    assert volume["projected"]["sources"] == [
        {"serviceAccountToken": {"path": "token", "audience": "swr", "expirationSeconds": 3600}}
    ]


def test_insecure_values_are_rendered_only_into_secret() -> None:
    """They are rendered into no ConfigMap, argument or environment variable."""
    changes = {"credentials": {"existingSecret": "", "insecureValues": {"ak": "PLAINAK", "sk": "PLAINSK"}}}
    objects = render(changes)
    secret = objects.one("Secret", f"{NAME}-credentials")
    assert secret["stringData"] == {"ak": "PLAINAK", "sk": "PLAINSK"}
    others = str([one for one in objects if one is not secret])
    assert "PLAINAK" not in others
    assert "PLAINSK" not in others


def test_registries_with_own_credentials_need_no_global_credentials() -> None:
    """No empty credential is rendered."""
    own = {"kind": "token", "tokenFile": "/etc/swr-trust/secrets/a/token"}
    changes = {
        "policy": {"registries": [{"region": "cn-north-4", "credentials": own}]},
        "credentials": {"existingSecret": "", "extraSecrets": ["a"]},
    }
    assert "credentials" not in render(changes).policy


@pytest.mark.parametrize("mode", ["self", "certManager"])
def test_ca_bundle_is_not_rendered(mode: str) -> None:
    """Not even empty: Helm and GitOps tools would overwrite the value that the webhook writes."""
    objects = render({"certificates": {"mode": mode}})
    assert all("caBundle" not in entry["clientConfig"] for entry in objects.webhooks.values())


@pytest.mark.parametrize(
    ("name", "off"),
    [
        (f"{NAME}-tls", {"certificates": {"mode": "certManager"}}),
        (f"{NAME}-snapshot", {"snapshot": {"enabled": False}}),
    ],
)
def test_managed_secrets_are_rendered_without_data(name: str, off: dict[str, Any]) -> None:
    """The Secret is removed with the release, and a sync owns none of its data."""
    secret = render().one("Secret", name)
    assert {"data", "stringData"} & set(secret) == set()
    assert name not in [one["metadata"]["name"] for one in render(off).of("Secret")]


def test_snapshot_role_covers_only_snapshot_secret() -> None:
    """For managed and given certificates; without the snapshot there is neither right nor argument."""
    for mode in ("self", "certManager"):
        objects = render({"certificates": {"mode": mode}})
        (role,) = [one for one in objects.of("Role") if one["metadata"]["name"] == f"{NAME}-snapshot"]
        assert role["rules"] == [
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": [f"{NAME}-snapshot"],
                "verbs": ["get", "update"],
            }
        ]
        assert f"--snapshot-secret={NAMESPACE}/{NAME}-snapshot" in objects.container["args"]
        assert objects.pod["automountServiceAccountToken"] is True
    off = render({"snapshot": {"enabled": False}})
    assert "snapshot" not in str(off.container["args"]) + str(off.of("Role"))


def test_cert_manager_annotation_injects_ca_bundle() -> None:
    """By its annotation, with its own CA or a named issuer."""
    objects = render({"certificates": {"mode": "certManager"}})
    annotations = objects.one("ValidatingWebhookConfiguration")["metadata"]["annotations"]
    assert annotations["cert-manager.io/inject-ca-from"] == f"{NAMESPACE}/{NAME}-tls"
    assert len(objects.of("Certificate")) == len(objects.of("Issuer")) == 2
    issuer = {"name": "corporate", "kind": "ClusterIssuer"}
    named = render({"certificates": {"mode": "certManager", "certManager": {"issuerRef": issuer}}})
    assert named.of("Issuer") == []
    assert named.one("Certificate")["spec"]["issuerRef"] == issuer


def test_existing_certificate_is_rendered_with_ca_bundle() -> None:
    """In PEM as values, in base64 as the API requires it."""
    changes = {
        "certificates": {
            "mode": "existingSecret",
            "existingSecret": "tls",
            "caBundle": "-----BEGIN CERTIFICATE-----\nabc\n",
        }
    }
    objects = render(changes)
    for entry in objects.webhooks.values():
        assert entry["clientConfig"]["caBundle"] == "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmFiYwo="
    assert "--tls-cert=/etc/swr-trust/tls/tls.crt" in objects.container["args"]


def test_preset_covers_host_of_every_region() -> None:
    """The template and the program agree."""
    registries = [{"region": region} for region in REGIONS]
    addons, agents = render({"policy": {"registries": registries}}).policy["exemptions"]
    assert addons["images"] == [f"{region.host}/hwofficial/**" for region in REGIONS.values()]
    assert agents["images"] == [f"{region.host}/op_svc_apm/**" for region in REGIONS.values()]


def test_preset_covers_hosts_and_aliases_after_own_exemptions() -> None:
    """The operator's own exemptions are found first; an alias is covered as it is listed."""
    own = {"name": "own", "images": ["docker.io/library/busybox"], "reason": "trial", "expires": "2027-06-30"}
    changes = {
        "policy": {
            "registries": [{"region": "cn-north-1", "hosts": ["a.example"], "aliases": ["10.0.0.1:20202"]}],
            "exemptions": [own],
        }
    }
    exemptions = render(changes).policy["exemptions"]
    assert exemptions[0] == own
    assert exemptions[1]["images"] == ["a.example/hwofficial/**", "10.0.0.1:20202/hwofficial/**"]


RULES: list[dict[str, Any]] = [
    {"name": "shop", "namespaces": ["shop"], "images": ["**"], "mode": "enforce", "requireDigest": True},
    {"name": "rest", "images": ["**"]},
]


@pytest.mark.parametrize("mode", ["audit", "warn"])
def test_override_replaces_mode_of_all_rules(mode: str) -> None:
    """In an emergency one value must override stage, mode, rules and failurePolicy."""
    strict = {
        "presets": {"stage": "enforce", "override": mode},
        "policy": {"mode": "enforce", "rules": RULES},
        "webhook": {"failurePolicy": "Fail"},
    }
    objects = render(strict)
    assert objects.policy["mode"] == mode
    assert objects.policy["rules"] == [{**rule, "mode": mode} for rule in RULES]
    assert objects.webhooks["pods"]["failurePolicy"] == "Ignore"
    assert render(merged(strict, {"presets": {"override": ""}})).policy["rules"] == RULES


@pytest.mark.parametrize("options", OPTIONS)
def test_helm_versions_render_same_objects(options: str) -> None:
    """Helm 4 and the one in HELM3; the schemas and templates use only features of both."""
    helms = find_helms()
    if len(helms) == 1:
        pytest.skip("HELM3 names no further Helm")
    first, *others = (
        {
            (one["kind"], one["metadata"]["name"]): one
            for one in Objects(template(merged(VALUES, OPTIONS[options]), helm=helm))
        }
        for helm in helms
    )
    assert all(other == first for other in others)


def test_preset_can_be_disabled() -> None:
    """One value disables it, and nothing is exempt."""
    assert "exemptions" not in render({"presets": {"cceAddons": False}}).policy


def test_large_numbers_have_no_exponent() -> None:
    """Neither Helm writes a million as 1e+06, which the program does not accept."""
    changes = {"policy": {"cache": {"maxEntries": 1_000_000}, "lookup": {"callsPerSecond": 0.5}}}
    for helm in find_helms():
        text = template(merged(VALUES, changes), helm=helm)
        assert "maxEntries: 1000000\n" in text
        assert "callsPerSecond: 0.5\n" in text


def test_optional_objects_are_rendered_on_demand() -> None:
    """None of them is rendered by default."""
    kinds = {one["kind"] for one in render()}
    assert not kinds & {
        "NetworkPolicy",
        "HorizontalPodAutoscaler",
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
    }
    changes = {
        "autoscaling": {"enabled": True},
        "networkPolicy": {"enabled": True},
        "podMonitor": {"enabled": True},
        "scrapeAnnotations": {"prometheus": True, "aom": True},
    }
    objects = render(changes)
    assert "replicas" not in objects.one("Deployment")["spec"]
    assert objects.one("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 2
    assert objects.one("NetworkPolicy")["spec"]["ingress"] == [
        {"ports": [{"port": "https", "protocol": "TCP"}]}
    ]
    (endpoint,) = objects.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["tlsConfig"] == {
        "serverName": f"{NAME}.{NAMESPACE}.svc",
        "ca": {"secret": {"name": f"{NAME}-tls", "key": "ca.crt"}},
    }
    annotations = objects.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/scheme"] == "https"
    assert annotations["metrics.alpha.kubernetes.io/custom-endpoints"] == (
        '[{"api":"prometheus","names":"","path":"/metrics","port":"8443"}]'
    )


def test_namespace_condition_requires_rendered_binding() -> None:
    """Without the RoleBinding the condition would disable the webhook permanently."""
    for changes in ({"rbac": {"create": False}}, {"webhook": {"standDownWithNamespace": False}}):
        objects = render(changes)
        for entry in objects.webhooks.values():
            assert [one["name"] for one in entry["matchConditions"]] == ["brings-in-images"]
        assert f"{NAME}-gate" not in [one["metadata"]["name"] for one in objects.of("RoleBinding")]


def test_one_replica_has_no_disruption_budget() -> None:
    """It would block every drain."""
    assert render({"replicaCount": 1}).of("PodDisruptionBudget") == []


def test_right_to_list_pods_requires_warm_up() -> None:
    """It is off by default."""
    listing = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    off, on = render(), render({"warmUp": {"enabled": True}})
    assert listing in on.one("ClusterRole")["rules"]
    assert listing not in off.one("ClusterRole")["rules"]
    assert "--warm-up" in on.container["args"]
    assert "--warm-up" not in off.container["args"]
