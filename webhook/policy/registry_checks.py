"""Checks that compare the keys of a registry with each other, and with the top level.

The schema validates these keys separately. The checks use the raw values of the file, so that their problems
are reported together with all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from webhook.errors import Problem
from webhook.policy.document import join_path, quote_key
from webhook.policy.quantities import parse_expiry
from webhook.policy.signing_keys import KeyReader, has_lapsed
from webhook.regions import find_region, is_enterprise_host, suggest_region
from webhook.registries import Evidence, SigningKey

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


def check_key_files(
    value: dict[str, Any], reader: KeyReader, may_be_unusable: Callable[[str], bool]
) -> Iterator[Problem]:
    """Yield the problems of the key files of all registries. Lapsed keys have none."""
    for path, entry in entries_of(value, "registries"):
        signatures = entry.get("signatures")
        if not isinstance(signatures, dict):
            continue
        entries = [
            (below, key)
            for below, key in entries_of(signatures, "keys", join_path(path, "signatures"))
            if isinstance(key.get("file"), str) and key["file"].startswith("/")
        ]
        read = reader.read_keys(
            [SigningKey(quote_key(str(key.get("name"))), key["file"], _not_after(key)) for _, key in entries]
        )
        for (below, _), key in zip(entries, read, strict=True):
            if key.problem and not has_lapsed(key, reader.now) and not may_be_unusable(key.file):
                yield Problem(join_path(below, "file"), key.problem)


def _not_after(key: dict[str, Any]) -> float | None:
    """Return the time from which a key does not count, ``None`` also if the schema rejects its value."""
    try:
        return parse_expiry(key["notAfter"]).timestamp() if "notAfter" in key else None
    except ValueError:
        return None


def check_names(entries: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[Problem]:
    """Yield a problem for each entry that has the name of an earlier one."""
    seen: set[str] = set()
    for path, entry in entries:
        name = entry.get("name")
        if isinstance(name, str) and name.strip():
            if name.strip() in seen:
                yield Problem(
                    join_path(path, "name"), "is also the name of an entry above: give each a unique name"
                )
            seen.add(name.strip())


def entries_of(value: dict[str, Any], key: str, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the mappings of a list, each with its path; ``path`` is that of ``value``."""
    entries = value.get(key)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield join_path(join_path(path, key), index), entry


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
        yield from check_names(entries_of(signatures, "keys", below))
