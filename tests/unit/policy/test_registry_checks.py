"""Editions, evidence and signing keys of a configuration: every mistake with its place and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.signing_keys import (
    ANOTHER_KIND,
    ed25519_pem,
    private_pem,
    public_pem,
    rsa_pem,
    to_der,
    write_keys,
)
from webhook.errors import ConfigError
from webhook.policy.loading import parse_policy
from webhook.policy.model import Policy
from webhook.registries import Registry

NOW = 1_800_000_000.0
"""2027-01-15."""

HEAD = {"apiVersion": "swr-trust/v1", "kind": "TrustPolicy"}
CREDENTIALS = {"kind": "token", "tokenFile": "/etc/swr/token"}
ENTERPRISE_HOST = "team-1a2b3c.swr-pro.cn-north-4.myhuaweicloud.com"
BELOW = "registries[0].signatures"


def read(*registries: dict[str, Any], **rest: Any) -> Policy:
    """Parse a policy with these registries."""
    return parse_policy(yaml.safe_dump({**HEAD, "registries": list(registries), **rest}), now=NOW)


def problems(*registries: dict[str, Any], **rest: Any) -> list[str]:
    """Return every problem of a policy with these registries."""
    with pytest.raises(ConfigError) as caught:
        read(*registries, **rest)
    return [str(problem) for problem in caught.value.problems]


def signatures(folder: Path, *names: str, **rest: Any) -> dict[str, Any]:
    """Return signature settings with a key file for each name."""
    write_keys(folder, *names)
    return {"keys": [{"name": name, "file": f"{folder}/{name}.pub"} for name in names], **rest}


def basic(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return a registry whose images must be signed; a change of ``None`` removes the key."""
    entry = {"region": "cn-north-4", "evidence": "signature", "signatures": signatures(folder, "kms")}
    return {key: value for key, value in {**entry, **changes}.items() if value is not None}


