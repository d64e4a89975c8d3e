"""Signatures as evidence, as the chart renders them: the policy, the keys and the login for the registry API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import NAME, VALUES, Objects, merged, render
from tests.chart.signing import (
    ENTERPRISE_HOST,
    LOGIN_FILE,
    LOGIN_SECRET,
    PUBLIC_KEYS,
    SIGNATURES,
    enterprise,
    signed,
    values_of,
)
from webhook.policy.loading import load_policy
from webhook.registries import Evidence

KEYS = f"{NAME}-keys"
AUDIT = f"{NAME}-audit"
TEMPORARY = {"credentials": {"keys": {"securityToken": "session"}}}
LOGIN = {"registryLogin": {"existingSecret": LOGIN_SECRET}}
TOKEN = {"kind": "token", "tokenFile": "/etc/swr-trust/secrets/a/token"}
OWN_KEY = {"kind": "aksk", "accessKeyFile": "/a/ak", "secretKeyFile": "/a/sk"}


def mounts(pod: dict[str, Any], container: int = 0) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return volume and mount of a container by their name."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    return {
        mount["name"]: (volumes[mount["name"]], mount)
        for mount in pod["containers"][container]["volumeMounts"]
    }


def pods(objects: Objects) -> list[dict[str, Any]]:
    """Return the Pod specs of the webhook and of the audit."""
    return [objects.one("Deployment", name)["spec"]["template"]["spec"] for name in (NAME, AUDIT)]


def without(objects: Objects, kind: str) -> list[dict[str, Any]]:
    """Return all objects but those of a kind."""
    return [one for one in objects if one["kind"] != kind]


def test_nothing_is_mounted_without_keys_and_login() -> None:
    """Upgrades of installations without signatures change no Pod."""
    objects = render()
    assert [one["metadata"]["name"] for one in objects.of("ConfigMap")] == [f"{NAME}-policy"]
    assert mounts(objects.pod).keys() == {"policy", "credentials"}
    assert objects.policy["registries"] == VALUES["policy"]["registries"]


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ({"name": "release"}, "/etc/swr-trust/keys/release.pub"),
        ({"name": "kms", "file": "/etc/swr-trust/keys/release.pub"}, "/etc/swr-trust/keys/release.pub"),
        ({"name": "kms", "file": "/etc/other/kms.pem"}, "/etc/other/kms.pem"),
    ],
    ids=["by name", "another name", "another volume"],
)
def test_key_without_file_gets_mounted_file(key: dict[str, str], file: str) -> None:
    """All other keys of the registry stay as they are."""
    rest = {"threshold": 1, "annotations": {"stage": "prod"}}
    given = signed("release")
    given["signatures"] = {"keys": [{"notAfter": "2199-12-31", **key}], **rest}
    values = merged(values_of(given), {"signatures": {"keys": {"release": PUBLIC_KEYS[0]}}})
    assert render(values).policy["registries"] == [
        {
            "region": "cn-north-4",
            "evidence": "signature",
            "signatures": {"keys": [{"file": file, "notAfter": "2199-12-31", **key}], **rest},
        }
    ]


@pytest.mark.parametrize(
    ("registry", "changes", "login"),
    [
        (signed("a"), LOGIN, None),
        (signed("a", credentials=OWN_KEY), merged(LOGIN, TEMPORARY), None),
        (signed("a", registryLogin={"dockerConfigFile": LOGIN_FILE}), LOGIN, LOGIN_FILE),
        (signed("a", registryLogin={"dockerConfigFile": "/etc/other"}), LOGIN, "/etc/other"),
        (signed("a"), merged(LOGIN, TEMPORARY), LOGIN_FILE),
        (signed("a"), merged(LOGIN, {"credentials": {"kind": "token"}}), LOGIN_FILE),
        (signed("a", credentials=TOKEN), LOGIN, LOGIN_FILE),
        (signed("a", credentials={**OWN_KEY, "securityTokenFile": "/a/token"}), LOGIN, LOGIN_FILE),
        (enterprise("a"), LOGIN, LOGIN_FILE),
        (enterprise("a"), {}, None),
        (enterprise("a", registryLogin={"dockerConfigFile": "/etc/other"}), LOGIN, "/etc/other"),
        ({"region": "cn-north-4"}, merged(LOGIN, TEMPORARY), None),
        (signed("a", evidence="tagDetail"), merged(LOGIN, TEMPORARY), LOGIN_FILE),
    ],
    ids=[
        "access key",
        "its own access key",
        "access key, named file",
        "its own file",
        "temporary access key",
        "token",
        "its own token",
        "its own temporary access key",
        "enterprise",
        "enterprise without Secret",
        "enterprise, its own file",
        "no signatures",
        "signatures for the survey",
    ],
)
def test_login_secret_is_used_where_no_access_key_can_log_in(
    registry: dict[str, Any], changes: dict[str, Any], login: str | None
) -> None:
    """A registry that can log in with its access key does not depend on the content of the Secret."""
    user = enterprise("z")  # because a Secret that no registry uses is rejected
    values = merged(
        values_of(registry, user), merged({"signatures": {"keys": {"a": PUBLIC_KEYS[2]}}}, changes)
    )
    rendered, _ = render(values).policy["registries"]
    assert rendered.get("registryLogin", {}).get("dockerConfigFile") == login


def test_public_keys_are_rendered_to_config_map() -> None:
    """As the files of their names; no other object contains them."""
    objects = render(values_of(signed("release-2025", "release-2026")))
    config_map = objects.one("ConfigMap", KEYS)
    assert config_map["data"] == {"release-2025.pub": PUBLIC_KEYS[0], "release-2026.pub": PUBLIC_KEYS[1]}
    assert "BEGIN PUBLIC KEY" not in str([one for one in objects if one is not config_map])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, KEYS),
        ({"signatures": {"keys": None, "existingConfigMap": "signing-keys"}}, "signing-keys"),
    ],
    ids=["values", "existing ConfigMap"],
)
def test_keys_and_login_are_mounted_read_only_for_webhook_and_audit(
    changes: dict[str, Any], name: str
) -> None:
    """Without ``subPath``, which is never updated. Only one key of the Secret, readable by the group alone."""
    objects = render(merged(SIGNATURES, {"audit": {"enabled": True}, **changes}))
    assert (KEYS in [one["metadata"]["name"] for one in objects.of("ConfigMap")]) is (name == KEYS)
    for pod in pods(objects):
        volume, mount = mounts(pod)["signing-keys"]
        assert volume == {"name": "signing-keys", "configMap": {"name": name}}
        assert mount == {"name": "signing-keys", "mountPath": "/etc/swr-trust/keys", "readOnly": True}
        volume, mount = mounts(pod)["registry-login"]
        assert volume["secret"] == {
            "secretName": LOGIN_SECRET,
            "defaultMode": 0o440,
            "items": [{"key": ".dockerconfigjson", "path": ".dockerconfigjson"}],
        }
        assert mount == {"name": "registry-login", "mountPath": "/etc/swr-trust/login", "readOnly": True}


def test_test_pod_reads_keys_and_no_secret() -> None:
    """``config check`` reads the keys that the policy names, also those of further volumes."""
    volume = {"name": "other", "configMap": {"name": "other"}}
    mount = {"name": "other", "mountPath": "/etc/other"}
    extra = {"extraVolumes": [volume], "extraVolumeMounts": [mount]}
    other = {"name": "other", "file": "/etc/other/key.pub"}

    def tested(*keys: dict[str, str]) -> set[str]:
        registry = signed("release", signatures={"keys": [{"name": "release"}, *keys]})
        values = merged(SIGNATURES, {"policy": {"registries": [registry, enterprise("release")]}, **extra})
        return set(mounts(render(values).one("Pod")["spec"]))

    assert tested() == {"policy", "signing-keys"}
    assert tested(other) == {"policy", "signing-keys", "other"}


def test_change_of_keys_changes_only_their_config_map() -> None:
    """No Pod restarts: the files are read again."""
    values = merged(SIGNATURES, {"audit": {"enabled": True}})
    before = render(values)
    after = render(merged(values, {"signatures": {"keys": {"release": PUBLIC_KEYS[1]}}}))
    assert after.one("ConfigMap", KEYS)["data"] != before.one("ConfigMap", KEYS)["data"]
    assert without(after, "ConfigMap") == without(before, "ConfigMap")
    assert after.policy_text == before.policy_text


def test_enterprise_registry_needs_no_credentials() -> None:
    """It has no API that takes them."""
    values = merged(values_of(enterprise("a")), {"credentials": {"existingSecret": ""}})
    policy = render(values).policy
    assert policy.keys() == {"apiVersion", "kind", "mode", "registries"}


def test_preset_does_not_exempt_organizations_of_enterprise_registry() -> None:
    """There, users of this account can create the organizations of CCE's add-ons, and push to them."""
    mixed = render(values_of(signed("a"), enterprise("a"))).policy
    assert [exemption["images"] for exemption in mixed["exemptions"]] == [
        ["swr.cn-north-4.myhuaweicloud.com/hwofficial/**"],
        ["swr.cn-north-4.myhuaweicloud.com/op_svc_apm/**"],
    ]


