"""Checks of a registry whose signatures are read: its keys, its login, and the signatures of one image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from webhook.cli.checks import SECONDS, Check, CheckStatus
from webhook.deadlines import Deadline
from webhook.errors import ConfigError, Forbidden, Throttled, TrustLookupError, Unauthorized
from webhook.evidence.clients import RegistryClientPool
from webhook.registries import Registry, SignatureSettings
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.records import TrustQuery, Unlimited

SURVEY: Final = "swr-trust survey shows which images are signed, and by which keys."

_TRY_AGAIN: Final = (
    "Try again. If the problem persists, check the status of the registry, proxies and firewalls."
)


def check_signatures(
    registry: Registry, query: TrustQuery | None, opened: RegistryClientPool
) -> Iterator[Check]:
    """Yield the result of each check; ``query`` is about an image that is signed or should be.

    At most one login fails: then it is paused, for all registries with the same login.
    """
    try:
        opened.client(registry)
    except ConfigError as error:
        problems = "; ".join(problem.message for problem in error.problems)
        yield Check(registry.label, "registry login", CheckStatus.FAILED, problems, "Set the missing value.")
        return
    login = _check_login(registry, opened)
    yield login
    if login.status is CheckStatus.FAILED:
        yield Check(registry.label, "signature", CheckStatus.SKIPPED, "not checked, because the login failed")
    elif query is None:
        found = "no image was looked up; use --image with one that is signed"
        yield Check(registry.label, "signature", CheckStatus.SKIPPED, found)
    else:
        yield _check_signature(registry, query, opened)


def check_keys(registry: Registry, settings: SignatureSettings) -> Check:
    """Return which keys count, and why others do not. Nothing is called."""
    from webhook.signatures.keys import load_public_key  # noqa: PLC0415 - only where there are keys

    counting = [f"{key.name} ({load_public_key(key.content).kind})" for key in settings.counting]
    problems = [f"{key.name} {key.problem}" for key in settings.keys if key.problem]
    found = "; ".join(
        [f"these keys count: {', '.join(counting)}" if counting else "no key counts", *problems]
    )
    if settings.missing and registry.needs_signature:
        needed = f"{settings.threshold} must sign, so every image of this registry is denied"
        advice = "Correct the files and notAfter of the keys."
        return Check(registry.label, "signing keys", CheckStatus.FAILED, f"{found}; {needed}", advice)
    if problems:
        advice = "Correct the file or notAfter of the key, or remove the key."
        return Check(registry.label, "signing keys", CheckStatus.WARNING, found, advice)
    return Check(registry.label, "signing keys", CheckStatus.OK, found)


def _check_login(registry: Registry, opened: RegistryClientPool) -> Check:
    from webhook.oci.tokens import LoginState  # noqa: PLC0415 - only where signatures are read

    name = "registry login"
    try:
        state = opened.client(registry).check_login(Deadline.after(SECONDS), Unlimited())
    except Unauthorized as error:
        return Check(registry.label, name, CheckStatus.FAILED, error.detail, _advise_login(registry, opened))
    except TrustLookupError as error:
        is_blocked = isinstance(error, Throttled) and error.blocks_account
        status = CheckStatus.FAILED if is_blocked else CheckStatus.UNKNOWN
        advice = "Wait for 30 minutes, and lower lookup.callsPerSecond." if is_blocked else _TRY_AGAIN
        return Check(registry.label, name, status, error.detail, advice)
    if state is LoginState.LOGGED_IN:
        return Check(registry.label, name, CheckStatus.OK, "the registry accepts the login")
    if state is LoginState.OPEN:
        return Check(registry.label, name, CheckStatus.OK, "the registry asks for no login")
    found = "no login is configured, so only signatures of public images can be read"
    return Check(registry.label, name, CheckStatus.WARNING, found, _advise_login(registry, opened))


def _advise_login(registry: Registry, opened: RegistryClientPool) -> str:
    if registry.docker_config_file is not None:
        return (
            f"Check the entry of {registry.name} in {registry.docker_config_file}. "
            "Temporary logins of SWR expire after at most 24 hours."
        )
    if opened.client(registry).has_login:
        return (
            "The login is made from the access key. Check the key and its permission to pull images, "
            "or set registryLogin.dockerConfigFile."
        )
    return "Set registryLogin.dockerConfigFile to a login that may pull images."


def _check_signature(registry: Registry, query: TrustQuery, opened: RegistryClientPool) -> Check:
    name, area = "signature", registry.label
    deadline = Deadline.after(SECONDS)
    try:
        digest = query.digest
        if query.tag is not None:
            digest = opened.client(registry).resolve_tag(query.path, query.tag, deadline, Unlimited())
        if digest is None:
            advice = "Give an existing image with --image."
            return Check(area, name, CheckStatus.WARNING, f"{query} does not exist in the registry", advice)
        check = opened.lookup(registry).check(query.path, digest, deadline, Unlimited())
    except Forbidden as error:
        advice = f"Allow the login to pull images of {query.organization}."
        if not opened.client(registry).has_login:
            advice = _advise_login(registry, opened)
        return Check(area, name, CheckStatus.FAILED, error.detail, advice)
    except TrustLookupError as error:
        return Check(area, name, CheckStatus.UNKNOWN, error.detail, _TRY_AGAIN)
    if check.result is SignatureResult.SIGNED:
        found = f"{query} is signed by {', '.join(check.signers)} ({', '.join(check.formats)})"
        return Check(area, name, CheckStatus.OK, found)
    return Check(
        area, name, CheckStatus.WARNING, f"{query} {_describe(check)}", _advise_signing(registry, check)
    )


def _advise_signing(registry: Registry, check: SignatureCheck) -> str:
    settings = registry.signatures
    if settings is None or not settings.counting:
        return f"Correct the keys first: see signing keys. {SURVEY}"
    if check.result is SignatureResult.BAD_SIGNATURE:
        return f"Sign it with a configured key, or add the public key of its signer. {SURVEY}"
    return f"Sign it. {SURVEY}"


def _describe(check: SignatureCheck) -> str:
    if not check.found:
        return "is not signed"
    found = f"has signatures ({', '.join(check.stored)})"
    if check.signers:
        return f"{found}, and only those by {', '.join(check.signers)} count: {check.result}"
    return f"{found}, and none counts: {'; '.join(check.problems)}"
