"""Checks of each registry: DNS, TLS, clock, credential and rights.

At most one authentication may fail for each credential, because more than five lock the access key.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from webhook.admission.local_checks import make_query
from webhook.cli.checks import SECONDS, Check, CheckStatus
from webhook.cli.signature_checks import check_keys, check_signatures
from webhook.deadlines import Deadline
from webhook.errors import (
    ConfigError,
    Forbidden,
    InvalidReferenceError,
    LookupTimeout,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.evidence.clients import RegistryClientPool
from webhook.http_client.ca_files import describe
from webhook.http_client.messages import Credential, HttpRequest, HttpResponse
from webhook.http_client.proxies import Proxies
from webhook.http_client.resolver import Resolver
from webhook.http_client.transport import PooledTransport
from webhook.images.reference import parse_reference
from webhook.policy.model import Policy
from webhook.recorder import Recorder
from webhook.registries import CredentialSettings, Evidence, Registry
from webhook.swr.client import SwrClient
from webhook.swr.clock import MAX_SKEW
from webhook.swr.credentials import build_credential
from webhook.swr.naming import check_names, split_path
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus, Unlimited

NOTICED_SKEW: Final = 60.0

PROBE: Final = "swr-trust-doctor"
"""Organization and repository that are looked up if no image is given; they do not exist."""

_CLOCK_ADVICE: Final = (
    "Synchronize the clock (chrony, NTP). SWR accepts signatures for 15 minutes around their time."
)
_TRANSIENT_ADVICE: Final = (
    "Try again. If the problem persists, check the status of SWR, proxies and firewalls."
)
_BLOCKED_ADVICE: Final = (
    "Wait for 30 minutes. Find what else calls SWR often with this account (pipelines, nodes that pull "
    "repeatedly), and lower lookup.callsPerSecond."
)

_CREDENTIAL_ADVICE: Final[Mapping[str, str]] = {
    "aksk": "Check that access key and secret key belong together, are enabled and are complete in their "
    "files, and that the clock is right.",
    "token": "Write a token that has not expired to the file. Tokens of IAM are valid for 24 hours.",
    "iamUser": "Check domain, user and password, and that the user has programmatic access. A HUAWEI ID "
    "cannot get tokens.",
    "podIdentity": "Run doctor in a Pod whose ServiceAccount is bound to an agency by CCE Pod Identity.",
    "oidc": "Check the identity provider, the agency and the audience of the projected ServiceAccount token.",
}


@dataclass(frozen=True, slots=True)
class _Target:
    """The registry that is checked. ``synthetic`` means that the image of the query does not exist."""

    registry: Registry
    client: SwrClient
    query: TrustQuery
    synthetic: bool

    @property
    def area(self) -> str:
        return self.registry.label


def check_registries(
    policy: Policy,
    images: Sequence[str],
    environment: Mapping[str, str],
    clock: Callable[[], float] = time.time,
    running: Mapping[str, Sequence[TrustQuery]] | None = None,
) -> Iterator[Check]:
    """Yield the result of each check.

    ``images`` are existing images to look up, ``running`` a few that run, by ``Registry.key``.
    """
    rejected: set[CredentialSettings] = set()
    transports = _Transports()
    opened = RegistryClientPool(transports.get, environment, Recorder())
    queries: dict[str, TrustQuery] = {}
    for image in images:
        try:
            query = _query_of(policy, image)
        except InvalidReferenceError as error:
            yield Check(
                "arguments",
                "--image",
                CheckStatus.FAILED,
                f"{image[:200]}: {error}",
                "Write the image in full, with its registry.",
            )
            continue
        queries.setdefault(query.registry.key, query)
    for registry in policy.registries.registries:
        given = queries.get(registry.key)
        others = (running or {}).get(registry.key, ())
        try:
            transport = transports.get(registry)
        except OSError as error:
            advice = "Set caFile to a PEM file with the CA of SWR's certificate."
            found = f"caFile {registry.ca_file}: {describe(error)}"
            yield Check(registry.label, "TLS", CheckStatus.FAILED, found, advice)
            continue
        if not registry.is_enterprise:
            yield from _check_swr(policy, registry, given, others, transport, environment, rejected, clock)
        if registry.signatures is not None:
            yield check_keys(registry, registry.signatures)
            checks, response = _reach(registry.label, registry.registry_endpoint, transport, registry)
            yield from checks
            if response is not None:
                chosen = given if given is not None else next(iter(others), None)
                yield from check_signatures(registry, chosen, opened)
            else:
                found = "not checked, because the registry is not reachable"
                yield Check(registry.label, "registry login", CheckStatus.SKIPPED, found)


class _Transports:
    """Opens the transport of each registry once."""

    def __init__(self) -> None:
        self._known: dict[str, PooledTransport] = {}

    def get(self, registry: Registry) -> PooledTransport:
        if registry.key not in self._known:
            self._known[registry.key] = PooledTransport(ca_file=registry.ca_file, proxy=registry.proxy)
        return self._known[registry.key]


def _query_of(policy: Policy, image: str) -> TrustQuery:
    reference = parse_reference(image)
    registry = policy.registries.find(reference)
    if registry is None:
        raise InvalidReferenceError("unmanaged", "its registry is not in the policy")
    if registry.is_enterprise:
        return make_query(reference, registry)
    organization, repository = split_path(reference.path)
    check_names(organization, repository)
    return TrustQuery(registry, organization, repository, tag=reference.tag or "latest")


def _check_swr(
    policy: Policy,
    registry: Registry,
    query: TrustQuery | None,
    running: Sequence[TrustQuery],
    transport: PooledTransport,
    environment: Mapping[str, str],
    rejected: set[CredentialSettings],
    clock: Callable[[], float],
) -> Iterator[Check]:
    area = registry.label
    reached = True
    for endpoint in _endpoints_of(registry):
        check, response = _reach(area, endpoint, transport, registry)
        yield from check
        reached = reached and response is not None
        if response is not None:
            yield from _check_clock(area, endpoint, response, clock())
    try:
        credential = _open(registry, transport, environment)
    except ConfigError as error:
        problems = "; ".join(problem.message for problem in error.problems)
        yield Check(area, "credential", CheckStatus.FAILED, problems, "Set the missing value.")
        return
    if not reached:
        yield Check(
            area, "credential", CheckStatus.SKIPPED, "not checked, because SWR or IAM is not reachable"
        )
        return
    if registry.credentials in rejected:
        found = (
            "not tried again, because the same credential was refused above, and more than five "
            "consecutive failures lock the access key"
        )
        yield Check(area, "credential", CheckStatus.SKIPPED, found)
        return
    synthetic = query is None
    if query is None:
        organization = min(registry.organizations, default=PROBE)
        query = TrustQuery(registry, organization, PROBE, tag="none")
    target = _Target(registry, SwrClient(registry, transport, credential, Recorder()), query, synthetic)
    failure = yield from _check_rights(policy, target)
    if isinstance(failure, Unauthorized):
        rejected.add(registry.credentials)
    if failure is None and policy.may_enforce and registry.evidence is not Evidence.SIGNATURE:
        yield from _check_marks(target, running)


def _endpoints_of(registry: Registry) -> list[str]:
    needs_iam = registry.credentials.kind == "iamUser" or (
        registry.credentials.kind == "oidc" and registry.credentials.identity_provider is not None
    )
    endpoints = [registry.endpoint, *([registry.iam_endpoint] if needs_iam else [])]
    return list(dict.fromkeys(endpoints))


def _reach(
    area: str, endpoint: str, transport: PooledTransport, registry: Registry
) -> tuple[list[Check], HttpResponse | None]:
    checks = []
    host = urlsplit(endpoint).hostname or ""
    try:
        proxied = Proxies(registry.proxy).find(endpoint) is not None
    except TrustLookupError:
        proxied = True  # its URL is invalid, which the next check reports
    if proxied:
        checks.append(Check(area, "DNS", CheckStatus.SKIPPED, f"the proxy resolves {host}"))
    else:
        try:
            found = Resolver().addresses(host, Deadline.after(SECONDS))
        except TrustLookupError as error:
            advice = "Correct region or endpoint, or check the DNS of the cluster (CoreDNS, VPC endpoints)."
            return [Check(area, "DNS", CheckStatus.FAILED, error.detail, advice)], None
        addresses = ", ".join(address for _, address in found[:4])
        checks.append(Check(area, "DNS", CheckStatus.OK, f"{host} resolves to {addresses}"))
    try:
        response = transport.send(HttpRequest("GET", endpoint, "/"), Deadline.after(SECONDS))
    except TrustLookupError as error:
        checks.append(Check(area, "TLS", CheckStatus.FAILED, error.detail, _advise_connection(error)))
        return checks, None
    checks.append(Check(area, "TLS", CheckStatus.OK, f"{endpoint} answered with HTTP {response.status}"))
    return checks, response


def _advise_connection(error: TrustLookupError) -> str:
    if "certificate" in error.detail:
        return "Set caFile to the CA that signed it, or exclude SWR from TLS inspection."
    if "proxy" in error.detail:
        return "Check proxy (or HTTPS_PROXY), and that the proxy allows this host."
    if isinstance(error, LookupTimeout):
        return "Open port 443 to it in security groups, network policies and firewalls, or set a proxy."
    return "Check the endpoint, and that no firewall or proxy refuses the connection."


def _check_clock(area: str, endpoint: str, response: HttpResponse, now: float) -> Iterator[Check]:
    stamp = response.headers.get("date")
    try:
        theirs = email.utils.parsedate_to_datetime(stamp or "").timestamp()
    except (ValueError, OverflowError):
        yield Check(area, "clock", CheckStatus.UNKNOWN, f"{endpoint} sends no Date header")
        return
    skew = now - theirs
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {urlsplit(endpoint).hostname}"
    if abs(skew) < NOTICED_SKEW:
        yield Check(area, "clock", CheckStatus.OK, found)
        return
    status = CheckStatus.FAILED if abs(skew) > MAX_SKEW else CheckStatus.WARNING
    yield Check(area, "clock", status, found, _CLOCK_ADVICE)


def _open(registry: Registry, transport: PooledTransport, environment: Mapping[str, str]) -> Credential:
    return build_credential(
        registry.credentials,
        region=registry.region,
        iam_endpoint=registry.iam_endpoint,
        project_id=registry.project_id,
        transport=transport,
        environment=environment,
    )


def _check_rights(policy: Policy, target: _Target) -> Generator[Check, None, TrustLookupError | None]:
    """Yield the rights of the credential; return the failure that stopped the checks, if any."""
    area, query = target.area, target.query
    kind = target.registry.credentials.kind
    try:
        record = target.client.show_tag(query, Deadline.after(SECONDS), Unlimited())
    except Unauthorized as error:
        advice = _CLOCK_ADVICE if "clock is" in error.detail else _CREDENTIAL_ADVICE[kind]
        yield Check(area, "credential", CheckStatus.FAILED, error.detail, advice)
        return error
    except Forbidden as error:
        yield Check(area, "credential", CheckStatus.OK, f"SWR accepts the {kind} credential")
        action = "listRepoTags" if target.client.uses_tag_list else "getRepoTag"
        yield _forbidden(area, action, error, target, needed=True)
        return error
    except TrustLookupError as error:
        blocked = isinstance(error, Throttled) and error.blocks_account
        advice = _BLOCKED_ADVICE if blocked else _TRANSIENT_ADVICE
        yield Check(
            area, "credential", CheckStatus.FAILED if blocked else CheckStatus.UNKNOWN, error.detail, advice
        )
        return error
    yield Check(area, "credential", CheckStatus.OK, f"SWR accepts the {kind} credential")
    yield _describe_tag(area, record, target)
    needed = policy.digest_only == "resolve" or target.client.uses_tag_list
    if target.client.uses_tag_list:
        found = "SWR does not offer the call for one tag here (404 APIGW.0101), so tag lists are used instead"
        yield Check(
            area, "ShowRepoTag", CheckStatus.WARNING, found, "Grant swr:repo:listRepoTags for all images."
        )
    listed = TrustQuery(query.registry, query.organization, query.repository, digest="sha256:" + "0" * 64)
    try:
        target.client.find_digest(listed, Deadline.after(SECONDS), Unlimited())
    except Forbidden as error:
        yield _forbidden(area, "listRepoTags", error, target, needed=needed)
    except TrustLookupError as error:
        yield Check(area, "listRepoTags", CheckStatus.UNKNOWN, error.detail, "Try again.")
    else:
        yield Check(area, "listRepoTags", CheckStatus.OK, _describe_lookup(target))
    return None


def _check_marks(target: _Target, running: Sequence[TrustQuery]) -> Iterator[Check]:
    """Warn if images exist and none is marked as trusted, because mode ``enforce`` then denies them all."""
    queries = [*(() if target.synthetic else (target.query,)), *running]
    untrusted = 0
    for query in dict.fromkeys(query for query in queries if query.tag is not None):
        try:
            record = target.client.show_tag(query, Deadline.after(SECONDS), Unlimited())
        except TrustLookupError:
            continue
        if record.status is TrustStatus.TRUSTED:
            return
        untrusted += record.status is TrustStatus.UNTRUSTED
    if untrusted:
        images = "the image that was" if untrusted == 1 else f"any of the {untrusted} images that were"
        found = f"SWR does not mark {images} looked up as trusted, and mode enforce denies such images"
        advice = "Run swr-trust survey before you enforce: it shows which evidence your images have."
        yield Check(target.area, "is_trusted", CheckStatus.WARNING, found, advice)


def _describe_tag(area: str, record: TrustRecord, target: _Target) -> Check:
    if target.synthetic:
        return Check(area, "getRepoTag", CheckStatus.OK, _describe_lookup(target))
    if record.status is TrustStatus.MISSING:
        advice = "Give an existing image: otherwise it is not known whether its trust can be read."
        return Check(area, "getRepoTag", CheckStatus.WARNING, f"{target.query} does not exist in SWR", advice)
    if target.registry.evidence is Evidence.SIGNATURE:
        return Check(area, "getRepoTag", CheckStatus.OK, f"{target.query} exists in SWR")
    return Check(area, "getRepoTag", CheckStatus.OK, f"{target.query} is {record.status.value}")


def _describe_lookup(target: _Target) -> str:
    if target.synthetic:
        return "SWR answers the lookup of an image that does not exist; use --image to look up a real one"
    return f"SWR answers the lookup of {target.query}"


def _forbidden(area: str, action: str, error: Forbidden, target: _Target, *, needed: bool) -> Check:
    if target.synthetic:
        advice = (
            "Use --image to look up one of your images: SWR may have refused because this one does not exist."
        )
        return Check(area, action, CheckStatus.UNKNOWN, error.detail, advice)
    where = f"swr:repo:{action} for swr:*:*:repo:{target.query.organization}/*"
    advice = f"Grant {where} in IAM, and read access to the organization in SWR."
    if not needed:
        advice += " It is needed only for digestOnly: resolve."
    return Check(area, action, CheckStatus.FAILED if needed else CheckStatus.WARNING, error.detail, advice)
