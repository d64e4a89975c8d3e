"""Hand-written stand-ins for what is slow or far away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError
from webhook.swr.http import Authorization, HttpRequest, HttpResponse
from webhook.trust.records import Pace, TrustQuery, TrustRecord, TrustStatus


class FakeClock:
    """Time that passes when told to."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        """Let time pass."""
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

    def fetch(self, query: TrustQuery, deadline: Deadline, pace: Pace) -> TrustRecord:
        what = f":{query.tag}" if query.digest is None else f"@{query.digest}"
        image = f"{query.organization}/{query.repository}{what}"
        pace(deadline)
        self.asked.append(image)
        if self.gate is not None:
            self.gate.wait(5)
        fact = self.facts.get(image, TrustStatus.MISSING)
        if isinstance(fact, TrustLookupError):
            raise fact
        if isinstance(fact, TrustRecord):
            return fact
        digest = None if fact is TrustStatus.MISSING else "sha256:" + "a" * 64
        return TrustRecord(fact, self._clock(), digest)


@dataclass
class FakeTransport:
    """Implements ``Transport``: answers from a list, the last one again and again."""

    answers: list[HttpResponse | TrustLookupError]
    sent: list[HttpRequest] = field(default_factory=list)

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.sent.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TrustLookupError):
            raise answer
        return answer


@dataclass
class FakeCredential:
    """Implements ``Credential`` and keeps what it was told."""

    renewable: bool = False
    told: list[str] = field(default_factory=list)
    generation: int = 1

    def authorize(self, request: HttpRequest, deadline: Deadline) -> Authorization:
        return Authorization({"X-Auth-Token": f"t{self.generation}"}, self.generation)

    def reject(self, generation: int) -> bool:
        self.told.append(f"reject {generation}")
        self.generation += 1
        return self.renewable

    def accept(self, generation: int) -> None:
        self.told.append(f"accept {generation}")

    def release(self, generation: int) -> None:
        self.told.append(f"release {generation}")


class Notes:
    """Implements every recorder protocol by keeping what it was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *values: self.lines.append((name, *values))

    def named(self, name: str) -> list[tuple[object, ...]]:
        """Return the arguments of every call of ``name``."""
        return [line[1:] for line in self.lines if line[0] == name]
