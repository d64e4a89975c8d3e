"""Applies a fault to a running webhook, and evaluates its answers."""

from __future__ import annotations

import http.client
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

from tests.chaos.environment import REVIEW_SECONDS, Account, Client, Response, SwrEnvironment
from tests.chaos.matrix import THROTTLED, TIMEOUT, UNAVAILABLE, Row
from tests.support.process_stats import find_worker, read_process_stats
from webhook.trust.limiter import LONGEST_BACK_OFF

EXPIRY = 1.3
"""Seconds after which a trusted record of the policy's ``cache.trusted`` is no longer fresh."""

PAUSE = 0.05
"""Seconds between two reviews of one client, unless stated otherwise."""

MAX_GROWTH = 24.0
"""MiB by which one fault may enlarge the process: the buffers of an answer in flight, and the allocator's."""

MAX_RECOVERY = LONGEST_BACK_OFF * 1.5 + 3.0
"""Seconds after the end of a fault until uncached images are admitted. The longest pause is the one after
SWR's own throttling, with its jitter; a breaker probes again within eight seconds by then.
"""


@dataclass(slots=True)
class Seen:
    """The decisions of a period, by kind of image, and the errors of the clients."""

    responses: dict[str, list[Response]] = field(default_factory=lambda: defaultdict(list))
    failures: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of answered reviews."""
        return sum(map(len, self.responses.values()))

    @property
    def slowest(self) -> float:
        """The longest time of a review, in seconds."""
        return max((item.seconds for items in self.responses.values() for item in items), default=0.0)

    def findings(self, kind: str) -> str:
        """Return the distinct findings of one kind of image."""
        return ", ".join(sorted({item.finding for item in self.responses[kind]}))


class ReviewLoad:
    """Sends reviews of images of one account from several clients while the context is entered."""

    def __init__(
        self,
        world: SwrEnvironment,
        account: Account,
        clients: int,
        *,
        earlier: bool = True,
        pause: float = PAUSE,
    ) -> None:
        self._world = world
        self._account = account
        self._kinds = ("earlier", "cold", "bad") if earlier else ("cold", "bad")
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(index,)) for index in range(clients)]
        self.seen = Seen()

    def _ask(self, turn: int) -> None:
        client = Client(self._world.server)
        while not self._stop.wait(self._pause):
            turn += 1
            kind = self._kinds[turn % len(self._kinds)]
            image = self._account.cold_image() if kind == "cold" else self._account.image(kind)
            try:
                self.seen.responses[kind].append(client.ask(image))
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.seen.failures.append(f"{image}: {error!r}")
                client.close()
                client = Client(self._world.server)
        client.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(REVIEW_SECONDS * 2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a fault; ``problems`` is empty on success. Times in seconds, memory in MiB."""

    row: Row
    seen: Seen
    recovery: float
    growth: float
    problems: tuple[str, ...]


def run_row(world: SwrEnvironment, row: Row, seconds: float, clients: int, pause: float = PAUSE) -> Outcome:
    """Apply a fault for so many seconds, with so many clients, and wait for the recovery."""
    account = world.accounts[row.key]
    client = Client(world.server)
    problems = []
    if not row.from_start:
        before = client.ask(account.image("earlier"))
        if not before.allowed:
            problems.append(f"before the fault: {before.finding}")
        time.sleep(EXPIRY)
    resident = read_process_stats(find_worker(world.server)).resident
    row.inject_fault(account)
    with ReviewLoad(world, account, clients, earlier=not row.from_start, pause=pause) as asking:
        time.sleep(seconds)
    growth = read_process_stats(find_worker(world.server)).resident - resident
    account.mend()
    if row.rotates:
        account.rotate()
    recovery = _recover(client, account)
    client.close()
    problems += judge(row, asking.seen)
    if recovery > MAX_RECOVERY:
        problems.append(f"recovered after {recovery:.1f} s")
    return Outcome(row, asking.seen, recovery, growth, tuple(problems))


def _recover(client: Client, account: Account) -> float:
    started = time.monotonic()
    while time.monotonic() - started < 2 * MAX_RECOVERY:
        if (
            client.ask(account.cold_image()).allowed
            and client.ask(account.image("earlier")).finding == "trusted"
        ):
            break
        time.sleep(0.1)
    return time.monotonic() - started


def judge(row: Row, seen: Seen) -> list[str]:
    """Return the unexpected decisions during a fault."""
    problems = list(seen.failures)
    finding, code = row.cold
    right = {(finding, code)}
    if row.cold == TIMEOUT:
        right.add(UNAVAILABLE)  # the breaker is open by then
    if row.cold in (UNAVAILABLE, THROTTLED):
        right.add(TIMEOUT)  # a retry that came too late, or a pause that was longer than the lookup
    if not row.mixed and not any(item.finding == finding for item in seen.responses["cold"]):
        problems.append(f"a new image was never {finding}: {seen.findings('cold')}")
    for kind in ("cold", "bad"):
        for item in seen.responses[kind]:
            good = item.allowed if row.mixed and kind == "cold" else False
            if (item.finding, item.code) not in right and not good and not _is_known_bad(row, kind, item):
                problems.append(f"{kind}: {item.finding}, {item.code}, allowed {item.allowed}")
            if item.allowed and not good:
                problems.append(f"{kind}: admitted as {item.finding}")
    wanted = {row.earlier, "trusted"} if row.mixed else {row.earlier}
    allowed = row.earlier.startswith("trusted")
    problems += [
        f"earlier: {item.finding}, allowed {item.allowed}"
        for item in seen.responses["earlier"]
        if item.finding not in wanted or item.allowed != allowed
    ]
    if seen.slowest >= REVIEW_SECONDS:
        problems.append(f"a review took {seen.slowest:.1f} s")
    return list(dict.fromkeys(problems))


def _is_known_bad(row: Row, kind: str, item: Response) -> bool:
    """Whether an untrusted image was denied as such, because SWR answers intermittently."""
    return row.mixed and kind == "bad" and (item.finding, item.allowed) == ("untrusted", False)


def check_healthy(seen: Seen) -> list[str]:
    """Return the unexpected decisions of an account without a fault, beside one that has it."""
    wanted = {"earlier": (True, "trusted"), "cold": (True, "trusted"), "bad": (False, "untrusted")}
    problems = list(seen.failures)
    for kind, items in seen.responses.items():
        problems += [
            f"healthy {kind}: {item.finding}"
            for item in items
            if (item.allowed, item.finding) != wanted[kind]
        ]
    return list(dict.fromkeys(problems))
