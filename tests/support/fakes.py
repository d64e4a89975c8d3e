"""Hand-written fakes of slow or remote dependencies."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.support.builders import NOW
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, TrustLookupError, Unauthorized
from webhook.http_client.messages import Authorization, HttpRequest, HttpResponse
from webhook.recorder import Recorder
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus, Unlimited

free = Unlimited()


class Turns(Unlimited):
    """Implements ``CallLimiter``: calls ``take`` before each call, which may raise."""

    def __init__(self, take: Callable[[Deadline], None]) -> None:
        self._take = take

    def call(self, deadline: Deadline) -> AbstractContextManager[None]:
        self._take(deadline)
        return super().call(deadline)


class FakeClock:
    """A clock that advances only by ``tick``."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds


class FakeTrustSource:
    """Implements ``TrustSource`` from a mapping of ``str(query)`` suffixes to statuses or failures."""

    def __init__(
        self, facts: Mapping[str, TrustStatus | TrustRecord | TrustLookupError], clock: Callable[[], float]
    ) -> None:
        self.facts = dict(facts)
        self.asked: list[str] = []
        self.gate: threading.Event | None = None
        self._clock = clock

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        what = f":{query.tag}" if query.digest is None else f"@{query.digest}"
        image = f"{query.organization}/{query.repository}{what}"
        with call_limiter.call(deadline):
            self.asked.append(image)
            if self.gate is not None and not self.gate.wait(min(5.0, deadline.remaining())):
                raise LookupTimeout("the fake did not answer in time", fault=Fault.REGISTRY)
            fact = self.facts.get(image, TrustStatus.MISSING)
            if isinstance(fact, TrustLookupError):
                fact.is_counted = False  # raise a new exception for each call
                raise fact
        if isinstance(fact, TrustRecord):
            return fact
        digest = None if fact is TrustStatus.MISSING else "sha256:" + "a" * 64
        return TrustRecord(fact, self._clock(), digest)


@dataclass
class FakeTransport:
    """Implements ``Transport``: returns answers from a list, and then repeats the last one."""

    answers: list[HttpResponse | TrustLookupError]
    sent: list[HttpRequest] = field(default_factory=list)
    ca_file_problem: str = ""

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.sent.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TrustLookupError):
            raise answer
        return answer

    def received(self, base_url: str) -> int:
        return 0


@dataclass
class FakeCredential:
    """Implements ``Credential`` and records the calls."""

    renewable: bool = False
    told: list[str] = field(default_factory=list)
    generation: int = 1
    rests: bool = False
    paused_for: float = 0.0

    def authorize(self, request: HttpRequest, deadline: Deadline, trial: int | None = None) -> Authorization:
        if self.rests:
            raise Unauthorized("the fake credential is paused")
        return Authorization({"X-Auth-Token": f"t{self.generation}"}, self.generation)

    def reject(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        self.told.append(f"reject {generation} {fault}")
        self.generation += 1
        self.rests = not self.renewable
        return self.renewable

    def accept(self, generation: int) -> None:
        self.told.append(f"accept {generation}")

    def release(self, generation: int, unanswered: LookupTimeout | None = None) -> None:
        self.told.append(f"release {generation}")


@dataclass
class FakeCertificate:
    """Implements ``ServingCertificate``, without a certificate."""

    not_after: float = NOW + 30 * 86400.0
    problem: str = ""
    requires_client: bool = False

    def context(self) -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def watch(self, stop: threading.Event) -> None:
        stop.wait()

    def derive_key(self, purpose: bytes) -> bytes | None:
        return None


class RecorderSpy(Recorder):
    """Records the arguments of every call."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in vars(Recorder) and not name.startswith("__"):
            return lambda *values: self.lines.append((name, *values))
        return super().__getattribute__(name)

    def named(self, name: str) -> list[tuple[object, ...]]:
        """Return the arguments of every call of ``name``."""
        return [line[1:] for line in self.lines if line[0] == name]