@pytest.mark.parametrize(
    ("registry", "added"),
    [
        (signed("a"), []),
        (signed("a", registryEndpoint="https://registry.example.com:5000"), [5000]),
        (signed("a", hosts=["10.0.0.1:20202"]), [20202]),
        (signed("a", hosts=["10.0.0.1:20202"], registryEndpoint="https://registry.example.com"), []),
        (signed("a", hosts=["10.0.0.1:5443"]), []),
        (enterprise("a", hosts=[f"{ENTERPRISE_HOST}:8443"]), [8443]),
        ({"region": "cn-north-4", "hosts": ["10.0.0.1:20202"]}, []),
    ],
    ids=["443", "endpoint", "host", "endpoint before host", "already open", "enterprise", "no signatures"],
)
def test_network_policy_opens_port_of_registry_api(registry: dict[str, Any], added: list[int]) -> None:
    """For webhook and audit. A registry without signatures is not read through this API."""
    enabled = {"networkPolicy": {"enabled": True}, "audit": {"enabled": True}}
    objects = render(merged(values_of(registry), enabled))
    for name in (NAME, AUDIT):
        (rule,) = objects.one("NetworkPolicy", name)["spec"]["egress"]
        ports = [port["port"] for port in rule["ports"]]
        assert ports == [53, 53, 5353, 443, 5443, 5444, 6443, *added]


