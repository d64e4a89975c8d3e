"""SWR's names: what an organisation and a repository may be called, and how they travel in a path.

Source: SWR API Reference, Querying an Image Tag (parameters ``namespace`` and ``repository``); SWR
FAQ, multi-level image names, for ``$``. Names are checked before any call, because they become part
of a URL.
"""

from __future__ import annotations

import re
from typing import Final

from webhook.errors import InvalidReferenceError

MAX_ORGANIZATION: Final = 64
MAX_REPOSITORY: Final = 128
"""Characters of the whole name, levels and slashes included."""

SEPARATOR: Final = "$"
"""What ``/`` in a repository is sent as. No repository holds one, so nothing collides."""

# One separator at a time, but up to two underscores in a row; separators of different kinds are
# never neighbours. The parts between them make the repetition unambiguous, so time is linear.
_ORGANIZATION: Final = re.compile(r"[a-z][a-z0-9]*(?:(?:\.|-|_{1,2})[a-z0-9]+)*")
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:(?:\.|-|_{1,2}|/)[a-z0-9]+)*")


def split_path(path: str) -> tuple[str, str]:
    """Split the path of a reference into organisation and repository.

    Raises:
        InvalidReferenceError: reason ``repository``; the path has one component only.
    """
    organization, slash, repository = path.partition("/")
    if not slash:
        raise InvalidReferenceError("repository", "an SWR image is organisation/name")
    return organization, repository


def check_names(organization: str, repository: str) -> None:
    """Check both names against SWR's rules.

    Raises:
        InvalidReferenceError: reason ``organization`` or ``repository``.
    """
    if len(organization) > MAX_ORGANIZATION or _ORGANIZATION.fullmatch(organization) is None:
        raise InvalidReferenceError(
            "organization",
            f"an SWR organisation has 1 to {MAX_ORGANIZATION} lower-case letters, digits and single "
            "separators, and starts with a letter",
        )
    if len(repository) > MAX_REPOSITORY or _REPOSITORY.fullmatch(repository) is None:
        raise InvalidReferenceError(
            "repository",
            f"an SWR repository has 1 to {MAX_REPOSITORY} lower-case letters, digits and single separators",
        )


def escape_repository(repository: str) -> str:
    """Return a checked repository name as it stands in a request path."""
    return repository.replace("/", SEPARATOR)
