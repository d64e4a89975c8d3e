"""The webhook as users run it: a separate process with TLS, and a small client."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme

ROOT = Path(__file__).resolve().parent.parent.parent

COMMAND = [str(Path(sys.executable).with_name("swr-trust"))]
"""The installed program, as users run it."""

_HANDSHAKES = threading.BoundedSemaphore(50)
"""A thousand handshakes in one loop end together, which may be later than the server's limit for each."""

_ports = random.Random(os.urandom(16))
"""Hypothesis seeds the shared generator, and two processes would then draw the same ports."""

POLICY = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
registries:
  - region: cn-north-4
    aliases: ["10.125.0.198:20202"]
    endpoint: {endpoint}
    iamEndpoint: {endpoint}
credentials: {{kind: token, tokenFile: {token}}}
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A serving certificate on disk, and the CA that signed it."""

    certificate: Path
    key: Path
    ca: Path


def make_certificate(folder: Path, *names: str) -> Certificate:
    """Create a CA and a certificate of it for ``names``."""
    ca = trustme.CA()
    files = Certificate(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    write_pair(ca, files, *names)
    ca.cert_pem.write_to_path(files.ca)
    return files


def write_pair(ca: trustme.CA, files: Certificate, *names: str) -> None:
    """Write a new certificate and key signed by a CA, valid for 90 days."""
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=90)
    issued = ca.issue_cert(*(names or ("localhost", "127.0.0.1")), not_after=ends)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.key.write_bytes(issued.private_key_pem.bytes())


def free_port() -> int:
    """Return a loopback port on which no process listens.

    It is below the ports that the kernel gives to connections (32768 and up), and each process draws its own.
    Until the port is listened on, neither a connection nor a test in another process takes it.
    """
    while True:
        port = _ports.randrange(10_000, 32_768)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a port of the loopback address can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def injecting(module: str) -> dict[str, str]:
    """Return the environment in which the hooks of a module change the installed program."""
    folders = [ROOT / "tests" / "support" / "inject", ROOT]
    return {"SWR_TRUST_INJECT": module, "PYTHONPATH": os.pathsep.join(map(str, folders))}


class ServerProcess:
    """``swr-trust serve`` in front of ``endpoint``, ready when entered."""

    def __init__(
        self,
        folder: Path,
        endpoint: str,
        certificate: Certificate,
        policy: str = "",
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        inject: str = "",
    ) -> None:
        """Write a policy into ``folder``: ``POLICY`` with the lines of ``policy`` after it.

        ``inject`` is a module with hooks that change the program (``tests/support/inject``).
        """
        self.certificate = certificate
        self.port = free_port()
        self.config = folder / "policy.yaml"
        self.log = folder / "server.log"
        token = folder / "token"
        token.write_text("emulator-token\n", encoding="utf-8")
        self.base_policy = POLICY.format(endpoint=endpoint, token=token)
        self.config.write_text(self.base_policy + policy, encoding="utf-8")
        self._arguments = arguments
        self._environment = {**(environment or {}), **(injecting(inject) if inject else {})}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until the process answers."""
        command = [*COMMAND, "serve", "--config", str(self.config)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), *self._arguments]
        command += self.certificate_arguments()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            if self.process.poll() is not None:
                break
            try:
                if self.get("/readyz")[0] == 200:
                    return
            except OSError:
                time.sleep(0.02)
        self.stop(signal.SIGKILL)
        raise AssertionError(f"the webhook did not become ready:\n{self.logs()}")

    def certificate_arguments(self) -> list[str]:
        """Return the options that name the source of the certificate."""
        return ["--tls-cert", str(self.certificate.certificate), "--tls-key", str(self.certificate.key)]

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Stop the process and return its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout)

    def logs(self) -> str:
        """Return all output of the process."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log as objects."""
        return [json.loads(line) for line in self.logs().splitlines() if line.startswith("{")]

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings of a client that trusts the CA."""
        return ssl.create_default_context(cafile=str(self.certificate.ca))

    def connect(self, timeout: float = 30.0) -> http.client.HTTPSConnection:
        """Return a new connection, not yet opened."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(), timeout=timeout)

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET."""
        return self.send("GET", path, None, {})

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return status and body of one request over a connection of its own."""
        connection = self.connect()
        try:
            with _HANDSHAKES:
                connection.connect()
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def validate(self, body: bytes, timeout: str = "10s") -> dict[str, Any]:
        """Return the ``response`` of ``/validate`` to a review."""
        return self._review("/validate", body, timeout)

    def mutate(self, body: bytes, timeout: str = "10s") -> dict[str, Any]:
        """Return the ``response`` of ``/mutate`` to a review."""
        return self._review("/mutate", body, timeout)

    def _review(self, path: str, body: bytes, timeout: str) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        status, answer = self.send("POST", f"{path}?timeout={timeout}", body, headers)
        assert status == 200, answer
        response: dict[str, Any] = json.loads(answer)["response"]
        return response

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels, 0.0 if there is none."""
        total = 0.0
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith((f"{name} ", f"{name}{{")) and all(
                f'{key}="{value}"' in line for key, value in labels.items()
            ):
                total += float(line.rpartition(" ")[2])
        return total

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        # A worker whose loop is blocked does not notice that its parent has ended.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