def test_program_accepts_rendered_registries(tmp_path: Path) -> None:
    """Evidence, keys, times and logins arrive as they are written."""
    basic = signed("release", "old", evidence="both", organizations=["shop"])
    basic["signatures"] |= {"threshold": 2, "annotations": {"stage": "prod"}}
    values = merged(values_of(basic, enterprise("release"), {"region": "cn-north-1"}), LOGIN)
    objects = render(values)
    folder = tmp_path / "keys"
    folder.mkdir()
    for file, text in objects.one("ConfigMap", KEYS)["data"].items():
        (folder / file).write_text(text, encoding="utf-8")
    path = tmp_path / "policy.yaml"
    path.write_text(objects.policy_text.replace("/etc/swr-trust/keys", str(folder)), encoding="utf-8")
    first, second, third = load_policy(str(path)).registries.registries
    assert [one.evidence for one in (first, second, third)] == [
        Evidence.BOTH,
        Evidence.SIGNATURE,
        Evidence.TAG_DETAIL,
    ]
    assert first.signatures is not None
    assert (first.signatures.threshold, first.signatures.annotations) == (2, (("stage", "prod"),))
    assert [(key.name, key.file) for key in first.signatures.keys] == [
        ("release", f"{folder}/release.pub"),
        ("old", f"{folder}/old.pub"),
    ]
    assert [one.docker_config_file for one in (first, second, third)] == [None, LOGIN_FILE, None]
    assert second.is_enterprise
