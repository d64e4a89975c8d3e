"""The budget of bytes for the bodies of all connections together."""

from __future__ import annotations

import threading

import pytest

from webhook.server import body_budget
from webhook.server.body_budget import SMALL, BodyBudget

LARGE = 4 * SMALL


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for long."""
    monkeypatch.setattr(body_budget, "WAIT", 0.05)


def budget(small: int = 2 * SMALL, large: int = LARGE) -> BodyBudget:
    """Return a budget of these shares."""
    return BodyBudget(lambda: None, small, large)


def test_what_is_over_the_share_is_refused() -> None:
    """Fault C2: the sum is bounded, and a refused piece takes nothing."""
    it = budget()
    first, second = it.lease(), it.lease()
    assert first.grow(SMALL + LARGE)
    assert not second.grow(SMALL + 1)
    assert it.held == SMALL + LARGE


def test_small_bodies_do_not_wait_for_large_ones() -> None:
    """Fault C2: the first bytes of each body have a share of their own."""
    it = budget()
    assert it.lease().grow(SMALL + LARGE)
    assert it.lease().grow(SMALL)


def test_a_body_takes_as_its_bytes_arrive() -> None:
    """Its first bytes from the small share, the rest from the large one."""
    it = budget()
    lease = it.lease()
    assert all(lease.grow(SMALL // 2) for _ in range(6))
    assert (lease.small, lease.large) == (SMALL, 2 * SMALL)


def test_what_was_taken_is_given_back() -> None:
    """Once, however often that is said."""
    it = budget()
    lease = it.lease()
    lease.grow(3 * SMALL)
    lease.shrink_to_small()
    assert it.held == SMALL
    lease.release()
    lease.release()
    assert it.held == 0


def test_whoever_waits_gets_what_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time that a body waits."""
    monkeypatch.setattr(body_budget, "WAIT", 10.0)
    it = budget()
    first, second = it.lease(), it.lease()
    first.grow(SMALL + LARGE)
    timer = threading.Timer(0.05, first.release)
    timer.start()
    assert second.grow(SMALL + LARGE)
    timer.join()


def test_halves_of_requests_make_room_for_whole_ones() -> None:
    """Fault C2: whoever fills the small share with them loses them first."""
    leases = []

    def make_room() -> None:
        leases.pop(0).release()

    it = BodyBudget(make_room, 2 * SMALL, LARGE)
    for _ in range(2):
        leases.append(it.lease())
        assert leases[-1].grow(SMALL)
    assert it.lease().grow(SMALL)
    assert len(leases) == 1
