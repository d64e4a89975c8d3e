"""Registries of the signing kit on loopback, and what is needed to fill and to copy them. They ask for no token."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.emulator.registry_state import OCI_INDEX, RegistryState
from webhook.oci.manifests import ACCEPT

DISTRIBUTION = "distribution"
"""distribution/distribution, which has no referrers API."""

GO_CONTAINERREGISTRY = "go-containerregistry"
"""google/go-containerregistry, in memory, with the referrers API."""

_CONFIGURATION = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}", secret: test}}
"""


@contextmanager
def serve(kit: Path, kind: str, folder: Path) -> Iterator[str]:
    """Run a registry, and yield its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    if kind == DISTRIBUTION:
        configuration = folder / "registry.yml"
        configuration.write_text(
            _CONFIGURATION.format(folder=folder / "data", address=address), encoding="utf-8"
        )
        command = [str(kit / "registry"), "serve", str(configuration)]
    else:
        command = [str(kit / "registry-referrers"), "-address", address]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        _await_answer(f"http://{address}", process, folder / "registry.log")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def _await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            fetch(url, "/v2/")
        except OSError:
            threading.Event().wait(0.05)
        else:
            return
    raise RuntimeError(f"the registry did not start: {log.read_text(encoding='utf-8')[-1000:]}")


def fetch(url: str, path: str) -> tuple[bytes, str] | None:
    """Return content and media type of a path, ``None`` for a 404."""
    request = urllib.request.Request(url + path, headers={"Accept": ACCEPT})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.read(), response.headers.get_content_type()
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                return None
        raise


def push(url: str, repository: str, state: RegistryState) -> None:
    """Push everything that the state of an emulator has of one repository, byte for byte."""
    held = state.repositories[repository]
    for digest, content in held.blobs.items():
        _send(
            "POST",
            f"{url}/v2/{repository}/blobs/uploads/?digest={digest}",
            content,
            "application/octet-stream",
        )
    names: dict[str, str] = {digest: digest for digest in held.manifests}
    # Indexes last, because a registry refuses one whose manifests are missing.
    for digest in sorted(names, key=lambda digest: held.manifests[digest][0] == OCI_INDEX):
        media_type, content = held.manifests[digest]
        for reference in (digest, *(tag for tag, named in held.tags.items() if named == digest)):
            _send("PUT", f"{url}/v2/{repository}/manifests/{reference}", content, media_type)


def _send(method: str, url: str, content: bytes, media_type: str) -> None:
    headers = {"Content-Type": media_type, "Content-Length": str(len(content))}
    request = urllib.request.Request(url, data=content, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        if response.status == 202:  # an upload of its own follows
            location = urllib.parse.urljoin(url, response.headers["Location"])
            separator = "&" if "?" in location else "?"
            digest = url.partition("?")[2]
            _send("PUT", f"{location}{separator}{digest}", content, media_type)


def copy(url: str, repository: str, digest: str, state: RegistryState) -> None:
    """Copy everything of a repository in a real registry into the state of an emulator."""
    listed = fetch(url, f"/v2/{repository}/tags/list")
    assert listed is not None
    for tag in json.loads(listed[0])["tags"]:
        _copy_manifest(url, repository, tag, state)
    referrers = fetch(url, f"/v2/{repository}/referrers/{digest}")
    if referrers is not None and referrers[1] == OCI_INDEX:
        for entry in json.loads(referrers[0])["manifests"]:
            _copy_manifest(url, repository, entry["digest"], state)


def _copy_manifest(url: str, repository: str, reference: str, state: RegistryState) -> None:
    found = fetch(url, f"/v2/{repository}/manifests/{reference}")
    assert found is not None
    content, media_type = found
    state.put_manifest(repository, reference, media_type, content)
    manifest: Mapping[str, Any] = json.loads(content)
    for child in manifest.get("manifests", ()):
        _copy_manifest(url, repository, child["digest"], state)
    for blob in (manifest.get("config"), *manifest.get("layers", ())):
        stored = fetch(url, f"/v2/{repository}/blobs/{blob['digest']}") if blob else None
        if stored is not None:
            state.put_blob(repository, stored[0])
