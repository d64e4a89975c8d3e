"""Checks that compare the keys of a registry with each other, and with the top level.

The schema validates these keys separately. The checks use the raw values of the file, so that their problems
are reported together with all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from webhook.errors import Problem
from webhook.policy.document import join_path
from webhook.policy.entries import check_unique_names, entries_of
from webhook.regions import find_region, is_enterprise_host, suggest_region
from webhook.registries import Evidence

NOT_OF_ENTERPRISE: Final = ("region", "projectId", "endpoint", "iamEndpoint", "credentials")
"""The keys for SWR's API and IAM. SWR Enterprise is read through its registry API only."""

_ENTERPRISE_HOST: Final = "team-1a2b3c.swr-pro.cn-north-4.myhuaweicloud.com"
_WITH_SIGNATURES: Final = (Evidence.SIGNATURE, Evidence.BOTH)


def check_registries(value: dict[str, Any]) -> Iterator[Problem]:
    """Yield the problems of all registries of a file."""
    for path, entry in entries_of(value, "registries"):
        edition = entry.get("edition", "basic")
        if edition == "enterprise":
            yield from _check_enterprise(path, entry)
        elif edition == "basic":
            yield from _check_region(path, entry)
            yield from _check_hosts(path, entry)
            yield from _check_credentials(path, entry, value)
        yield from _check_evidence(path, entry)


def _check_enterprise(path: str, entry: dict[str, Any]) -> Iterator[Problem]:
    for key in NOT_OF_ENTERPRISE:
        if key in entry:
            yield Problem(join_path(path, key), "does not go with edition enterprise: remove it")
    if "hosts" not in entry:
        yield Problem(
            join_path(path, "hosts"),
            f"is missing: write the hosts of the instance as in image references, such as {_ENTERPRISE_HOST}",
        )
    if "evidence" not in entry:
        yield Problem(
            join_path(path, "evidence"),
            "is missing: write evidence: signature, the only evidence in edition enterprise",
        )
    elif entry["evidence"] in (Evidence.TAG_DETAIL, Evidence.BOTH):
        yield Problem(
            join_path(path, "evidence"),
            "does not go with edition enterprise, whose API has no is_trusted: write signature",
        )


def _check_region(path: str, entry: dict[str, Any]) -> Iterator[Problem]:
    region = entry.get("region")
    if "region" not in entry:
        yield Problem(
            join_path(path, "region"), "is missing: write the registry's region, such as cn-north-4"
        )
    if not isinstance(region, str) or find_region(region) is not None:
        return
    absent = [key for key in ("hosts", "endpoint", "iamEndpoint") if key not in entry]
    if absent:
        close = suggest_region(region)
        hint = f", or did you mean {close}?" if close is not None else ""
        yield Problem(
            join_path(path, "region"),
            f"is not in the table of regions: write {_listed(absent)} as well{hint}",
        )


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _check_hosts(path: str, entry: dict[str, Any]) -> Iterator[Problem]:
    for key in ("hosts", "aliases"):
        hosts = entry.get(key)
        for index, host in enumerate(hosts if isinstance(hosts, list) else ()):
            if isinstance(host, str) and is_enterprise_host(host.lower()):
                yield Problem(
                    join_path(join_path(path, key), index),
                    "is a host of SWR Enterprise, whose API has no is_trusted: "
                    "write it in an entry of its own with edition: enterprise",
                )


def _check_credentials(path: str, entry: dict[str, Any], value: dict[str, Any]) -> Iterator[Problem]:
    credentials = entry.get("credentials", value.get("credentials"))
    if credentials is None and "credentials" not in entry and "credentials" not in value:
        yield Problem(
            join_path(path, "credentials"),
            "is missing, and there is none at the top level: write credentials with a kind",
        )
    if not isinstance(credentials, dict):
        return
    region = entry.get("region")
    if (
        credentials.get("kind") == "oidc"
        and "agencyUrn" in credentials
        and "stsEndpoint" not in credentials
        and isinstance(region, str)
        and find_region(region) is None
    ):
        below = path if "credentials" in entry else ""
        yield Problem(
            join_path(join_path(below, "credentials"), "stsEndpoint"),
            f"is missing: the region of {path} is not in the table of regions",
        )


def _check_evidence(path: str, entry: dict[str, Any]) -> Iterator[Problem]:
    below = join_path(path, "signatures")
    evidence, signatures = entry.get("evidence"), entry.get("signatures")
    if "signatures" not in entry:
        if entry.get("edition") == "enterprise":
            yield Problem(below, "is missing: edition enterprise needs the public keys that sign its images")
        elif evidence in _WITH_SIGNATURES:
            yield Problem(below, f"is missing: evidence {evidence} needs the public keys that sign images")
    if isinstance(signatures, dict):
        yield from check_unique_names(entries_of(signatures, "keys", below))
