"""The content of the emulated registry: manifests, tags and blobs by repository, and its accounts."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(slots=True)
class Repository:
    """What one repository holds."""

    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """By digest: media type and content."""
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class IssuedTo:
    """What a token allows."""

    repositories: frozenset[str]
    ends: float


class RegistryState:
    """Repositories, and how the registry behaves. Thread-safe by ``lock``."""

    def __init__(self) -> None:
        """Ask for tokens, allow the login ``robot``, and offer what SWR Enterprise offers."""
        self.lock = threading.RLock()
        self.repositories: defaultdict[str, Repository] = defaultdict(Repository)
        self.asks_for_tokens = True
        self.logins: dict[str, str] = {"robot": "emulator-password"}
        self.private: set[str] = set()
        """Repositories that no login may pull, as those of another account."""
        self.public: set[str] = set()
        """Repositories that may be pulled without a login."""
        self.missing_organizations: set[str] = set()
        """Organizations for which the token service answers 401, as SWR's does for unknown ones."""
        self.has_referrers_api = True
        """Without it, the path answers 404, and ``sign_bundle`` writes the fallback tag."""
        self.stores_indexes = True
        """Whether an index can be pushed, which SWR Basic refuses."""
        self.states_digest = True
        """Whether answers have ``Docker-Content-Digest``."""
        self.redirects_blobs_to = ""
        """Base URL of object storage, empty for blobs that the registry sends itself."""
        self.token_seconds: Any = 900
        self.tokens: dict[str, IssuedTo] = {}
        self.authorizations: list[tuple[str, str, str]] = []
        """Host, path and ``Authorization`` of each request that had one."""
        self.failed_logins = 0

    def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        """Push a manifest, by a tag or by its digest; return its digest."""
        digest = digest_of(content)
        with self.lock:
            found = self.repositories[repository]
            found.manifests[digest] = (media_type, content)
            if not reference.startswith("sha256:"):
                found.tags[reference] = digest
            elif reference != digest:
                found.manifests[reference] = (media_type, content)  # a registry that lies
        return digest

    def put_blob(self, repository: str, content: bytes, digest: str = "") -> str:
        """Push a blob; return its digest. With another ``digest``, the registry lies."""
        digest = digest or digest_of(content)
        with self.lock:
            self.repositories[repository].blobs[digest] = content
        return digest

    def put_image(self, repository: str, tag: str, *, size: int = 0) -> str:
        """Push a small image without layers and return its digest; ``size`` makes another manifest of it."""
        config = self.put_blob(repository, json.dumps({"tag": tag, "size": size}).encode())
        manifest = make_manifest(config, {"test": f"{repository}:{tag}", "padding": " " * size})
        return self.put_manifest(repository, tag, OCI_MANIFEST, manifest)

    def find_manifest(self, repository: str, reference: str) -> tuple[str, str, bytes] | None:
        """Return digest, media type and content, or ``None``."""
        with self.lock:
            found = self.repositories.get(repository)
            if found is None:
                return None
            digest = reference if reference.startswith("sha256:") else found.tags.get(reference, "")
            manifest = found.manifests.get(digest)
        return None if manifest is None else (digest, *manifest)

    def find_referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """Return the descriptors of the manifests whose subject is ``digest``."""
        found = []
        with self.lock:
            manifests = list(self.repositories[repository].manifests.items())
        for own, (media_type, content) in manifests:
            try:
                value = json.loads(content)
            except ValueError:
                continue
            if not isinstance(value, dict) or (value.get("subject") or {}).get("digest") != digest:
                continue
            found.append(
                {
                    "mediaType": media_type,
                    "size": len(content),
                    "digest": own,
                    "artifactType": value.get("artifactType") or value.get("config", {}).get("mediaType"),
                    "annotations": value.get("annotations", {}),
                }
            )
        return found

    def issue(self, repositories: frozenset[str]) -> str:
        """Return a new token."""
        token = f"emulator.{uuid.uuid4().hex}"
        seconds = self.token_seconds if isinstance(self.token_seconds, int | float) else 60
        with self.lock:
            self.tokens[token] = IssuedTo(repositories, time.time() + max(seconds, 60))
        return token


def make_manifest(config: str, annotations: dict[str, str]) -> bytes:
    """Return an image manifest without layers."""
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [],
        "annotations": annotations,
    }
    return json.dumps(value).encode()


def digest_of(content: bytes) -> str:
    """Return the SHA-256 digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
