"""``make run``: run the webhook against the emulator and show its decisions on sample Pods.

With ``--config`` the webhook serves against the real SWR instead, with a certificate made for the loopback
address. ``DEMO_ONCE=1`` ends after the table; its exit code then says whether every finding was the expected
one.

Each run has its own port, 8443 or the next free one, and keeps its files in ``.run/PORT``.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.emulator.server import Emulator
from tests.emulator.signing import generate_key
from tests.support.json_patch import patch_of
from tests.support.serving import COMMAND, ROOT, Certificate, ServerProcess, is_free, make_certificate
from tests.support.signed import ENTERPRISE, HOST, SigningKeys, write_signed_policy

RECORDED = ROOT / "tests" / "data" / "reviews" / "pod-create.json"
FOLDER = ROOT / ".run"
PORT = 8443
"""The port that the README uses."""

SHOW_PATCH = r"""sed 's/.*"patch":"\([^"]*\)".*/\1/' | base64 -d"""
"""A filter that prints the patch of a response, which is encoded in base64."""

MAX_RUNS = 100
"""Ports that are tried, from PORT on."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A Pod, and the expected decision."""

    title: str
    spec: dict[str, Any]
    allowed: bool


def _pod(image: str, **rest: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": image}], **rest}


SAMPLES = (
    Sample("a trusted image", _pod(f"{HOST}/shop/web:1.0"), True),
    Sample("the same by its internal address", _pod("10.125.0.198:20202/shop/web:1.0"), True),
    Sample("a tag that is not trusted", _pod(f"{HOST}/shop/web:2.0"), False),
    Sample("a tag that does not exist", _pod(f"{HOST}/shop/web:9.9"), False),
    Sample("a trusted tag with another digest", _pod(f"{HOST}/shop/web:1.0@sha256:{'0' * 64}"), False),
    Sample(
        "an untrusted sidecar",
        _pod(
            f"{HOST}/shop/web:1.0",
            initContainers=[{"name": "proxy", "image": f"{HOST}/shop/web:2.0", "restartPolicy": "Always"}],
        ),
        False,
    ),
    Sample("an image of another registry", _pod("nginx"), False),
    Sample("another account's image", _pod(f"{HOST}/partner/tool:1"), False),
    Sample('is_trusted is "true", a text', _pod(f"{HOST}/shop/odd:text"), False),
    Sample("a signed image, where signatures decide", _pod(f"{HOST}/signed/web:1.0"), True),
    Sample("an image that is not signed", _pod(f"{HOST}/signed/web:2.0"), False),
    Sample("an image signed by somebody else", _pod(f"{HOST}/signed/web:3.0"), False),
    Sample("a signed image of SWR Enterprise", _pod(f"{ENTERPRISE}/team/web:1.0"), True),
)


def main() -> int:
    """Run the demonstration, or the webhook with the user's configuration."""
    parser = argparse.ArgumentParser(description="Shows the webhook at work.")
    parser.add_argument("--config", help="serve with this policy against the real SWR")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _reserve_port() as port:
        folder = FOLDER / str(port)
        folder.mkdir(exist_ok=True)
        certificate = make_certificate(folder)
        try:
            if options.config:
                return _serve(Path(options.config), certificate, port)
            return _demonstrate(certificate, port)
        except KeyboardInterrupt:
            return 130


@contextmanager
def _reserve_port() -> Iterator[int]:
    """Yield a free port that no other run takes in the meantime, and print it if it is not the usual one."""
    FOLDER.mkdir(exist_ok=True)
    for port in range(PORT, PORT + MAX_RUNS):
        with (FOLDER / f"{port}.lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not is_free(port):
                continue
            if port != PORT:
                print(f"Port {PORT} is in use, so this run uses port {port}.", flush=True)
            yield port
            return
    sys.exit(f"All ports from {PORT} to {PORT + MAX_RUNS - 1} are in use: end another run first.")


def _serve(config: Path, certificate: Certificate, port: int) -> int:
    print(f"serving on https://127.0.0.1:{port}, certificate authority {certificate.ca}", flush=True)
    command = [*COMMAND, "serve", "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            return process.wait()


def _demonstrate(certificate: Certificate, port: int) -> int:
    console = Console(width=min(140, max(100, shutil.get_terminal_size((120, 40)).columns)))
    folder = certificate.ca.parent
    console.print("Starting the SWR emulator and the webhook ...")
    with Emulator() as emulator, _prepare(emulator, certificate, port) as server:
        console.print(f"SWR emulator on {emulator.url}, webhook on {server.url}\n")
        good = _show(console, server)
        body = folder / "untrusted-pod.json"
        body.write_bytes(review(SAMPLES[2].spec))
        pinned = folder / "trusted-pod.json"
        pinned.write_bytes(review(SAMPLES[0].spec))
        good = _show_pinning(console, server, pinned.read_bytes()) and good
        if os.environ.get("DEMO_ONCE"):
            return 0 if good else 1
        console.print("Try one by hand, in another terminal:\n")
        ca = certificate.ca.relative_to(ROOT)
        # On one line each at any terminal width, so that they can be copied.
        print(
            f"curl --cacert {ca} -H 'Content-Type: application/json' "
            f"--data @{body.relative_to(ROOT)} {server.url}/validate\n\n"
            f"curl --silent --cacert {ca} -H 'Content-Type: application/json' "
            f"--data @{pinned.relative_to(ROOT)} {server.url}/mutate | {SHOW_PATCH}\n\n"
            f"curl --cacert {ca} '{server.url}/readyz?verbose'\n",
            flush=True,
        )
        files = f"Policy: {server.config.relative_to(ROOT)}, log: {server.log.relative_to(ROOT)}."
        assert server.process is not None
        try:
            print(f"{files} Ctrl-C ends it.", flush=True)
            code = server.process.wait()
        except KeyboardInterrupt:
            print("\nstopping", flush=True)
            server.stop()
            return 0
        console.print(
            f"\nThe webhook ended with exit code {code}. Its log is {server.log.relative_to(ROOT)}."
        )
        return 1


def _prepare(emulator: Emulator, certificate: Certificate, port: int) -> ServerProcess:
    folder = certificate.ca.parent
    server = ServerProcess(folder, emulator.url, certificate)
    keys = SigningKeys(folder, "release")
    write_signed_policy(server, emulator, keys, "pinDigests: true\n")
    _push_images(emulator, keys)
    server.port = port
    server.log.unlink(missing_ok=True)
    return server


def _push_images(emulator: Emulator, keys: SigningKeys) -> None:
    """Push the images that are judged by signatures; SWR marks none of them as trusted."""
    state = emulator.state
    signed, _, other, enterprise = (
        state.put_image(image)
        for image in ("signed/web:1.0", "signed/web:2.0", "signed/web:3.0", "team/web:1.0")
    )
    state.sign_simple("signed/web", signed, keys["release"])
    state.sign_simple("signed/web", other, generate_key())
    state.sign_bundle("team/web", enterprise, keys["release"])


def _show(console: Console, server: ServerProcess) -> bool:
    table = Table(title="What the API server would be told", show_lines=True)
    for name in ("Pod with", "Decision", "Message"):
        table.add_column(
            name, overflow="fold", ratio=None if name == "Decision" else 1 if name == "Pod with" else 3
        )
    good = True
    for sample in SAMPLES:
        response = server.validate(review(sample.spec))
        allowed = response["allowed"]
        good = good and allowed == sample.allowed
        message = response.get("status", {}).get("message", "")
        table.add_row(sample.title, "[green]admitted[/]" if allowed else "[red]denied[/]", message)
    console.print(table)
    return good


def _show_pinning(console: Console, server: ServerProcess, body: bytes) -> bool:
    """Print the patch for a Pod with a trusted image; return whether it has one."""
    patch = patch_of(server.mutate(body))
    console.print("\nPinning writes the digest of the trusted tag into the Pod:\n")
    for operation in patch:
        if operation["op"] == "replace":
            # Not wrapped at any terminal width.
            print(f"  {operation['path']}: {operation['value']}\n", flush=True)
    return bool(patch)


def review(spec: dict[str, Any]) -> bytes:
    """Return the recorded review of ``kubectl run web`` with another Pod spec."""
    recorded = json.loads(RECORDED.read_bytes())
    recorded["request"]["object"]["spec"] = spec
    return json.dumps(recorded).encode()


if __name__ == "__main__":
    sys.exit(main())
