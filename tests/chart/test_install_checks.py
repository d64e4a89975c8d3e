"""Helm rejects configurations with which no replica could start, before every Pod would be denied."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from tests.chart.conftest import Prepare
from tests.chart.installation import Installation
from tests.chart.rendering import NAME, VALUES, HelmError, find_helms, merged, template
from webhook.errors import ConfigError
from webhook.policy.loading import parse_policy
from webhook.regions import REGIONS

OWN = {
    "hosts": ["swr.example.com"],
    "endpoint": "https://api.example.com",
    "iamEndpoint": "https://iam.example.com",
}
REGISTRIES = [
    *({"region": region} for region in ("cn-north-4", "eu-west-101")),
    *({"region": region} for region in ("cn-nort-4", "cn-north", "example-1")),
    {"region": "example-1", **OWN},
    *({"region": "example-1", **{k: v for k, v in OWN.items() if k != absent}} for absent in OWN),
]


@pytest.mark.parametrize("registry", REGISTRIES, ids=str)
def test_helm_rejects_same_regions_as_serve(registry: dict[str, Any]) -> None:
    """Fault E8: both accept the same registries, and the message lists the known regions."""
    try:
        parse_policy(_document(registry))
    except ConfigError:
        expected = (
            f"policy.registries[0].region: {registry['region']} is not a region that this version knows. "
            "Correct the region, or set hosts, endpoint and iamEndpoint of this registry. "
            f"Known regions: {', '.join(sorted(REGIONS))}"
        )
        for helm in find_helms():
            with pytest.raises(HelmError) as refused:
                template(merged(VALUES, {"policy": {"registries": [registry]}}), helm=helm)
            assert f"\n\n{expected}\n" in str(refused.value)
    else:
        assert template(merged(VALUES, {"policy": {"registries": [registry]}}))


NAMESPACES = (f"early-{number}" for number in itertools.count())
"""One for each test: an API server without controllers never removes a namespace."""


@pytest.fixture
def installation(prepare: Prepare) -> Installation:
    """Return a release that is not yet installed; its Secret has the key ``token``."""
    return prepare(next(NAMESPACES))


SECRETS: list[tuple[str, dict[str, Any], str]] = [
    (
        "no Secret",
        {"credentials": {"existingSecret": "absent"}},
        "Secret absent does not exist in namespace {}: create it first, or set checkSecrets=false if "
        "another component creates it later. Without it, no replica can start",
    ),
    (
        "no key",
        {"credentials": {"kind": "aksk"}},
        "Secret swr-credentials in namespace {0} has no key ak: add it, or configure the correct key. "
        "Without it, no replica can start\n"
        "Secret swr-credentials in namespace {0} has no key sk: add it, or configure the correct key. "
        "Without it, no replica can start",
    ),
    (
        "no further Secret",
        {"credentials": {"extraSecrets": ["other"]}},
        "Secret other does not exist in namespace {}: create it first, or set checkSecrets=false if "
        "another component creates it later. Without it, no replica can start",
    ),
    (
        "no certificate",
        {"certificates": {"mode": "existingSecret", "existingSecret": "swr-credentials"}},
        "Secret swr-credentials in namespace {0} has no key tls.crt: add it, or configure the correct key. "
        "Without it, no replica can start\n"
        "Secret swr-credentials in namespace {0} has no key tls.key: add it, or configure the correct key. "
        "Without it, no replica can start",
    ),
]


@pytest.mark.parametrize(("changes", "words"), [row[1:] for row in SECRETS], ids=[row[0] for row in SECRETS])
def test_missing_secret_is_rejected_by_helm(
    installation: Installation, changes: dict[str, Any], words: str
) -> None:
    """Fault E8: the message has the name and the key, before the webhook denies every Pod."""
    assert f"\n\n{words.format(installation.namespace)}\n" in installation.dry_run(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"credentials": {"existingSecret": "absent"}, "checkSecrets": False},
        {"credentials": {"existingSecret": "absent"}, "presets": {"override": "audit"}},
    ],
    ids=["all is there", "the check is off", "an emergency"],
)
def test_secret_check_does_not_block_valid_installation(
    installation: Installation, changes: dict[str, Any]
) -> None:
    """Fault E8: an emergency must not wait for a Secret."""
    assert "STATUS: pending-install" in installation.dry_run(changes)


def test_secret_is_not_checked_without_cluster() -> None:
    """Fault E8: `helm template`, and so Argo CD, has no access to it."""
    assert template(VALUES)


NOTICE = """
Until a replica is ready, every Pod in an evaluated namespace is denied ("failed calling webhook").
If no replica becomes ready, find the cause:
  kubectl -n {1} get pods -l app.kubernetes.io/instance={0},app.kubernetes.io/component=webhook
  kubectl -n {1} describe pods -l app.kubernetes.io/instance={0},app.kubernetes.io/component=webhook
  kubectl -n {1} logs deployment/{0}
"""


@pytest.mark.parametrize(("stage", "told"), [("enforce", True), ("audit", False)])
def test_notes_warn_of_denials_until_replica_is_ready(
    installation: Installation, stage: str, told: bool
) -> None:
    """Fault E8: they name the failurePolicy Fail, and how to find the cause of a replica that is not
    ready.
    """
    said = installation.dry_run({"presets": {"stage": stage}})
    assert (NOTICE.format(NAME, installation.namespace) in said) is told


@pytest.mark.parametrize(
    ("stage", "registries"),
    [("audit", "deny (once enforced)"), ("warn", "deny (once enforced)"), ("enforce", "deny")],
)
def test_notes_show_whether_other_registries_are_denied_now(
    installation: Installation, stage: str, registries: str
) -> None:
    """In the stages that deny no Pod, ``deny`` alone contradicts the warnings below it."""
    said = installation.dry_run({"presets": {"stage": stage}})
    assert f"\n  other registries {registries}\n" in said


@pytest.mark.parametrize(
    ("changes", "line", "kinds"),
    [
        ({}, "", "validatingwebhookconfiguration"),
        (
            {"pinning": {"enabled": True}},
            "  pinning          trusted tags get their digest in new Pods\n",
            "validatingwebhookconfiguration,mutatingwebhookconfiguration",
        ),
        (
            {
                "pinning": {"enabled": True},
                "policy": {
                    "pinDigests": False,
                    "rules": [{"name": "a", "images": ["**"], "pinDigests": True}],
                },
            },
            "  pinning          trusted tags get their digest in new Pods, where a rule of the policy says so\n",
            "validatingwebhookconfiguration,mutatingwebhookconfiguration",
        ),
    ],
    ids=["off", "on", "by a rule"],
)
def test_notes_show_pinning_and_disable_both_webhooks(
    installation: Installation, changes: dict[str, Any], line: str, kinds: str
) -> None:
    """In an emergency, one command deletes both configurations."""
    said = installation.dry_run(changes)
    assert f"\n  other registries deny\n{line}  certificates     self\n" in said
    assert f"\n  disable          kubectl delete {kinds} {NAME}\n" in said


def _json(value: Any) -> str:
    return json.dumps(value)


def _document(registry: dict[str, Any]) -> str:
    return _json(
        {
            "apiVersion": "swr-trust/v1",
            "kind": "TrustPolicy",
            "registries": [registry],
            "credentials": {"kind": "token", "tokenFile": "/etc/token"},
        }
    )