def enterprise(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return a registry of SWR Enterprise; a change of ``None`` removes the key."""
    entry = {
        "edition": "enterprise",
        "hosts": [ENTERPRISE_HOST],
        "evidence": "signature",
        "signatures": signatures(folder, "kms"),
    }
    return {key: value for key, value in {**entry, **changes}.items() if value is not None}


REMOVE = "does not go with edition enterprise: remove it"
EDITIONS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("no hosts", {"hosts": None}, [
        "registries[0].hosts: is missing: write the hosts of the instance as in image references, "
        f"such as {ENTERPRISE_HOST}",
    ]),
    ("no evidence", {"evidence": None}, [
        "registries[0].evidence: is missing: write evidence: signature, the only evidence in edition enterprise",
    ]),
    *((evidence, {"evidence": evidence}, [
        "registries[0].evidence: does not go with edition enterprise, whose API has no is_trusted: write signature",
    ]) for evidence in ("tagDetail", "both")),
    ("no signatures", {"signatures": None}, [
        "registries[0].signatures: is missing: edition enterprise needs the public keys that sign its images",
    ]),
    ("a region", {"region": "cn-north-4"}, [f"registries[0].region: {REMOVE}"]),
    ("an unknown region", {"region": "mars-1"}, [f"registries[0].region: {REMOVE}"]),
    ("a project", {"projectId": "a1"}, [f"registries[0].projectId: {REMOVE}"]),
    ("an endpoint", {"endpoint": "https://a.example.com"}, [f"registries[0].endpoint: {REMOVE}"]),
    ("an IAM endpoint", {"iamEndpoint": "https://a.example.com"}, [f"registries[0].iamEndpoint: {REMOVE}"]),
    ("credentials", {"credentials": CREDENTIALS}, [f"registries[0].credentials: {REMOVE}"]),
    ("another edition", {"edition": "pro"}, [
        "registries[0].edition: write basic or enterprise",
    ]),
    ("a host twice", {"aliases": [ENTERPRISE_HOST]}, [
        f"registries[0].aliases[0]: {ENTERPRISE_HOST} is a host of this registry already: remove one",
    ]),
    ("nothing else", {"hosts": None, "evidence": None, "signatures": None}, [
        "registries[0].hosts: is missing: write the hosts of the instance as in image references, "
        f"such as {ENTERPRISE_HOST}",
        "registries[0].evidence: is missing: write evidence: signature, the only evidence in edition enterprise",
        "registries[0].signatures: is missing: edition enterprise needs the public keys that sign its images",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"), [case[1:] for case in EDITIONS], ids=[c[0] for c in EDITIONS]
)
def test_mistake_in_enterprise_registry_is_reported(
    changes: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    """It needs hosts, evidence and signatures, and has no API to configure."""
    assert problems(enterprise(tmp_path, **changes)) == expected


def test_enterprise_registry_needs_no_credentials(tmp_path: Path) -> None:
    """Neither its own nor at the top level, also beside a registry that has its own."""
    read(enterprise(tmp_path))
    read(enterprise(tmp_path), {"region": "cn-north-4", "credentials": CREDENTIALS})
    assert problems(enterprise(tmp_path), {"region": "cn-north-4"}) == [
        "registries[1].credentials: is missing, and there is none at the top level: write credentials with a kind"
    ]


def test_top_level_credentials_are_not_those_of_enterprise(tmp_path: Path) -> None:
    """An access key of SWR's API is not sent to another registry."""
    policy = read(enterprise(tmp_path), {"region": "cn-north-4"}, credentials=CREDENTIALS)
    assert [registry.credentials.kind for registry in policy.registries.registries] == ["none", "token"]


ENTERPRISE_HOSTS = [
    ("hosts", ENTERPRISE_HOST),
    ("aliases", "TEAM-1A2B3C.swr-pro.myhuaweicloud.com:443"),
]


@pytest.mark.parametrize(("key", "host"), ENTERPRISE_HOSTS)
def test_enterprise_host_in_basic_registry_is_reported(key: str, host: str) -> None:
    """SWR's API would say that its images do not exist."""
    assert problems({"region": "cn-north-4", key: ["a.example.com", host]}, credentials=CREDENTIALS) == [
        f"registries[0].{key}[1]: is a host of SWR Enterprise, whose API has no is_trusted: "
        "write it in an entry of its own with edition: enterprise"
    ]


EVIDENCE: list[tuple[str, dict[str, Any], list[str]]] = [
    *((evidence, {"evidence": evidence, "signatures": None}, [
        f"registries[0].signatures: is missing: evidence {evidence} needs the public keys that sign images",
    ]) for evidence in ("signature", "both")),
    ("another evidence", {"evidence": "cosign"}, ["registries[0].evidence: write tagDetail, signature or both"]),
    ("a list", {"signatures": []}, [f"{BELOW}: write a mapping, one key: value a line"]),
    ("no keys", {"signatures": {}}, [
        f"{BELOW}.keys: is missing: write at least one public key, with its name and file",
    ]),
    ("an empty list of keys", {"signatures": {"keys": []}}, [
        f"{BELOW}.keys: write at least one public key, with its name and file",
    ]),
    ("a key without name and file", {"signatures": {"keys": [{}]}}, [
        f"{BELOW}.keys[0].name: is missing: give it a unique name",
        f"{BELOW}.keys[0].file: is missing: write the absolute path of the PEM file with the public key",
    ]),
    ("a relative file", {"signatures": {"keys": [{"name": "a", "file": "keys/a.pub"}]}}, [
        f"{BELOW}.keys[0].file: write the absolute path of a file, such as /etc/swr/token",
    ]),
    ("the key itself", {"signatures": {"keys": [{"name": "a", "file": "-----BEGIN PUBLIC KEY-----\nMFkw"}]}}, [
        f"{BELOW}.keys[0].file: write the absolute path of a file, such as /etc/swr/token",
    ]),
    ("too many keys", {"signatures": {"keys": [{"name": "a", "file": "a"}] * 21}}, [
        f"{BELOW}.keys: write at most 20 entries",
        *(f"{BELOW}.keys[{index}].name: is also the name of an entry above: give each a unique name"
          for index in range(1, 21)),
    ]),
    ("an unknown key", {"signatures": {"key": "a"}}, [
        f"{BELOW}.keys: is missing: write at least one public key, with its name and file",
        f"{BELOW}.key: there is no such key, did you mean keys?",
    ]),
    ("an unknown login", {"registryLogin": {"file": "/a"}}, [
        "registries[0].registryLogin.dockerConfigFile: is missing: write the absolute path of the file, such as /etc/swr-trust/login/.dockerconfigjson",
        "registries[0].registryLogin.file: there is no such key here, it belongs below registries.signatures.keys",
    ]),
    ("a relative login", {"registryLogin": {"dockerConfigFile": "config.json"}}, [
        "registries[0].registryLogin.dockerConfigFile: write the absolute path of a file, such as /etc/swr/token",
    ]),
    ("a login in the file", {"registryLogin": {"password": "hunter2"}}, [
        "registries[0].registryLogin.dockerConfigFile: is missing: write the absolute path of the file, such as /etc/swr-trust/login/.dockerconfigjson",
        "registries[0].registryLogin.password: a secret does not belong in this file: name a file that holds it, or use the environment",
    ]),
    ("plain http", {"registryEndpoint": "http://swr.example.com"}, [
        "registries[0].registryEndpoint: plain http would reveal the credential to the network: write https",
    ]),
    ("an endpoint with a path", {"registryEndpoint": "https://swr.example.com/v2"}, [
        "registries[0].registryEndpoint: write a base URL such as https://swr.example.com, without a path",
    ]),
    ("an endpoint without a scheme", {"registryEndpoint": "swr.example.com"}, [
        "registries[0].registryEndpoint: write a base URL such as https://swr.example.com, without a path",
    ]),
    ("an endpoint with a password", {"registryEndpoint": "https://u:p@swr.example.com"}, [
        "registries[0].registryEndpoint: a URL in this file must not contain user and password: for a proxy, set HTTPS_PROXY",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"), [case[1:] for case in EVIDENCE], ids=[c[0] for c in EVIDENCE]
)
def test_mistake_in_evidence_is_reported(
    changes: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    """All of them at once, in any edition."""
    assert problems(basic(tmp_path, **changes), credentials=CREDENTIALS) == expected


SETTINGS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a threshold above the keys", {"threshold": 3}, [
        f"{BELOW}.threshold: is above the number of keys: write at most 2, or add keys",
    ]),
    ("a threshold of none", {"threshold": 0}, [f"{BELOW}.threshold: write a number of at least 1"]),
    ("a negative threshold", {"threshold": -1}, [f"{BELOW}.threshold: write a number of at least 1"]),
    ("a threshold in words", {"threshold": "all"}, [f"{BELOW}.threshold: write a whole number"]),
    ("annotations as a list", {"annotations": ["stage=prod"]}, [
        f"{BELOW}.annotations: write a mapping, one key: value a line",
    ]),
    ("a number as annotation", {"annotations": {"build": 5}}, [
        f"{BELOW}.annotations.build: write text; put quotes around it if it looks like a number",
    ]),
    ("a boolean as annotation", {"annotations": {"prod": True}}, [
        f"{BELOW}.annotations.prod: write text; put quotes around it if it looks like a number",
    ]),
    ("an annotation of two lines", {"annotations": {"stage": "a\nb"}}, [
        f"{BELOW}.annotations.stage: contains a line break or another unprintable character: remove it",
    ]),
    ("an annotation without name", {"annotations": {"": "a"}}, [f"{BELOW}.annotations.'': is empty: write some text"]),
    ("too many annotations", {"annotations": {f"a{n}": "" for n in range(21)}}, [
        f"{BELOW}.annotations: write at most 20 entries",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"), [case[1:] for case in SETTINGS], ids=[c[0] for c in SETTINGS]
)
def test_mistake_in_signatures_is_reported(
    changes: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    """What no signature could satisfy, or every signature would."""
    entry = basic(tmp_path, signatures=signatures(tmp_path, "a", "b", **changes))
    assert problems(entry, credentials=CREDENTIALS) == expected


NAME_TWICE = "is also the name of an entry above: give each a unique name"
DATE = "write a date such as 2027-06-30, or a time with its offset such as 2027-06-30T18:00:00+08:00"
WANTED = "give one PEM block with the label PUBLIC KEY"
FILES: list[tuple[str, dict[str, Any], bytes | None, list[str]]] = [
    ("a name twice", {"name": "first"}, public_pem("second"), [f"{BELOW}.keys[1].name: {NAME_TWICE}"]),
    ("a content twice", {}, public_pem("first"), [
        f"{BELOW}.keys[1].file: contains the same key as first: remove one of them",
    ]),
    ("a missing file", {}, None, [
        f"{BELOW}.keys[1].file: cannot be read (No such file or directory): mount the file, or correct the path",
    ]),
    ("a path with NUL", {"file": "/a\0b"}, None, [
        f"{BELOW}.keys[1].file: write the absolute path of a file, such as /etc/swr/token",
    ]),
    ("a folder", {"file": "/"}, None, [
        f"{BELOW}.keys[1].file: cannot be read (Is a directory): mount the file, or correct the path",
    ]),
    ("an empty file", {}, b"", [f"{BELOW}.keys[1].file: is empty: {WANTED}"]),
    ("a huge file", {}, b"#" * (64 * 1024 + 1), [f"{BELOW}.keys[1].file: has more than 64 KiB: {WANTED}"]),
    ("another text", {}, b"to be done\n", [f"{BELOW}.keys[1].file: is not PEM: {WANTED}"]),
    ("DER", {}, to_der(public_pem("second")), [
        f"{BELOW}.keys[1].file: is DER: convert it to PEM with openssl pkey -pubin -inform DER -in FILE -pubout",
    ]),
    ("a private key", {}, private_pem("second"), [
        f"{BELOW}.keys[1].file: is a private key: give the public key, as by openssl pkey -in FILE -pubout or "
        "cosign public-key, and replace the key if others could read it",
    ]),
    ("two keys in a file", {}, public_pem("second") + public_pem("third"), [
        f"{BELOW}.keys[1].file: has several PEM blocks: give each key its own file and its own name",
    ]),
    ("another kind of key", {}, ed25519_pem(), [f"{BELOW}.keys[1].file: {ANOTHER_KIND}"]),
    ("a weak key", {}, rsa_pem(1024), [
        f"{BELOW}.keys[1].file: is an RSA key with 1024 bits: use ECDSA P-256, P-384 or P-521, "
        "RSA with 2048 to 4096 bits, or SM2",
    ]),
    ("no date", {"notAfter": "next year"}, public_pem("second"), [f"{BELOW}.keys[1].notAfter: {DATE}"]),
    ("no such day", {"notAfter": "2027-02-30"}, public_pem("second"), [
        f"{BELOW}.keys[1].notAfter: 2027-02-30 is not an existing date or time",
    ]),
    ("a time without offset", {"notAfter": "2027-06-30T18:00:00"}, public_pem("second"), [
        f"{BELOW}.keys[1].notAfter: {DATE}",
    ]),
    ("several mistakes", {"name": "", "notAfter": "soon"}, b"", [
        f"{BELOW}.keys[1].name: is empty: write some text",
        f"{BELOW}.keys[1].notAfter: {DATE}",
        f"{BELOW}.keys[1].file: is empty: {WANTED}",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "content", "expected"), [case[1:] for case in FILES], ids=[case[0] for case in FILES]
)
def test_mistake_in_signing_key_is_reported(
    changes: dict[str, Any], content: bytes | None, expected: list[str], tmp_path: Path
) -> None:
    """Names, dates and files, with one valid key before it."""
    settings = signatures(tmp_path, "first")
    file = tmp_path / "second.pub"
    if content is not None:
        file.write_bytes(content)
    settings["keys"].append({"name": "second", "file": str(file), **changes})
    found = problems(basic(tmp_path, signatures=settings), credentials=CREDENTIALS)
    assert found == expected
    assert "MFkw" not in "".join(found)


def test_key_files_are_checked_together_with_all_other_keys(tmp_path: Path) -> None:
    """A file need not be corrected in several rounds."""
    entry = basic(tmp_path, signatures={"keys": [{"name": "a", "file": "/nowhere/a.pub"}]}, region="mars-1")
    assert problems(entry, credentials=CREDENTIALS, mode="block") == [
        "mode: write enforce, warn or audit",
        "registries[0].region: is not in the table of regions: write hosts, endpoint and iamEndpoint as well, or did you mean me-east-1?",
        f"{BELOW}.keys[0].file: cannot be read (No such file or directory): mount the file, or correct the path",
    ]


def test_key_may_be_used_in_several_registries(tmp_path: Path) -> None:
    """Only within a registry would it count twice."""
    policy = read(basic(tmp_path, organizations=["shop"]), enterprise(tmp_path), credentials=CREDENTIALS)
    assert [names(registry) for registry in policy.registries.registries] == [["kms"], ["kms"]]


def test_lapsed_key_does_not_stop_start(tmp_path: Path) -> None:
    """It does not count, and its file need not exist."""
    settings = signatures(tmp_path, "new")
    settings["keys"].append({"name": "old", "file": "/nowhere/old.pub", "notAfter": "2026-12-31"})
    (registry,) = read(basic(tmp_path, signatures=settings), credentials=CREDENTIALS).registries.registries
    assert names(registry) == ["new"]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (None, "https://swr.cn-north-4.myhuaweicloud.com"),
        ("https://SWR.example.com:8443/", "https://swr.example.com:8443"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("http://localhost:5000", "http://localhost:5000"),
    ],
)
def test_registry_endpoint_defaults_to_first_host(
    endpoint: str | None, expected: str, tmp_path: Path
) -> None:
    """In lower case, without a slash; http only for loopback addresses."""
    policy = read(basic(tmp_path, registryEndpoint=endpoint), credentials=CREDENTIALS)
    assert policy.registries.registries[0].registry_endpoint == expected


def test_annotations_are_not_stripped(tmp_path: Path) -> None:
    """They are compared with the signed payload, character by character."""
    written = {"stage": " prod ", "empty": "", "公司": "商店"}
    entry = basic(tmp_path, signatures=signatures(tmp_path, "a", annotations=written))
    (registry,) = read(entry, credentials=CREDENTIALS).registries.registries
    assert registry.signatures is not None
    assert dict(registry.signatures.annotations) == written


def names(registry: Registry) -> list[str]:
    """Return the names of the keys that count."""
    assert registry.signatures is not None
    return [key.name for key in registry.signatures.counting]
