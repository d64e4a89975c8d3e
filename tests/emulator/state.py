"""The state of the emulator: images, accounts, tokens and configured faults."""

from __future__ import annotations

import copy
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.emulator.registry_state import RegistryState

MAX_FAILURES = 5
"""Failed logins after which an account is locked."""


@dataclass(slots=True)
class Fault:
    """A fault for paths that contain ``match``, ``times`` times (``None``: always).

    ``latency`` in seconds comes first. Then ``kind``: ``status`` answers ``status`` with ``body`` and
    ``headers``; ``cut`` closes in the middle of the body. ``trickle-headers`` and ``trickle-body`` send a
    byte each ``latency`` seconds. ``reset`` resets; ``hang`` sends nothing; ``huge`` never ends; ``gzip``
    sends a bomb; ``redirect`` answers 302 to ``body``. ``every`` applies to each n-th call only, ``period``
    in every other of so many seconds. ``method`` limits it to one method, such as ``HEAD``.
    """

    kind: str = "none"
    match: str = ""
    latency: float = 0.0
    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = None
    every: int = 1
    period: float = 0.0
    method: str = ""
    seen: int = 0


class State:
    """The emulator's data; thread-safe."""

    def __init__(self, seed: dict[str, Any]) -> None:
        """Create the state from a seed as in ``seed.yaml``."""
        self.lock = threading.RLock()
        seed = copy.deepcopy(seed)
        self.organizations: dict[str, Any] = seed.get("organizations", {})
        self.tokens: dict[str, float] = {token: float("inf") for token in seed.get("tokens", [])}
        self.keys: dict[str, dict[str, Any]] = seed.get("keys", {})
        self.users: dict[str, Any] = seed.get("users", {})
        self.id_tokens: list[str] = seed.get("idTokens", [])
        self.error_format: str = seed.get("errorFormat", "current")
        self.token_seconds: float = seed.get("tokenSeconds", 86400.0)
        self.offers_tag_detail: bool = seed.get("offersTagDetail", True)
        """Whether the gateway publishes the call for one tag, as it does only in some regions."""
        self.project_ids: list[str] | None = seed.get("projectIds")
        """The values of ``X-Project-Id`` that the gateway accepts, "" for none; ``None`` for any."""
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.registry = RegistryState()
        """What the registry API (OCI distribution) serves, beside SWR's own API."""
        for user, password in seed.get("registryLogins", {}).items():
            self.registry.logins[user] = password

    @classmethod
    def load(cls, path: Path) -> State:
        """Create the state from a YAML file."""
        return cls(yaml.safe_load(path.read_text(encoding="utf-8")))

    def find_fault(self, called: str, method: str = "GET") -> Fault | None:
        """Return the fault that applies to a call of ``//host:port/path``."""
        with self.lock:
            for fault in self.faults:
                if fault.match not in called or fault.times == 0 or fault.method not in ("", method):
                    continue
                if fault.period and int(time.monotonic() / fault.period) % 2:
                    continue
                fault.seen += 1
                if fault.seen % fault.every:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def find_tag(self, organization: str, repository: str, tag: str) -> dict[str, Any] | None:
        """Return a tag, or ``None``."""
        tags = self.find_tags(organization, repository)
        return None if tags is None else tags.get(tag)

    def find_tags(self, organization: str, repository: str) -> dict[str, Any] | None:
        """Return the tags of a repository, or ``None``."""
        repositories = self.organizations.get(organization, {}).get("repositories", {})
        found: dict[str, Any] | None = repositories.get(repository)
        return found

    def set_tag(self, image: str, **values: Any) -> None:
        """Push or change ``organization/repository:tag``."""
        path, _, tag = image.rpartition(":")
        organization, _, repository = path.partition("/")
        with self.lock:
            owner = self.organizations.setdefault(organization, {})
            tags = owner.setdefault("repositories", {}).setdefault(repository, {})
            tags[tag] = {**tags.get(tag, {}), **values}

    def remove_tag(self, image: str) -> None:
        """Delete ``organization/repository:tag``."""
        path, _, tag = image.rpartition(":")
        organization, _, repository = path.partition("/")
        with self.lock:
            self.organizations[organization]["repositories"][repository].pop(tag, None)

    def issue_token(self) -> tuple[str, float]:
        """Return a new token and its expiry in epoch seconds."""
        token = f"MII{uuid.uuid4().hex}"
        expires = time.time() + self.token_seconds
        with self.lock:
            self.tokens[token] = expires
        return token, expires

    def issue_keys(self) -> tuple[dict[str, str], float]:
        """Return temporary keys and their expiry in epoch seconds."""
        expires = time.time() + self.token_seconds
        access, secret, token = (uuid.uuid4().hex for _ in range(3))
        with self.lock:
            self.keys[access] = {"secret": secret, "token": token}
        return {"access": access, "secret": secret, "securitytoken": token}, expires

    def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        """Push a manifest to the registry; see ``RegistryState``."""
        return self.registry.put_manifest(repository, reference, media_type, content)

    def put_blob(self, repository: str, content: bytes, digest: str = "") -> str:
        """Push a blob to the registry; see ``RegistryState``."""
        return self.registry.put_blob(repository, content, digest)

    def put_image(self, image: str, **values: Any) -> str:
        """Push ``organization/repository:tag`` to the registry and to SWR's API; return its digest.

        ``values`` are those of ``set_tag``; without them, the tag is not trusted.
        """
        repository, _, tag = image.rpartition(":")
        digest = self.registry.put_image(repository, tag)
        self.set_tag(image, **{"is_trusted": False, **values, "digest": digest})
        return digest

    def sign_simple(
        self, repository: str, digest: str, private_key: Any, annotations: dict[str, str] | None = None
    ) -> str:
        """Sign an image as ``cosign sign`` of version 2 does; return the digest of the ``.sig`` manifest.

        Only this method and the next need ``cryptography``.
        """
        from tests.emulator.signing import sign_simple

        return sign_simple(self.registry, repository, digest, private_key, annotations)

    def sign_bundle(
        self, repository: str, digest: str, private_key: Any, annotations: dict[str, str] | None = None
    ) -> str:
        """Sign an image as ``cosign sign`` of version 3 does; return the digest of the bundle's manifest."""
        from tests.emulator.signing import sign_bundle

        return sign_bundle(self.registry, repository, digest, private_key, annotations)
