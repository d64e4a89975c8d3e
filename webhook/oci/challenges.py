"""The challenge by which a registry names its token service (RFC 6750, section 3; OCI distribution).

``WWW-Authenticate: Bearer realm="https://registry.example.com/token",service="registry"``. The realm gets our
login, so it must be on a host of the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from webhook.oci.urls import Url, is_as_safe, read_url

MAX_CHALLENGE: Final = 8192
"""Characters of the header."""

_WORD: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER: Final = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*(?:,|$)\s*')
_SCHEME: Final = re.compile(rf"({_WORD})(?:\s+|\s*,\s*|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A token service, and the name of the registry there, empty if the registry has none."""

    realm: Url
    service: str

    def query(self, repository: str | None) -> tuple[tuple[str, str], ...]:
        """Return the query for a token to pull from a repository; ``None`` is a login without any scope."""
        parameters = list(self.realm.parameters)
        if self.service:
            parameters.append(("service", self.service))
        if repository is not None:
            parameters.append(("scope", f"repository:{repository}:pull"))
        return tuple(parameters)


class ChallengeError(ValueError):
    """A challenge cannot be used; the text is a clause."""


def read_challenge(header: str, endpoint: Url, hosts: Collection[str]) -> Challenge:
    """Parse ``WWW-Authenticate`` of the registry at ``endpoint``, which has the names ``hosts``, too.

    Raises:
        ChallengeError: there is no challenge for a bearer token, or its realm is on another host or not
            protected by TLS.
    """
    parameters = _find_bearer(header)
    if parameters is None:
        raise ChallengeError("it does not ask for a bearer token")
    realm = read_url(parameters.get("realm", ""))
    if realm is None:
        raise ChallengeError("its realm for tokens is not a URL")
    if not is_as_safe(realm, endpoint):
        raise ChallengeError("its realm for tokens is plain http")
    own = {endpoint.origin}
    own.update(url.origin for host in hosts if (url := read_url(f"https://{host}")) is not None)
    if realm.origin not in own:
        raise ChallengeError(f"its realm for tokens is on another host, {realm.host}")
    return Challenge(realm, parameters.get("service", ""))


def _find_bearer(header: str) -> dict[str, str] | None:
    """Return the parameters of the first ``Bearer`` challenge; a repeated one makes it invalid."""
    if len(header) > MAX_CHALLENGE:
        return None
    found: dict[str, str] | None = None
    position = 0
    while position < len(header):
        parameter = _PARAMETER.match(header, position)
        if parameter is not None:
            position = parameter.end()
            if found is not None:
                name = parameter[1].lower()
                if name in found:
                    return None
                quoted = parameter[2]
                found[name] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
            continue
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            return found
        if found is not None:
            return found
        if scheme[1].lower() == "bearer":
            found = {}
        position = scheme.end()
    return found
