"""Helm rejects keys, registries and logins with which no image would be trusted, or no replica could start."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest

from tests.chart.conftest import Prepare
from tests.chart.installation import Installation
from tests.chart.rendering import NAME, VALUES, HelmError, find_helms, merged, template
from tests.chart.signing import (
    ENTERPRISE_HOST,
    LOGIN_FILE,
    LOGIN_SECRET,
    PUBLIC_KEYS,
    enterprise,
    signed,
    values_of,
    with_keys,
)

SECRET_PART = "S0VFUFRISVNTRUNSRVQ"
PRIVATE_KEY = f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{SECRET_PART}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
ED25519 = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    "-----END PUBLIC KEY-----\n"
)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"
NOT_PUBLIC = (
    "is not a public key: set one block in PEM format, from -----BEGIN PUBLIC KEY----- to "
    "-----END PUBLIC KEY-----"
)
PRIVATE = (
    "contains a private key: set the public key. If these values were stored, or shown to others, create a new "
    "pair of keys"
)


def key(text: str) -> dict[str, Any]:
    """Return values with one key."""
    return merged(values_of(signed("release")), {"signatures": {"keys": {"release": text}}})


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("a private key", key(PRIVATE_KEY), f"signatures.keys.release {PRIVATE}"),
    ("both keys of a pair", key(PUBLIC_KEYS[0] + PRIVATE_KEY), f"signatures.keys.release {PRIVATE}"),
    ("a certificate", key(CERTIFICATE), f"signatures.keys.release {NOT_PUBLIC}"),
    ("two keys in one", key(PUBLIC_KEYS[0] + PUBLIC_KEYS[1]), f"signatures.keys.release {NOT_PUBLIC}"),
    ("a key that is cut", key(PUBLIC_KEYS[0][:100]), f"signatures.keys.release {NOT_PUBLIC}"),
    ("no PEM", key("release-2026.pub"), f"signatures.keys.release {NOT_PUBLIC}"),
    (
        "Ed25519",
        key(ED25519),
        "signatures.keys.release is an Ed25519 key: cosign signs with such a key in a form that cannot be "
        "verified with the key alone. Use a key of ECDSA P-256",
    ),
    (
        "a key instead of its file",
        values_of(with_keys({"name": "a", "file": PRIVATE_KEY})),
        "policy.registries[0].signatures.keys[0].file is not an absolute path: set the path of a file, and the key "
        "itself in signatures.keys.a",
    ),
    (
        "keys from two places",
        merged(values_of(signed("release")), {"signatures": {"existingConfigMap": "signing-keys"}}),
        "set signatures.keys or signatures.existingConfigMap, not both",
    ),
    (
        "evidence without keys",
        {"policy": {"registries": [{"region": "cn-north-4", "evidence": "signature"}]}},
        "policy.registries[0].evidence is signature, and no key is set, so that every image would be denied: "
        "set policy.registries[0].signatures.keys, for example to [{name: release}], and "
        "signatures.keys.release to the public key",
    ),
    (
        "keys that are not given",
        {"policy": {"registries": [signed("release")]}},
        "policy.registries[0].signatures.keys[0]: the file /etc/swr-trust/keys/release.pub would not exist. Set "
        "signatures.keys.release to the public key, or signatures.existingConfigMap to a ConfigMap with the "
        "file release.pub",
    ),
    (
        "a key that is not among the given ones",
        merged(
            values_of(signed("old", "release")),
            {
                "policy": {
                    "registries": [
                        with_keys({"name": "new"}, {"name": "a", "file": "/etc/swr-trust/keys/old"})
                    ]
                }
            },
        ),
        "policy.registries[0].signatures.keys[0]: the file /etc/swr-trust/keys/new.pub would not exist. "
        "signatures.keys has only: old, release\n"
        "policy.registries[0].signatures.keys[1]: the file /etc/swr-trust/keys/old would not exist. "
        "signatures.keys has only: old, release",
    ),
    (
        "a threshold that cannot be reached",
        values_of(with_keys({"name": "a"}, {"name": "b"}, threshold=3)),
        "policy.registries[0].signatures.threshold is 3, and only 2 keys can sign: lower it, or add keys",
    ),
    (
        "two keys of one name",
        values_of(with_keys({"name": "a"}, {"name": "a"})),
        "policy.registries[0].signatures.keys[1].name: another key of this registry has the name a. Names must "
        "be unique",
    ),
    (
        "two keys of one content",
        merged(
            values_of(signed("a", "b")),
            {"signatures": {"keys": {"b": PUBLIC_KEYS[0].replace("\n", "\r\n")}}},
        ),
        "policy.registries[0].signatures.keys[1]: b has the same public key as a, and would count as a second "
        "signer. Remove one of them",
    ),
    (
        "enterprise without anything",
        {"policy": {"registries": [{"edition": "enterprise"}]}},
        "policy.registries[0].hosts is missing: SWR Enterprise has no default. Set the hosts of your instance, "
        "as in image references\n"
        "policy.registries[0].evidence is tagDetail: SWR Enterprise has no is_trusted. Set evidence: signature, "
        "and the keys in signatures",
    ),
    (
        "enterprise with the API of basic",
        values_of(enterprise("a", region="cn-north-4", endpoint="https://api.example.com", evidence="both")),
        "policy.registries[0].region does not go with edition enterprise: remove it. SWR Enterprise is queried "
        "through its registry API only\n"
        "policy.registries[0].endpoint does not go with edition enterprise: remove it. SWR Enterprise is queried "
        "through its registry API only\n"
        "policy.registries[0].evidence is both: SWR Enterprise has no is_trusted. Set evidence: signature, and "
        "the keys in signatures",
    ),
    (
        "a host of enterprise in a basic registry",
        {"policy": {"registries": [{"region": "cn-north-4", "aliases": [ENTERPRISE_HOST]}]}},
        f"policy.registries[0]: {ENTERPRISE_HOST} is a host of SWR Enterprise, which has no is_trusted. Move it to "
        "an entry of its own with edition: enterprise, evidence: signature and the keys in signatures",
    ),
    (
        "neither region nor edition",
        {"policy": {"registries": [{"hosts": ["swr.example.com"]}]}},
        "policy.registries[0].region is missing: set the region, or edition: enterprise for SWR Enterprise",
    ),
    (
        "a login without its Secret",
        values_of(signed("a", registryLogin={"dockerConfigFile": LOGIN_FILE})),
        "set registryLogin.existingSecret to the name of a Secret of type kubernetes.io/dockerconfigjson: a "
        f"registry logs in with {LOGIN_FILE}",
    ),
    (
        "a Secret that no registry uses",
        values_of(signed("a"), registryLogin={"existingSecret": LOGIN_SECRET}),
        "no registry would use registryLogin.existingSecret: only registries with signatures log in to the "
        "registry API, and by default with an access key if they have one. Set "
        f"policy.registries[].registryLogin.dockerConfigFile={LOGIN_FILE}, or remove "
        "registryLogin.existingSecret",
    ),
]


@pytest.mark.parametrize(
    ("changes", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_unverifiable_signatures_are_rejected_with_message(changes: dict[str, Any], words: str) -> None:
    """Each Helm says what to set. No message repeats the text of a key, which may be a private one."""
    for helm in find_helms():
        with pytest.raises(HelmError) as refused:
            template(merged(VALUES, changes), helm=helm)
        assert f"\n\n{words}\n\n" in str(refused.value)
        assert SECRET_PART not in str(refused.value)


INVALID: list[tuple[dict[str, Any], str]] = [
    (
        {"policy": {"registries": [{"region": "cn-north-4", "evidence": "cosign"}]}},
        "- at '/policy/registries/0/evidence': value must be one of 'tagDetail', 'signature', 'both'",
    ),
    (
        {"policy": {"registries": [{"region": "cn-north-4", "edition": "pro"}]}},
        "- at '/policy/registries/0/edition': value must be one of 'basic', 'enterprise'",
    ),
    (
        {"policy": {"registries": [with_keys()]}},
        "- at '/policy/registries/0/signatures/keys': minItems: got 0, want 1",
    ),
    (
        {"policy": {"registries": [with_keys({"file": "/etc/swr-trust/keys/a.pub"})]}},
        "- at '/policy/registries/0/signatures/keys/0': missing property 'name'",
    ),
    (
        {"policy": {"registries": [signed("a", registryLogin={"secret": "a"})]}},
        "- at '/policy/registries/0/registryLogin': validation failed\n"
        "  - at '/policy/registries/0/registryLogin': missing property 'dockerConfigFile'\n"
        "  - at '/policy/registries/0/registryLogin': additional properties 'secret' not allowed",
    ),
    (
        {"signatures": {"keys": {"release 2026": PUBLIC_KEYS[0]}}},
        "- at '/signatures/keys': additional properties 'release 2026' not allowed",
    ),
    ({"signatures": {"keys": {"a": {"b": "c"}}}}, "- at '/signatures/keys/a': got object, want string"),
    (
        {"signatures": {"existingSecret": "a"}},
        "- at '/signatures': additional properties 'existingSecret' not allowed",
    ),
    (
        {"registryLogin": {"existingSecret": "A_B"}},
        "- at '/registryLogin/existingSecret': 'A_B' does not match pattern '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$'",
    ),
]


@pytest.mark.parametrize(("changes", "words"), INVALID)
def test_invalid_values_of_signatures_are_rejected_with_path(changes: dict[str, Any], words: str) -> None:
    """The schema rejects them before anything is rendered. Helm 3 words the same problems differently."""
    header = "Error: values don't meet the specifications of the schema(s) in the following chart(s):\n"
    for helm in find_helms():
        with pytest.raises(HelmError) as refused:
            template(merged(VALUES, changes), helm=helm)
        message = str(refused.value)
        if "\n- at '" in message:
            assert message == f"{header}{NAME}:\n{words}\n\n"
        else:
            assert message.startswith(f"{header}{NAME}:\n- ")


NAMESPACES = (f"signed-{number}" for number in itertools.count())
"""One for each test: an API server without controllers never removes a namespace."""

HOST = "swr.cn-north-4.myhuaweicloud.com"
EXISTING = {
    **values_of(signed("release", "old"), enterprise("release")),
    "signatures": {"existingConfigMap": "signing-keys"},
    "registryLogin": {"existingSecret": LOGIN_SECRET},
}
FILES = {"release.pub": PUBLIC_KEYS[0], "old.pub": PUBLIC_KEYS[1]}


@pytest.fixture
def installation(prepare: Prepare) -> Installation:
    """Return a release that is not yet installed, whose registries are configured with existing objects."""
    return prepare(next(NAMESPACES), EXISTING)


def make_keys(installation: Installation, files: dict[str, str]) -> None:
    """Create the ConfigMap with the keys."""
    meta = {"name": "signing-keys", "namespace": installation.namespace}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": files}
    installation.cluster.kubectl("apply", "-f", "-", stdin=config_map)


def make_login(installation: Installation, *hosts: str) -> None:
    """Create the Secret with the login, with one entry for each host."""
    config = {"auths": {host: {"auth": base64.b64encode(b"user:word").decode()} for host in hosts}}
    data = {".dockerconfigjson": json.dumps(config)}
    installation.make_secret(LOGIN_SECRET, data, "kubernetes.io/dockerconfigjson")


INCOMPLETE: list[tuple[str, dict[str, str] | None, list[str], str]] = [
    (
        "no ConfigMap",
        None,
        [HOST, ENTERPRISE_HOST],
        "ConfigMap signing-keys does not exist in namespace {0}: create it first, or set checkSecrets=false if "
        "another component creates it later. Without it, no replica can start",
    ),
    (
        "no file",
        {"release": PUBLIC_KEYS[0], "old.pub": PUBLIC_KEYS[1]},
        [HOST, ENTERPRISE_HOST],
        "ConfigMap signing-keys in namespace {0} has no key release.pub: add it, or correct "
        "policy.registries[].signatures.keys. Without it, no replica can start",
    ),
    (
        "private key",
        {**FILES, "release.key": PRIVATE_KEY},
        [HOST, ENTERPRISE_HOST],
        "ConfigMap signing-keys in namespace {0}: release.key " + PRIVATE,
    ),
    (
        "no Secret",
        FILES,
        [],
        f"Secret {LOGIN_SECRET} does not exist in namespace {{0}}: create it first, or set checkSecrets=false if "
        "another component creates it later. Without it, no replica can start",
    ),
    (
        "no login",
        FILES,
        [f"https://{HOST}/v2/", "swr.cn-north-1.myhuaweicloud.com"],
        f"Secret {LOGIN_SECRET} in namespace {{0}} has no login for {ENTERPRISE_HOST}: add it. Without it, no "
        "signature of this registry can be read",
    ),
]


@pytest.mark.parametrize(
    ("files", "hosts", "words"), [row[1:] for row in INCOMPLETE], ids=[row[0] for row in INCOMPLETE]
)
def test_incomplete_keys_and_logins_are_rejected_by_helm(
    installation: Installation, files: dict[str, str] | None, hosts: list[str], words: str
) -> None:
    """Before a replica cannot start, or reads no signature."""
    if files is not None:
        make_keys(installation, files)
    if hosts:
        make_login(installation, *hosts)
    said = installation.dry_run({})
    assert f"\n\n{words.format(installation.namespace)}\n\n" in said
    assert SECRET_PART not in said


def test_secret_of_other_type_is_rejected_by_helm(installation: Installation) -> None:
    """The file in it has another name."""
    make_keys(installation, FILES)
    installation.make_secret(LOGIN_SECRET, {"config.json": "{}"})
    assert (
        f"\n\nSecret {LOGIN_SECRET} in namespace {installation.namespace} has no key .dockerconfigjson: add it, or "
        "configure the correct key. Without it, no replica can start\n\n"
    ) in installation.dry_run({})


@pytest.mark.parametrize(
    ("is_complete", "changes"),
    [(True, {}), (False, {"checkSecrets": False}), (False, {"presets": {"override": "audit"}})],
    ids=["all is there", "the check is off", "an emergency"],
)
def test_check_of_keys_does_not_block_valid_installation(
    installation: Installation, is_complete: bool, changes: dict[str, Any]
) -> None:
    """An entry of the login may be written with a scheme and a path, as Docker does."""
    if is_complete:
        make_keys(installation, FILES)
        make_login(installation, f"https://{HOST}/v1/", ENTERPRISE_HOST.upper())
    assert "STATUS: pending-install" in installation.dry_run(changes)
