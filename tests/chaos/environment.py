"""The environment of a fault: one webhook, one emulated SWR, and an account of its own for each fault."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from tests.chaos.forwarder import Forwarder
from tests.chaos.matrix import Row
from tests.chaos.serve import DOMAIN, GREENLETS, NAMES
from tests.emulator.server import Emulator
from tests.support.builders import pod, review
from tests.support.serving import Certificate, ServerProcess, write_pair

REVIEW_SECONDS = 10
"""The timeout that reviews give as kube-apiserver's."""

SETTINGS = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
cache: {trusted: 1s, refused: 1s, maxEntries: 1000}
lookup: {timeout: 4s, callsPerSecond: 200}
"""

HEALTHY = "healthy"
SKEW = 20 * 60


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a review; ``finding`` has the reason, or ``stale``, after a slash."""

    finding: str
    allowed: bool
    code: int
    seconds: float


class Client:
    """Sends one review after the other over one connection."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._connection: http.client.HTTPSConnection | None = None

    def ask(self, image: str) -> Response:
        """Return the decision on a Pod of an image; raises ``OSError`` if there is none in time."""
        started = time.monotonic()
        if self._connection is None:
            self._connection = self._server.connect(timeout=REVIEW_SECONDS + 2)
        headers = {"Content-Type": "application/json"}
        path = f"/validate?timeout={REVIEW_SECONDS}s"
        self._connection.request("POST", path, review(pod(image)), headers)
        answer = json.loads(self._connection.getresponse().read())["response"]
        seconds = time.monotonic() - started
        (found,) = json.loads(answer["auditAnnotations"]["findings"])
        aside = found.get("origin") or found.get("reason")
        finding = f"{found['finding']}/{aside}" if aside else found["finding"]
        return Response(finding, answer["allowed"], answer.get("status", {}).get("code", 200), seconds)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class Account:
    """Implements ``Site``: an organization, an endpoint name and a secret of its own."""

    def __init__(self, key: str, world: SwrEnvironment, *, signed: bool = False) -> None:
        """Add the account to the emulator."""
        self.key = key
        self._world = world
        self._signed = signed
        self._generation = 0
        self._files = [world.folder / f"{key}.{name}" for name in ("token", "secret")]
        self._line = Forwarder(world.emulator.port) if key in ("refused", "hole") else None
        self._count = 0
        self._lock = threading.Lock()
        for name, trusted in (("earlier", True), ("bad", False)):
            world.emulator.state.set_tag(f"{key}/{name}:1", is_trusted=trusted)
        self.rotate()

    @property
    def yaml(self) -> str:
        """The account's entry under ``registries``."""
        port = self._line.port if self._line is not None else self._world.emulator.port
        token, secret = self._files
        credentials = f"{{kind: token, tokenFile: {token}}}"
        if self._signed:
            credentials = f"{{kind: aksk, accessKeyFile: {token}, secretKeyFile: {secret}}}"
        return (
            f"  - hosts: [{self.key}.swr.test]\n    organizations: [{self.key}]\n    region: cn-north-4\n"
            f"    endpoint: https://{self.key}{DOMAIN}:{port}\n"
            f"    caFile: {self._world.certificate.ca}\n    credentials: {credentials}\n"
        )

    def image(self, name: str) -> str:
        """Return an image of the account: ``earlier`` is trusted, ``bad`` is not."""
        return f"{self.key}.swr.test/{self.key}/{name}:1"

    def cold_image(self) -> str:
        """Return a trusted image that has not been looked up yet."""
        with self._lock:
            self._count += 1
            name = f"cold-{self._count}"
        self._world.emulator.state.set_tag(f"{self.key}/{name}:1", is_trusted=True)
        return self.image(name)

    def inject_fault(self, kind: str, **values: Any) -> None:
        self._world.emulator.break_with(kind, match=self._match, **values)

    def refuse_connections(self) -> None:
        assert self._line is not None
        self._line.cut()

    def hang_connections(self) -> None:
        assert self._line is not None
        self._line.swallow()

    def resolve(self, order: str) -> None:
        self._world.resolve(self.key, order)

    def expire_token(self) -> None:
        self._world.emulator.state.tokens[self._secret] = time.time() - 1

    def skew_clock(self) -> None:
        self._world.emulator.state.keys[self._secret]["skew"] = SKEW

    def mend(self) -> None:
        self._world.emulator.mend(self._match)
        self._world.resolve(self.key, "")
        if self._line is not None:
            self._line.mend()

    def rotate(self) -> None:
        self._generation += 1
        if self._signed:
            self._world.emulator.state.keys[self._secret] = {"secret": f"{self._secret}-secret"}
            self._files[1].write_text(f"{self._secret}-secret\n", encoding="ascii")
        else:
            self._world.emulator.state.tokens[self._secret] = float("inf")
        self._files[0].write_text(f"{self._secret}\n", encoding="ascii")

    def close(self) -> None:
        """Close all opened resources."""
        if self._line is not None:
            self._line.__exit__(None, None, None)

    @property
    def _match(self) -> str:
        return f"//{self.key}{DOMAIN}:"  # includes control requests, which use invented names

    @property
    def _secret(self) -> str:
        return f"{self.key}-{self._generation}"


class SwrEnvironment:
    """The running processes; made by ``open_environment``."""

    def __init__(self, folder: Path, emulator: Emulator, ca: trustme.CA, rows: Sequence[Row]) -> None:
        self.folder = folder
        self.emulator = emulator
        self.ca = ca
        self.certificate = Certificate(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
        ca.cert_pem.write_to_path(self.certificate.ca)
        write_pair(ca, self.certificate)
        self._orders: dict[str, str] = {}
        self._names = folder / "names.json"
        self._names.write_text("{}", encoding="ascii")
        self._lock = threading.Lock()
        self.accounts = {row.key: Account(row.key, self, signed=row.signed) for row in rows}
        self.healthy = Account(HEALTHY, self)
        self.greenlets = folder / "greenlets"
        environment = {NAMES: str(self._names), GREENLETS: str(self.greenlets)}
        self.server = ServerProcess(
            folder, "", self.certificate, environment=environment, inject="tests.chaos.serve"
        )
        self.write_policy("")

    def write_policy(self, more: str) -> None:
        """Write the policy: all accounts, and additional lines."""
        accounts = [*self.accounts.values(), self.healthy]
        registries = "registries:\n" + "".join(account.yaml for account in accounts)
        self.server.config.write_text(SETTINGS + registries + more, encoding="utf-8")

    def resolve(self, key: str, order: str) -> None:
        """Set the result of resolving the name of an account's endpoint."""
        with self._lock:
            self._orders[key] = order
            new = self._names.with_suffix(".new")
            new.write_text(json.dumps(self._orders), encoding="ascii")
            new.replace(self._names)

    def close(self) -> None:
        """Close the forwarders."""
        for account in (*self.accounts.values(), self.healthy):
            account.close()


@contextlib.contextmanager
def open_environment(folder: Path, rows: Sequence[Row]) -> Iterator[SwrEnvironment]:
    """Start all processes; the webhook is ready, and has called the account of each row once at most.

    Faults that are ``from_start`` begin before.
    """
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(f"*{DOMAIN}").configure_cert(context)
    with Emulator(context=context) as emulator:
        world = SwrEnvironment(folder, emulator, ca, rows)
        try:
            for row in rows:
                if row.from_start:
                    row.inject_fault(world.accounts[row.key])
            with world.server:
                yield world
        finally:
            world.close()
