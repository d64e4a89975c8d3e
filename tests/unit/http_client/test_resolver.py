"""Resolution of endpoint names: cached and stale addresses, and names that hang."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.fakes import FakeClock
from tests.support.serving import ROOT
from webhook.deadlines import Deadline, spawn
from webhook.errors import LookupTimeout, RegistryUnavailable
from webhook.http_client.resolver import DNS_TTL, MAX_NAMES, Address, Resolver

GOOD: Address = (socket.AF_INET, "192.0.2.1")
MOVED: Address = (socket.AF_INET, "192.0.2.2")
HOST = "swr.example.com"


class Names:
    """A resolver with known, hanging and missing names."""

    def __init__(self) -> None:
        self.known: dict[str, list[Address]] = {HOST: [GOOD]}
        self.hanging: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.go = threading.Event()
        self.clock = FakeClock()
        self.resolver = Resolver(self, self.clock)

    def __call__(self, host: str) -> list[Address]:
        self.asked[host] += 1
        if host in self.hanging:
            self.go.wait(30)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.known[host]

    def find(self, host: str = HOST, seconds: float = 10.0) -> list[Address]:
        """Return the addresses of a host, within this time."""
        return self.resolver.addresses(host, Deadline.after(seconds))


@pytest.fixture
def names() -> Iterator[Names]:
    """Return names, and release the hanging ones at the end."""
    names = Names()
    yield names
    names.go.set()


def test_resolved_addresses_are_cached_for_ttl(names: Names) -> None:
    """Not every connection needs a resolution."""
    assert [names.find(), names.find()] == [[GOOD], [GOOD]]
    assert names.asked[HOST] == 1
    names.clock.tick(DNS_TTL)
    names.known[HOST] = [MOVED]
    assert names.find() == [MOVED]


@pytest.mark.parametrize("host", ["192.0.2.7", "[2001:db8::7]", "2001:db8::7"])
def test_ip_address_is_not_resolved(names: Names, host: str) -> None:
    """No resolver is called."""
    ((_, address),) = names.find(host)
    assert address == host.strip("[]")
    assert not names.asked


def test_unknown_host_name_is_reported(names: Names) -> None:
    """The policy may be wrong, or DNS may be down."""
    with pytest.raises(RegistryUnavailable) as caught:
        names.find("nowhere.example.com")
    assert str(caught.value) == "nowhere.example.com cannot be resolved: Name or service not known"


def test_stale_addresses_are_used_if_name_is_gone(names: Names) -> None:
    """A name that is missing in DNS for a while does not stop its registry."""
    names.find()
    names.clock.tick(3600)
    del names.known[HOST]
    assert names.find() == [GOOD]


def test_stale_addresses_are_used_while_resolver_hangs(names: Names) -> None:
    """After half a second, long before the deadline."""
    names.find()
    names.clock.tick(3600)
    names.hanging.add(HOST)
    began = time.monotonic()
    assert names.find(seconds=30) == [GOOD]
    assert time.monotonic() - began < 10


def test_hanging_resolver_times_out_at_deadline_for_all_callers(names: Names) -> None:
    """Callers of the same name wait together."""
    names.hanging.add(HOST)
    failures: list[Exception] = []

    def find() -> None:
        try:
            names.find(seconds=0.2)
        except LookupTimeout as error:
            failures.append(error)

    threads = [spawn(find, "finds") for _ in range(50)]
    for thread in threads:
        thread.join(10)
    assert {str(failure) for failure in failures} == {f"{HOST} could not be resolved in time"}
    assert len(failures) == 50
    assert names.asked[HOST] == 1


def test_hanging_name_does_not_delay_other_names(names: Names) -> None:
    """Each has its own resolution."""
    dead = [f"dead-{index}.example.com" for index in range(20)]
    names.hanging.update(dead)

    def wait(host: str) -> None:
        with pytest.raises(RegistryUnavailable):
            names.find(host)

    threads = [spawn(partial(wait, host), "finds") for host in dead]
    while len(names.asked) < len(dead):
        time.sleep(0.001)
    assert names.find(seconds=2) == [GOOD]
    names.go.set()
    for thread in threads:
        thread.join(10)


def test_exception_while_resolving_is_retried_by_next_call(names: Names) -> None:
    """This holds for any exception."""

    def broken(host: str) -> list[Address]:
        if not names.asked[host]:
            names.asked[host] += 1
            raise ZeroDivisionError("a mistake of ours")
        return [GOOD]

    resolver = Resolver(broken, names.clock)
    with pytest.raises(RegistryUnavailable):
        resolver.addresses(HOST, Deadline.after(5))
    assert resolver.addresses(HOST, Deadline.after(5)) == [GOOD]


def test_remembered_entries_are_bounded(names: Names) -> None:
    """There are as many names as endpoints, and a reload may add others."""
    for index in range(MAX_NAMES + 50):
        names.known[f"{index}.example.com"] = [GOOD]
        names.find(f"{index}.example.com")
    assert len(names.resolver._names) == MAX_NAMES


SCRIPT = """
import socket, time
sleep = time.sleep
def getaddrinfo(host, *rest, **more):
    if host.startswith("dead"):
        sleep(30)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
socket.getaddrinfo = getaddrinfo
from gevent import monkey; monkey.patch_all()
import gevent, os
from webhook.deadlines import Deadline
from webhook.app.native_resolver import NativeResolver
from webhook.http_client.resolver import Resolver
resolver = Resolver(NativeResolver())
began = time.monotonic()
for number in range(12):
    gevent.spawn(resolver.addresses, f"dead-{number}.example.com", Deadline.after(60))
gevent.sleep(0.2)
gevent.get_hub().threadpool.apply(lambda: None)
print(resolver.addresses("swr.example.com", Deadline.after(20)), flush=True)
os._exit(0 if time.monotonic() - began < 10 else 1)
"""


def test_hanging_names_do_not_block_gevent_loop_or_threads() -> None:
    """A process shares ten threads of the hub: twelve names hang, and another is still resolved."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"[({GOOD[0]!r}, '192.0.2.1')]\n", done.stderr
    assert done.returncode == 0
