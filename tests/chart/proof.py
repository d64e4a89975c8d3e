"""Prove inside the image's file system that the product serves there; see ``deploy/image/prove``.

Standard library only. Every printed line is an observation.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

POLICY = Path(__file__).with_name("policy.yaml")
CERTIFICATE = Path(__file__).with_name("tls.crt")
KEY = Path(__file__).with_name("tls.key")
PORT = 8443
REVIEW = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "6a8f8f2e-0000-0000-0000-000000000000",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "proof"},
        "object": {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "proof"},
            "spec": {"containers": [{"name": "main", "image": "nginx"}]},
        },
    },
}


def expect(what: str, *, seen: bool) -> None:
    """Print the observation, or end with the failed one."""
    if not seen:
        sys.exit(f"not so: {what}")
    print(f"seen: {what}", flush=True)


def call(path: str, body: bytes | None = None) -> bytes:
    """Return the answer of the webhook."""
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    request = urllib.request.Request(
        f"https://localhost:{PORT}{path}", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        content: bytes = answer.read()
        return content


def wait_until_ready(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the webhook became ready within half a minute."""
    ends = time.monotonic() + 30
    while time.monotonic() < ends and process.poll() is None:
        try:
            return call("/readyz") == b"ok\n"
        except OSError:
            time.sleep(0.1)
    return False


def can_write(folder: str) -> bool:
    """Return whether a file can be created in a folder."""
    try:
        Path(folder, "proof").touch()
    except OSError:
        return False
    return True


def main() -> None:
    """Check the file system, then serve in it."""
    expect(f"user {os.getuid()}, group {os.getgid()}", seen=os.getuid() == os.getgid() == 65532)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    expect(
        "no capabilities, no new privileges",
        seen="CapEff:\t0000000000000000\nCapBnd" in status and "NoNewPrivs:\t1" in status,
    )
    expect("no /tmp", seen=not os.path.isdir("/tmp"))  # noqa: PTH112 - the plain question
    expect(
        "nothing can be written but /dev/shm",
        seen=not any(map(can_write, ("/", "/app", "/app/lib", "/etc", "/proof"))) and can_write("/dev/shm"),
    )
    expect(
        "no pip, hatchling, tests or emulator",
        seen=not any(map(importlib.util.find_spec, ("hatchling", "tests", "emulator")))
        and not any(Path("/app/bin").glob("pip*")),
    )
    command = shutil.which("swr-trust")
    expect("the command lies in /app", seen=command == "/app/bin/swr-trust")
    version = subprocess.run(["swr-trust", "--version"], capture_output=True, text=True, check=True).stdout
    expect(version.strip(), seen=version.startswith("swr-trust "))
    arguments = [
        "serve",
        "--config",
        POLICY,
        "--host",
        "127.0.0.1",
        "--port",
        str(PORT),
        "--tls-cert",
        CERTIFICATE,
        "--tls-key",
        KEY,
    ]
    with subprocess.Popen(["swr-trust", *map(str, arguments)]) as process:
        try:
            expect("ready over TLS", seen=wait_until_ready(process))
            answer: dict[str, Any] = json.loads(call("/validate?timeout=5s", json.dumps(REVIEW).encode()))
            expect(answer["response"]["status"]["message"], seen=answer["response"]["allowed"] is False)
            expect("metrics", seen=b"swr_trust_build_info" in call("/metrics"))
        finally:
            process.send_signal(signal.SIGTERM)
        expect("stopped in order", seen=process.wait(30) == 0)


if __name__ == "__main__":
    main()
