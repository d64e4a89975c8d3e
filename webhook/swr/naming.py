"""Names in SWR: valid organizations and repositories, and how they are written in a URL path.

Source: SWR API Reference, Querying an Image Tag (parameters ``namespace`` and ``repository``); SWR
FAQ, multi-level image names, for ``$``. Names are checked before any call, because they become part
of a URL. Where the reference is ambiguous (several hyphens in a row), the name is accepted: SWR rejects
an invalid name itself, while the owner of a valid one could not work around a wrong rejection.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from webhook.errors import InvalidReferenceError

MAX_ORGANIZATION: Final = 64
MAX_REPOSITORY: Final = 128
"""Characters of the whole name, with slashes."""

SEPARATOR: Final = "$"
"""Replaces ``/`` in a repository. No repository contains it, so names stay distinct."""

# Separators of different kinds are never adjacent. The parts between them make the repetition
# unambiguous, so time is linear.
_REST: Final = r"[a-z0-9]*(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_ORGANIZATION: Final = re.compile(rf"[a-z]{_REST}")
_REPOSITORY: Final = re.compile(rf"[a-z0-9]{_REST}(?:/[a-z0-9]{_REST})*")
_FOREIGN: Final = re.compile(r"[^a-z0-9._-]")

_SEPARATORS_CLAUSE: Final = (
    "has letters or digits on both sides of a dot, of one or two underscores and of hyphens"
)


def split_path(path: str) -> tuple[str, str]:
    """Split the path of a reference into organization and repository.

    Raises:
        InvalidReferenceError: reason ``no-organization``; the path has one component only.
    """
    organization, slash, repository = path.partition("/")
    if not slash:
        raise InvalidReferenceError("no-organization", "an SWR image is organization/name")
    return organization, repository


def check_names(organization: str, repository: str) -> None:
    """Check both names against SWR's rules.

    Raises:
        InvalidReferenceError: reason ``organization`` or ``repository``; the text says which rule
            is broken.
    """
    if len(organization) > MAX_ORGANIZATION or _ORGANIZATION.fullmatch(organization) is None:
        raise InvalidReferenceError("organization", f"an SWR organization {_organization_rule(organization)}")
    if len(repository) > MAX_REPOSITORY or _REPOSITORY.fullmatch(repository) is None:
        raise InvalidReferenceError("repository", f"an SWR repository {_repository_rule(repository)}")


def escape_repository(repository: str) -> str:
    """Return a checked repository name as it is written in a request path."""
    return repository.replace("/", SEPARATOR)


def _organization_rule(name: str) -> str:
    if not 1 <= len(name) <= MAX_ORGANIZATION:
        return f"has 1 to {MAX_ORGANIZATION} characters"
    if _FOREIGN.search(name) is not None:
        return "has lower-case letters, digits, dots, underscores and hyphens only"
    if not name[0].isalpha():
        return "starts with a lower-case letter"
    return _SEPARATORS_CLAUSE


def _repository_rule(name: str) -> str:
    if not 1 <= len(name) <= MAX_REPOSITORY:
        return f"has 1 to {MAX_REPOSITORY} characters"
    levels = name.split("/")
    if "" in levels:
        return "has a name on both sides of each slash"
    if any(_FOREIGN.search(level) is not None for level in levels):
        return "has lower-case letters, digits, dots, underscores, hyphens and slashes only"
    return _SEPARATORS_CLAUSE


def repository_path(organization: str, repository: str) -> str:
    """Return the path of a repository below ``/v2`` or ``/v3`` of SWR's API, percent-encoded.

    Names are checked again, although callers have done so, because they become part of a URL here.

    Raises:
        InvalidReferenceError: a name is not valid in SWR.
    """
    check_names(organization, repository)
    escaped = quote(escape_repository(repository), safe="$")
    return f"/manage/namespaces/{quote(organization, safe='')}/repos/{escaped}"
