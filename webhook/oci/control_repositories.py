"""Repositories for control requests, which no author of an image can choose or push to.

A control request must reach what the registry answers about manifests: ``GET /v2/`` may be answered by a
front end while nothing else works. It must not be about a name of the author, for which a firewall may break
every connection. So the repository is random, and its organization is one about which the registry has
answered before, or one of the policy: a name that is blocked is never answered.

Manifests are requested, not blobs. An unknown tag is what registries answer about all day. A random blob says
nothing about the object storage, which is read only for a blob that exists, and somebody has pushed that. So
if blobs alone fail, it counts as a failure of the image.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from cachetools import TTLCache

from webhook.swr.fallback import make_probe_name

MAX_ORGANIZATIONS: Final = 16
"""Organizations that are remembered because the registry has answered. The first ones stay, so that nobody
can displace them by images of other organizations."""

NAME_SECONDS: Final = 600.0
"""Seconds for which a repository is used, so that its token is kept. An owner of the organization may see the
requests, and could push to that repository."""


class ControlRepositories:
    """The repositories of one registry for control requests."""

    def __init__(self, organizations: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with the organizations of the policy; ``clock`` is in monotonic seconds."""
        self._lock = threading.Lock()
        self._known = dict.fromkeys(sorted(organizations))
        self._most = max(MAX_ORGANIZATIONS, len(self._known))
        self._names: TTLCache[str, str] = TTLCache(self._most, NAME_SECONDS, timer=clock)

    def record_found(self, repository: str) -> None:
        """Remember the organization of a repository of which the registry has sent a manifest."""
        organization = _organization(repository)
        with self._lock:
            if len(self._known) < self._most:
                self._known[organization] = None

    def forget(self, repository: str) -> None:
        """Forget the organization of a repository that is refused: it shows nothing about manifests."""
        with self._lock:
            self._known.pop(_organization(repository), None)

    def choose(self, repository: str) -> str | None:
        """Return the repository for a control request beside one about ``repository``.

        It is in another organization if one is known, and only otherwise in the same one, which may belong to
        the author. ``None``: no organization is known.
        """
        own = _organization(repository)
        with self._lock:
            organization = next((name for name in self._known if name != own), own)
            if organization not in self._known:
                return None
            name = self._names.get(organization)
            if name is None:
                name = self._names[organization] = make_probe_name()
        return f"{organization}/{name}"


def make_control_tag() -> str:
    """Return a random tag: it does not exist, even if somebody has found out the repository."""
    return secrets.token_hex(8)


def _organization(repository: str) -> str:
    return repository.partition("/")[0]
