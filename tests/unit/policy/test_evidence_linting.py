"""Warnings about signatures and editions that are valid, but lapse or have no effect."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.support.builders import HOST, policy, registry
from webhook.policy.evidence_linting import find_lapsed
from webhook.policy.linting import lint
from webhook.policy.model import Policy
from webhook.registries import (
    NO_CREDENTIALS,
    CredentialSettings,
    Evidence,
    RegistryTable,
    SignatureSettings,
    SigningKey,
)
from webhook.trust.settings import CacheSettings

NOW = dt.datetime(2027, 6, 20, tzinfo=dt.UTC).timestamp()
AKSK = CredentialSettings("aksk", access_key_file="/ak", secret_key_file="/sk")
KEYS = SignatureSettings((SigningKey("a", "/a", content=b"a"),))
LOGIN = "/etc/swr-trust/login/.dockerconfigjson"
OWN = f"https://{HOST}"


def end_of(day: str) -> float:
    """Return the end of a day in UTC."""
    return (dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC) + dt.timedelta(days=1)).timestamp()


def one(cache: CacheSettings | None = None, **changes: Any) -> Policy:
    """Return a policy with one registry whose images must be signed."""
    values = {
        "evidence": Evidence.SIGNATURE,
        "signatures": KEYS,
        "credentials": AKSK,
        "registry_endpoint": OWN,
    }
    return policy(
        registries=RegistryTable.of([registry(**{**values, **changes})]), cache=cache or CacheSettings()
    )


def ending(*days: str | None) -> Policy:
    """Return a policy with a key for each last day."""
    keys = (SigningKey(f"k{n}", "/k", end_of(day) if day else None, b"k") for n, day in enumerate(days))
    return one(signatures=SignatureSettings(tuple(keys)))


NO_LOGIN = [
    "registries[0].registryLogin: is missing: the signatures are read without a login, "
    "which works for public images only"
]
UNUSED = "is not used: with evidence tagDetail, no signature is read"
ENTERPRISE: dict[str, Any] = {"edition": "enterprise", "credentials": NO_CREDENTIALS, "region": ""}

CASES: list[tuple[str, Policy, list[str]]] = [
    ("an access key", one(), []),
    ("an access key of the environment", one(credentials=CredentialSettings("aksk")), []),
    ("a temporary access key", one(credentials=CredentialSettings("aksk", "/t", "/a", "/s", "/x")), NO_LOGIN),
    ("another kind of identity", one(credentials=CredentialSettings("podIdentity")), NO_LOGIN),
    ("both, and another kind of identity", one(credentials=CredentialSettings("token", "/t"), evidence=Evidence.BOTH), NO_LOGIN),
    ("a login", one(credentials=CredentialSettings("podIdentity"), docker_config_file=LOGIN), []),
    ("an instance without a login", one(**ENTERPRISE, hosts=("images.example.com",)), []),
    (
        "the shared SWR as an instance",
        one(**ENTERPRISE, hosts=("images.example.com", HOST)),
        [f"registries[0].edition: {HOST} is the shared SWR of a region, not SWR Enterprise: write basic"],
    ),
    (
        "keys that do not decide",
        one(evidence=Evidence.TAG_DETAIL, docker_config_file=LOGIN),
        ["registries[0].signatures: only the survey and the audit use them: with evidence tagDetail, no image has to be signed"],
    ),
    (
        "a registry API that is not read",
        one(
            evidence=Evidence.TAG_DETAIL,
            signatures=None,
            docker_config_file=LOGIN,
            registry_endpoint="https://other.example.com",
        ),
        [f"registries[0].registryEndpoint: {UNUSED}", f"registries[0].registryLogin: {UNUSED}"],
    ),
    ("the default registry API", one(evidence=Evidence.TAG_DETAIL, signatures=None), []),
    ("keys that do not lapse soon", ending(None, "2027-07-04"), []),
    (
        "a key in its last days",
        ending(None, "2027-07-03", "2027-06-20"),
        [
            "registries[0].signatures.keys[1].notAfter: key 'k1' lapses on 2027-07-03, within 14 days: "
            "sign its images with another key, or set a later notAfter",
            "registries[0].signatures.keys[2].notAfter: key 'k2' lapses on 2027-06-20, within 14 days: "
            "sign its images with another key, or set a later notAfter",
        ],
    ),
    ("a key that has lapsed, which is a problem", ending("2027-06-19"), []),
    (
        "signatures that count for long",
        one(CacheSettings(signed=86400)),
        ["cache.signed: an image whose signature is deleted is admitted for up to 1d more"],
    ),
    (
        "signatures that count for less long than the tag",
        one(CacheSettings(trusted=600, signed=60)),
        ["cache.signed: is shorter than cache.trusted, for which a signed image is trusted anyway"],
    ),
    (
        "the same without signatures",
        one(CacheSettings(trusted=600, signed=60), evidence=Evidence.TAG_DETAIL, signatures=None),
        [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("checked", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_lint_warns_of_evidence(checked: Policy, expected: list[str]) -> None:
    """The warning states the consequence, not only the setting."""
    assert [str(problem) for problem in lint(checked, NOW)] == expected


def test_lapsed_keys_are_problems_apart_from_warnings() -> None:
    """The start does not stop because of them, but the check of a file does."""
    assert [str(problem) for problem in find_lapsed(ending("2027-06-19", "2027-06-20", None), NOW)] == [
        "registries[0].signatures.keys[0].notAfter: key 'k0' lapsed on 2027-06-19: remove it, or set a later notAfter"
    ]
