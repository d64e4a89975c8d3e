"""Single values of the configuration file: valid ones, and the problem of each invalid one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from webhook.errors import ConfigError
from webhook.policy.loading import parse_policy
from webhook.policy.model import Policy

HOST = "write a host as in image references, with its port if it has one, without scheme and path"
BASE = "write a base URL such as https://swr-api.example.com, without a path"
NAME = "write the whole name: there are no wildcards here"
TEXT = "write text; put quotes around it if it looks like a number"
ORGANISATION = (
    "write the name of an SWR organization: 1 to 64 lower-case letters, digits and single separators"
)
FILE = "write the absolute path of a file, such as /etc/swr/token"


def read(section: str, key: str, value: object) -> Policy:
    """Read a policy with one value in one place."""
    base: dict[str, Any] = {
        "apiVersion": "swr-trust/v1",
        "kind": "TrustPolicy",
        "registries": [{"region": "cn-north-4"}],
        "credentials": {"kind": "token", "tokenFile": "/t"},
    }
    target = base
    if section == "registries":
        target = base["registries"][0]
    elif section == "exemptions":
        base["exemptions"] = [{"name": "n", "reason": "r", "images": ["a"]}]
        target = base["exemptions"][0]
    elif section:
        target = base.setdefault(section, {})
    target[key] = value
    return parse_policy(yaml.safe_dump(base))


BROAD = "{} is too broad, any user could use break-glass: name a group of people"
MACHINE = "{} creates Pods for other users, so any user could use break-glass: name a person"
REFUSED = [
    ("registries", "hosts", [5], TEXT),
    ("registries", "hosts", ["https://h.example.com"], HOST),
    ("registries", "hosts", ["h.example.com/shop"], HOST),
    ("registries", "hosts", ["h_o.example.com"], HOST),
    ("registries", "hosts", ["h.example.com:0"], HOST),
    (
        "registries",
        "aliases",
        ["swr"],
        "an image reference cannot name swr: a registry's host has a dot or a port",
    ),
    (
        "registries",
        "aliases",
        ["a-b.swr-pro.myhuaweicloud.com"],
        "is a host of SWR Enterprise, whose API has no is_trusted: write it in an entry of its own with edition: enterprise",
    ),
    ("registries", "organizations", ["Shop"], ORGANISATION),
    ("registries", "organizations", ["a/b"], ORGANISATION),
    ("registries", "organizations", ["a" * 65], ORGANISATION),
    ("registries", "endpoint", "swr-api.example.com", BASE),
    ("registries", "endpoint", "ftp://swr-api.example.com", BASE),
    ("registries", "endpoint", "https://swr-api.example.com/v2", BASE),
    ("registries", "endpoint", "https://swr-api.example.com?x=1", BASE),
    ("registries", "endpoint", "https://swr-api.exämple.com", BASE),
    ("registries", "endpoint", "https://swr api.example.com", BASE),
    (
        "registries",
        "endpoint",
        "https://user:secret@swr-api.example.com",
        "a URL in this file must not contain user and password: for a proxy, set HTTPS_PROXY",
    ),
    (
        "registries",
        "endpoint",
        "http://swr-api.example.com",
        "plain http would reveal the credential to the network: write https",
    ),
    (
        "registries",
        "endpoint",
        "http://127.0.0.1.example.com",
        "plain http would reveal the credential to the network: write https",
    ),
    ("registries", "caFile", "ca.pem", FILE),
    ("registries", "projectId", "a/b", "write the project's ID: 1 to 64 letters, digits and hyphens"),
    ("registries", "region", "CN", "write the name of a region, such as cn-north-4"),
    ("exemptions", "reason", " ", "is empty: write some text"),
    ("exemptions", "reason", "x" * 501, "has 501 characters: write at most 500"),
    ("exemptions", "reason", "x" * 5000, "has more than 4096 characters"),
    (
        "exemptions",
        "namespaces",
        ["Shop"],
        "write the name of a namespace, in which * matches any characters",
    ),
    ("exemptions", "expires", "2027-02-30", "2027-02-30 is not an existing date or time"),
    (
        "exemptions",
        "expires",
        "2027-06-30T18:00:00",
        "write a date such as 2027-06-30, or a time with its offset such as 2027-06-30T18:00:00+08:00",
    ),
    ("breakGlass", "annotation", "a b", "write the name of an annotation, such as swr-trust/break-glass"),
    ("breakGlass", "users", ["*"], NAME),
    ("breakGlass", "users", [" alice"], NAME),
    ("breakGlass", "users", [""], NAME),
    (
        "breakGlass",
        "users",
        ["system:anonymous"],
        "system:anonymous is every user who has not logged in: name a person",
    ),
    *(
        ("breakGlass", "users", [user], MACHINE.format(user))
        for user in (
            "system:kube-controller-manager",
            "system:kube-scheduler",
            "system:apiserver",
            "system:node:n1",
            "system:serviceaccount:kube-system:replicaset-controller",
        )
    ),
    *(
        ("breakGlass", "groups", [group], BROAD.format(group))
        for group in (
            "system:authenticated",
            "system:unauthenticated",
            "system:serviceaccounts",
            "system:serviceaccounts:shop",
            "system:nodes",
            "system:bootstrappers",
            "system:bootstrappers:kubeadm",
        )
    ),
    ("breakGlass", "groups", ["oncall*"], NAME),
]


@pytest.mark.parametrize(("section", "key", "value", "message"), REFUSED)
def test_invalid_value_is_rejected_with_instruction(
    section: str, key: str, value: object, message: str
) -> None:
    """The first problem has the place, the mistake and a correction; a secret is never repeated (T17)."""
    with pytest.raises(ConfigError) as caught:
        read(section, key, value)
    problem = caught.value.problems[0]
    where = {"registries": "registries[0].", "exemptions": "exemptions[0].", "breakGlass": "breakGlass."}
    index = "[0]" if isinstance(value, list) else ""
    assert (problem.path, problem.message) == (f"{where[section]}{key}{index}", message)
    assert "secret" not in str(problem)


TAKEN = [
    ("registries", "aliases", ["10.125.0.198:20202", "localhost", "[::1]:5000", "H.example.com"]),
    ("registries", "organizations", ["shop", "a.b", "a-b", "a_b", "a__b", "x" * 64]),
    ("registries", "endpoint", "https://SWR-API.example.com:8443/"),
    ("registries", "endpoint", "http://127.0.0.1:8080"),
    ("registries", "endpoint", "http://[::1]:8080"),
    ("registries", "proxy", "http://proxy.example.com:3128"),
    ("exemptions", "namespaces", ["shop", "sandbox-*", "*"]),
    ("exemptions", "expires", "2027-06-30T18:00:00+08:00"),
    ("breakGlass", "annotation", "example.com/break-glass"),
    ("breakGlass", "users", ["alice@example.com", "system:serviceaccount:ci:deployer"]),
    ("breakGlass", "groups", ["platform-oncall", "system:masters", "oidc:ops"]),
]


@pytest.mark.parametrize(("section", "key", "value"), TAKEN)
def test_valid_value_is_accepted(section: str, key: str, value: object) -> None:
    """It is kept as it is written."""
    read(section, key, value)


def test_hosts_and_urls_are_compared_in_lower_case() -> None:
    """DNS ignores the case; a slash at the end of a URL is not a path."""
    (registry,) = read("registries", "aliases", ["SWR.Example.com:443"]).registries.registries
    assert registry.hosts[-1] == "swr.example.com:443"
    (registry,) = read("registries", "endpoint", "https://SWR-API.example.com/").registries.registries
    assert registry.endpoint == "https://swr-api.example.com"
